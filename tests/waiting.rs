//! Requests and streams that wait for thumbnails: what they hear, and what that costs the database.

use std::time::Duration;

use futures::{
    StreamExt,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use shared::postgres::{
    self,
    notifications::{EchoTest, Heard, Notifications},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Client, ImageLinks, Proxy, TestApp, fresh_database, pictures};

fn url(image: &Value) -> String {
    image.thumbnail(200).to_owned()
}

/// Stops all notifications of finished thumbnails, as if every listening connection were dead.
async fn silence_notifications(app: &TestApp) {
    for trigger in ["thumbnails_finished", "thumbnails_deleted"] {
        let drop = sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger} ON thumbnails"));
        sqlx::query(drop).execute(&app.pool).await.expect("a dropped trigger");
    }
}

fn wait(client: &Client, url: &str, seconds: u32) -> JoinHandle<(StatusCode, Duration)> {
    let (client, url) = (client.clone(), url.to_owned());
    tokio::spawn(async move {
        let started = tokio::time::Instant::now();
        let answer = client.get_with(&url, &[("prefer", &format!("wait={seconds}"))]).await;
        (answer.status, started.elapsed())
    })
}

async fn wait_until_pending(app: &TestApp, count: i64) {
    let pending = "SELECT count(*) FROM thumbnails WHERE state = 'pending'";
    while sqlx::query_scalar::<_, i64>(pending).fetch_one(&app.pool).await.expect("a count") < count
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_waiting_request_gets_its_bytes_although_nothing_is_notified() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(50, 50)).await;
    silence_notifications(&app).await;
    let waiting = wait(&app.anonymous(), &url(&image), 30);
    wait_until_pending(&app, 1).await;
    app.run_jobs().await;
    let (status, took) = waiting.await.expect("an answer");
    assert_eq!(status, StatusCode::OK);
    assert!(took < Duration::from_secs(15), "it waited for its deadline: {took:?}");
}

#[tokio::test]
async fn a_request_that_waits_for_the_thumbnail_of_a_deleted_image_ends_with_404() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    for is_notified in [true, false] {
        let image = client.uploaded("a.png", pictures::png(50, 50)).await;
        if !is_notified {
            silence_notifications(&app).await;
        }
        let waiting = wait(&app.anonymous(), &url(&image), 30);
        wait_until_pending(&app, 1).await;
        client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
        let (status, took) = waiting.await.expect("an answer");
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(took < Duration::from_secs(15), "it waited for its deadline: {took:?}");
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn the_end_of_a_thumbnail_whose_image_is_deleted_is_notified() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let stop = CancellationToken::new();
    let listener = Notifications::listen(
        &app.pool,
        &["thumbnail_finished"],
        EchoTest::default(),
        stop.clone(),
    );
    let mut heard = listener.subscribe();
    assert!(matches!(heard.next().await, Heard::Missed), "it listens");
    let images = [
        client.uploaded("a.png", pictures::png(50, 50)).await,
        client.uploaded("b.png", pictures::png(50, 50)).await,
    ];
    app.anonymous().get(&url(&images[1])).await.expect(StatusCode::ACCEPTED);
    for image in &images {
        client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    }
    let next =
        tokio::time::timeout(Duration::from_secs(20), heard.next()).await.expect("a notification");
    let Heard::Notification { payload, .. } = next else { panic!("the connection was lost") };
    let payload: Value = serde_json::from_str(&payload).expect("JSON");
    assert_eq!(
        (&payload["image"], &payload["state"]),
        (&images[1]["pk"], &Value::from("deleted")),
        "nobody waits for a thumbnail that was never asked for"
    );
    stop.cancel();
    app.run_jobs().await;
}

#[tokio::test]
async fn requests_that_wait_for_many_thumbnails_share_their_looks_at_the_database() {
    const REQUESTS: usize = 60;
    let database = fresh_database().await;
    let proxy = Proxy::start(&database).await;
    let mut app = TestApp::start_through(&proxy, database).await;
    let client = app.user("Enterprise").await;
    let uploads = (0..REQUESTS).map(|n| {
        let client = client.clone();
        async move { client.uploaded(&format!("{n}.png"), pictures::png(20, 20)).await }
    });
    let images: Vec<Value> = stream::iter(uploads).buffer_unordered(4).collect().await;
    silence_notifications(&app).await;
    let waiting: Vec<_> =
        images.iter().map(|image| wait(&app.anonymous(), &url(image), 8)).collect();
    wait_until_pending(&app, i64::try_from(REQUESTS).expect("a count")).await;
    // each looks for itself once, after it has asked for its thumbnail
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = proxy.queries();
    for waiting in waiting {
        assert_eq!(waiting.await.expect("an answer").0, StatusCode::ACCEPTED);
    }
    let queries = proxy.queries() - before;
    assert!((1..REQUESTS).contains(&queries), "{REQUESTS} waiting requests sent {queries} queries");
    app.run_jobs().await;
}

/// Reads events until they have this text.
async fn hear_until(mut stream: Response, text: &str) -> Response {
    let mut heard = String::new();
    while !heard.contains(text) {
        let piece = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await;
        let piece = piece.expect("an event in time").expect("an answer").expect("an open stream");
        heard.push_str(std::str::from_utf8(&piece).expect("text"));
    }
    stream
}

#[tokio::test]
async fn one_thumbnail_told_to_many_streams_is_read_once() {
    const STREAMS: usize = 200;
    let database = fresh_database().await;
    let proxy = Proxy::start(&database).await;
    let mut app = TestApp::start_through(&proxy, database.clone()).await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(50, 50)).await;
    app.anonymous().get(&url(&image)).await.expect(StatusCode::ACCEPTED);
    let open = |path: String| {
        let client = client.clone();
        async move { client.request(Method::GET, &path).send().await.expect("an answer") }
    };
    let of_account = stream::iter(0..STREAMS / 2).map(|_| open("/api/events".to_owned()));
    let of_image =
        stream::iter(0..STREAMS / 2).map(|_| open(format!("/api/images/{}/events", image["pk"])));
    let streams: Vec<Response> = of_account.chain(of_image).buffer_unordered(8).collect().await;
    // each stream of one image looks once when it starts
    wait_until_quiet(&proxy).await;
    let before = proxy.queries();

    let direct = postgres::connect(database, 1).await.expect("a pool");
    let fail =
        "UPDATE thumbnails SET state = 'failed', failure_reason = 'tests' WHERE state = 'pending'";
    sqlx::query(fail).execute(&direct).await.expect("an ended thumbnail");
    let told: FuturesUnordered<_> =
        streams.into_iter().map(|stream| hear_until(stream, "\"state\":\"failed\"")).collect();
    assert_eq!(told.count().await, STREAMS);
    wait_until_quiet(&proxy).await;
    let queries = proxy.queries() - before;
    assert!((1..10).contains(&queries), "{STREAMS} streams cost {queries} queries");
    app.run_jobs().await;
}

/// Waits until no query is sent for a while.
async fn wait_until_quiet(proxy: &Proxy) {
    let mut last = usize::MAX;
    while proxy.queries() != last {
        last = proxy.queries();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn streams_and_waiting_requests_hold_no_connection() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(50, 50)).await;
    let waiting: Vec<_> = (0..30).map(|_| wait(&app.anonymous(), &url(&image), 20)).collect();
    let streams =
        join_all((0..30).map(|_| client.request(Method::GET, "/api/events").send())).await;
    wait_until_pending(&app, 1).await;
    for _ in 0..5 {
        client.get("/api/images").await.expect(StatusCode::OK);
    }
    assert!(
        streams.iter().all(|stream| stream.as_ref().is_ok_and(|stream| stream.status() == 200))
    );
    app.run_jobs().await;
    for waiting in waiting {
        assert_eq!(waiting.await.expect("an answer").0, StatusCode::OK);
    }
}
