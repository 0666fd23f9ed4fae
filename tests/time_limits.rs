//! Nothing waits for ever: not for a database that is gone, and not for a lock that somebody keeps.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::postgres;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::harness::{Client, ImageLinks, OwnPostgres, TestApp, pictures, processes::Pictier};

/// Every request ends within this time while the database is away.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// One that may wait for five seconds gets a little more.
const WAIT_LIMIT: Duration = Duration::from_millis(5500);
/// The longest wait for a lock, with some time for a busy machine.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

fn thumbnail(image: &Value) -> String {
    image.thumbnail(200).to_owned()
}

/// Keeps an image's row locked until it is dropped.
async fn lock_image(pool: &PgPool, image: &Value) -> Transaction<'static, Postgres> {
    let mut tx = postgres::begin(pool).await.expect("a transaction");
    lock(&mut tx, image).await;
    tx
}

async fn lock(connection: &mut PgConnection, image: &Value) {
    let lock =
        sqlx::query("SELECT FROM images WHERE id = $1 FOR UPDATE").bind(image["pk"].as_i64());
    lock.execute(connection).await.expect("a lock");
}

/// Waits until so many statements wait for a lock.
async fn wait_for_waiting_statements(pool: &PgPool, is_right: impl Fn(i64) -> bool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let count = sqlx::query_scalar(waiting).fetch_one(pool).await.expect("a count");
        if is_right(count) {
            return;
        }
        assert!(Instant::now() < deadline, "{count} statements wait for a lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn expect_unavailable(
    what: &str,
    answer: impl Future<Output = reqwest::Result<reqwest::Response>>,
) {
    let started = Instant::now();
    let limit = if what.contains("wait") { WAIT_LIMIT } else { ANSWER_LIMIT };
    let answer = tokio::time::timeout(Duration::from_mins(1), answer).await;
    let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer")).expect("an answer");
    let took = started.elapsed();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{what}");
    assert!(answer.headers().contains_key("retry-after"), "{what}");
    assert!(took <= limit, "{what} took {took:?}");
}

/// Requests of every kind end in time.
async fn expect_all_unavailable(admin: &Client, image: &Value, state: &str) {
    let login = json!({"username": "admin", "password": "admin"});
    let requests = [
        ("readyz", admin.request(Method::GET, "/readyz")),
        ("images", admin.request(Method::GET, "/api/images")),
        ("events", admin.request(Method::GET, "/api/events")),
        ("login", admin.request(Method::POST, "/api/session").json(&login)),
        ("page", admin.request(Method::GET, "/").header("accept", "text/html")),
        ("panel", admin.request(Method::GET, "/admin").header("accept", "text/html")),
        ("thumbnail", admin.request(Method::GET, &thumbnail(image))),
        ("wait", admin.request(Method::GET, &thumbnail(image)).header("prefer", "wait=5")),
        ("deletion", admin.request(Method::DELETE, &format!("/api/images/{}", image["pk"]))),
    ];
    let answers = requests.map(|(what, request)| async move {
        expect_unavailable(&format!("{what} while {state}"), request.send()).await;
    });
    join_all(answers).await;
}

#[tokio::test]
async fn every_request_ends_soon_while_the_database_is_frozen_or_gone() {
    let server = OwnPostgres::start().await;
    let data = tempfile::tempdir().expect("a folder");
    let pictier = |args: &[&str]| Pictier::new(data.path()).on(&server.database()).args(args);
    assert!(pictier(&["migrate"]).output().status.success());
    let mut api = pictier(&["api"]).start();
    let admin = Client::new(&api.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    let image = admin.uploaded("a.png", pictures::png(50, 50)).await;
    let url = thumbnail(&image);
    admin.get(&url).await.expect(StatusCode::ACCEPTED);
    let pool = postgres::connect(server.database(), 2).await.expect("a pool");

    let locked = lock_image(&pool, &image).await;
    let deletion = admin.request(Method::DELETE, &format!("/api/images/{}", image["pk"])).send();
    let deletion = tokio::spawn(deletion);
    let waiting = tokio::spawn(admin.request(Method::GET, &url).header("prefer", "wait=5").send());
    wait_for_waiting_statements(&pool, |count| count == 1).await;
    let frozen = server.freeze();
    let under_way = [("deletion under way", deletion), ("wait under way", waiting)];
    let under_way = under_way.map(|(what, request)| async move {
        expect_unavailable(what, async { request.await.expect("a request") }).await;
    });
    tokio::join!(join_all(under_way), expect_all_unavailable(&admin, &image, "frozen"));
    expect_all_unavailable(&admin, &image, "frozen for long").await;

    drop(frozen);
    let deadline = Instant::now() + Duration::from_secs(30);
    while admin.get("/readyz").await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "it never got ready again: {:#?}", api.said());
    }
    drop(locked);
    admin.get("/api/images").await.expect(StatusCode::OK);

    drop(pool);
    drop(server);
    expect_all_unavailable(&admin, &image, "gone").await;
}

#[tokio::test]
async fn requests_that_were_given_up_in_front_of_a_lock_leave_their_connections_to_others() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(50, 50)).await;
    let locked = lock_image(&app.pool, &image).await;
    let path = format!("/api/images/{}", image["pk"]);
    let abandoned = (0..30)
        .map(|_| client.request(Method::DELETE, &path).timeout(Duration::from_millis(500)).send());
    assert!(join_all(abandoned).await.iter().all(Result::is_err), "all were given up");
    for _ in 0..5 {
        client.get("/api/images").await.expect(StatusCode::OK);
    }
    wait_for_waiting_statements(&app.pool, |count| count == 0).await;
    drop(locked);
    assert_eq!(app.rows("images").await, 1);
}

#[tokio::test]
async fn a_deletion_in_front_of_a_lock_answers_503_and_works_later() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(50, 50)).await;
    let path = format!("/api/images/{}", image["pk"]);
    let locked = lock_image(&app.pool, &image).await;
    let started = Instant::now();
    let refused = client.delete(&path).await;
    assert_eq!(refused.header("retry-after"), "5");
    refused.expect_problem(503, "unavailable");
    assert!(started.elapsed() < LOCK_LIMIT, "{:?}", started.elapsed());
    drop(locked);
    client.delete(&path).await.expect(StatusCode::NO_CONTENT);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_job_in_front_of_a_lock_fails_and_is_tried_again() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(50, 50)).await;
    app.anonymous().get(&thumbnail(&image)).await.expect(StatusCode::ACCEPTED);
    let locked = lock_image(&app.pool, &image).await;
    app.start_worker().await;
    let failed = "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Failed')";
    let deadline = Instant::now() + Duration::from_secs(20);
    while !sqlx::query_scalar::<_, bool>(failed).fetch_one(&app.pool).await.expect("a query") {
        assert!(Instant::now() < deadline, "the job waits for the lock");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait_for_waiting_statements(&app.pool, |count| count == 0).await;
    drop(locked);
    app.stop_worker().await;
    app.anonymous().get(&thumbnail(&image)).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn sessions_that_serve_requests_and_jobs_are_limited_and_those_of_the_command_line_are_not() {
    let app = TestApp::start().await;
    let setting = async |pool: &PgPool, name: &str| -> String {
        let show = sqlx::AssertSqlSafe(format!("SHOW {name}"));
        sqlx::query_scalar(show).fetch_one(pool).await.expect("a setting")
    };
    let queue = postgres::connect_for_queue(app.database.clone(), 1).await.expect("a pool");
    let unlimited = postgres::connect_unlimited(app.database.clone(), 1).await.expect("a pool");
    for (name, of_requests, of_jobs) in [
        ("lock_timeout", "5s", "500ms"),
        ("statement_timeout", "30s", "30s"),
        ("idle_in_transaction_session_timeout", "30s", "30s"),
    ] {
        assert_eq!(setting(&app.pool, name).await, of_requests, "{name}");
        assert_eq!(setting(&queue, name).await, of_jobs, "{name}");
        assert_eq!(setting(&unlimited, name).await, "0", "{name}");
    }
    assert_eq!(setting(&unlimited, "client_connection_check_interval").await, "1s");
}

#[tokio::test]
async fn an_upload_is_limited_by_the_time_of_its_body() {
    let app = TestApp::start_with(|config| config.limits.request_body_max_seconds = 3).await;
    let client = app.user("Basic").await;
    let (mut sender, body) = futures::channel::mpsc::unbounded::<Result<Vec<u8>, std::io::Error>>();
    let head = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
    sender.start_send(Ok(head.into())).expect("a sent head");
    let upload = client
        .request(Method::POST, "/api/images")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(reqwest::Body::wrap_stream(body));
    let answer = upload.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    drop(sender);
    app.expect_nothing_left().await;
}
