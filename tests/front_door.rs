//! What every request passes before a handler sees it: connections, host names, compression, and
//! who it comes from.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    Client, ImageLinks, PASSWORD, TestApp, fresh_database, pictures, processes::Pictier,
};

/// More than a silent connection gets.
const SILENCE_LIMIT: Duration = Duration::from_mins(1);

async fn connect(app: &TestApp) -> TcpStream {
    let address = app.origin.strip_prefix("http://").expect("an origin");
    TcpStream::connect(address).await.expect("a connection")
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // a reset ends it as well
    let _ = timeout(SILENCE_LIMIT, stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let app = TestApp::start().await;
    let (mut silent, mut halting) = (connect(&app).await, connect(&app).await);
    halting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.expect("a beginning");
    tokio::join!(read_to_end(&mut silent), read_to_end(&mut halting));
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_ends() {
    let app = TestApp::start_with(|config| config.http.http_connections = 2).await;
    let mut first = connect(&app).await;
    let _second = connect(&app).await;
    let refused = read_to_end(&mut connect(&app).await).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 503 "), "{refused}");
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    assert!(read_to_end(&mut first).await.starts_with("HTTP/1.1 200 "));
    drop(first);
    let accepted = async {
        loop {
            let mut next = connect(&app).await;
            let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            if next.write_all(request).await.is_ok()
                && read_to_end(&mut next).await.starts_with("HTTP/1.1 200 ")
            {
                break;
            }
        }
    };
    timeout(SILENCE_LIMIT, accepted).await.expect("a place for another connection");
}

#[tokio::test]
async fn a_request_for_another_host_is_refused() {
    let app = TestApp::start_with(|config| {
        config.http.public_url = Some("https://img.example.com".parse().expect("a URL"));
    })
    .await;
    let client = app.anonymous();
    for host in ["evil.example.com", "img.example.com.evil.org", "10.0.0.7"] {
        for path in ["/api/session", "/login", "/user_content/expiring/x", "/api/openapi.json"] {
            client.get_with(path, &[("host", host)]).await.expect_problem(421, "unknown-host");
        }
        client.get_with("/healthz", &[("host", host)]).await.expect(StatusCode::OK);
        client.get_with("/readyz", &[("host", host)]).await.expect(StatusCode::OK);
    }
    for host in [
        "img.example.com",
        "img.example.com:443",
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "[::1]:1",
    ] {
        client
            .get_with("/api/session", &[("host", host)])
            .await
            .expect_problem(401, "not-logged-in");
    }
}

/// Sends a request and reads nothing of the answer.
async fn ask_and_never_read(app: &TestApp, path: &str) -> TcpStream {
    let mut stream = connect(app).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection() {
    let app = TestApp::start_with(|config| config.http.http_connections = 3).await;
    let ada = app.user("Premium").await;
    // more than the buffers of both sides hold
    let image = ada.uploaded("a.png", pictures::noise_png(2400, 2400)).await;
    let url = image.original().to_owned();
    let path = url.strip_prefix(&app.origin).expect("a path").to_owned();
    drop(ada);
    let mut held = Vec::new();
    while held.len() < 3 {
        held.push(ask_and_never_read(&app, &path).await);
    }
    let served = async {
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        loop {
            let mut next = connect(&app).await;
            let sent = next.write_all(request).await.is_ok();
            if sent && read_to_end(&mut next).await.starts_with("HTTP/1.1 200 ") {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(2 * SILENCE_LIMIT, served).await.expect("a place for another connection");
}

#[tokio::test]
async fn answers_without_compression_when_every_encoding_is_refused() {
    let app = TestApp::start().await;
    let ada = app.user("Premium").await;
    for accepted in ["identity;q=0", "*;q=0", "gzip;q=0, identity; q=0.0"] {
        ada.get_with("/", &[("accept-encoding", accepted), ("accept", "text/html")])
            .await
            .expect(StatusCode::OK);
        let unknown = ada.get_with("/api/images/0", &[("accept-encoding", accepted)]).await;
        unknown.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn an_early_answer_to_a_long_body_says_that_the_connection_ends() {
    let app = TestApp::start().await;
    let refused = app.anonymous().upload("a.jpg", vec![0; 3 << 20]).await;
    assert_eq!(refused.header("connection"), "close");
    refused.expect_problem(401, "not-logged-in");
    let short = app.anonymous().upload("a.jpg", vec![0; 100]).await;
    assert!(!short.headers.contains_key("connection"));
}

#[tokio::test]
async fn text_is_compressed_and_images_and_events_are_not() {
    let app = TestApp::start().await;
    let ada = app.user("Premium").await;
    let image = ada.uploaded("a.png", pictures::png(60, 60)).await;
    let encoding = |url: String, accepted: &'static str| {
        let ada = ada.clone();
        async move {
            let answer = ada
                .get_with(&url, &[("accept-encoding", accepted), ("accept", "text/html,*/*")])
                .await;
            answer
                .headers
                .get("content-encoding")
                .map(|value| value.to_str().expect("text").to_owned())
        }
    };
    let html = ada.page("/").await.html();
    let asset = html
        .split('"')
        .find(|text| text.ends_with("/style.css"))
        .expect("a style sheet")
        .to_owned();
    for url in ["/".to_owned(), "/api/openapi.json".to_owned(), asset] {
        assert_eq!(encoding(url.clone(), "gzip").await.as_deref(), Some("gzip"), "{url}");
        assert_eq!(encoding(url.clone(), "gzip, br").await.as_deref(), Some("br"), "{url}");
        assert_eq!(encoding(url.clone(), "identity").await, None, "{url}");
    }
    let original = image.original().to_owned();
    assert_eq!(encoding(original, "gzip, br").await, None);
    let events =
        ada.request(reqwest::Method::GET, "/api/events").header("accept-encoding", "gzip, br");
    let events = events.send().await.expect("an answer");
    assert_eq!(events.headers().get("content-encoding"), None);
}

#[tokio::test]
async fn right_logins_are_never_too_many() {
    let app = TestApp::start_with(|config| config.limits.login_max_failures = 1).await;
    app.create_user("ada", "Basic").await;
    for _ in 0..12 {
        app.anonymous().log_in("ada", PASSWORD).await.expect(StatusCode::OK);
    }
    let many = (0..12).map(|_| async { app.anonymous().log_in("ada", PASSWORD).await.status });
    let statuses = futures::future::join_all(many).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
}

#[tokio::test]
async fn an_address_is_refused_after_failures_on_many_accounts_and_a_success_forgets_its_own() {
    let app = TestApp::start_with(|config| config.limits.login_max_failures = 2).await;
    app.create_user("ada", "Basic").await;
    for number in 0..19 {
        let name = format!("nobody{number}");
        app.anonymous().log_in(&name, "wrong").await.expect_problem(401, "wrong-credentials");
    }
    for _ in 0..3 {
        app.anonymous().log_in("ada", "wrong").await.expect_problem(401, "wrong-credentials");
        app.anonymous().log_in("ada", "anything").await.expect_problem(429, "too-many-logins");
        sqlx::query("UPDATE rate_limits SET hits = 19 WHERE hits = 20")
            .execute(&app.pool)
            .await
            .expect("room");
        app.anonymous().log_in("ada", PASSWORD).await.expect(StatusCode::OK);
        let of_address = "SELECT hits FROM rate_limits WHERE key = 'login 127.0.0.1'";
        let hits: i32 =
            sqlx::query_scalar(of_address).fetch_one(&app.pool).await.expect("a counter");
        assert_eq!(hits, 18, "the success takes back its account's failure, and no other");
        sqlx::query("UPDATE rate_limits SET hits = 19")
            .execute(&app.pool)
            .await
            .expect("the next round");
    }
}

#[tokio::test]
async fn many_wrong_logins_at_once_get_hardly_more_tries_than_are_allowed() {
    let app = TestApp::start_with(|config| config.limits.login_max_failures = 3).await;
    app.create_user("ada", "Basic").await;
    let tries = (0..40).map(|_| async { app.anonymous().log_in("ada", "wrong").await.status });
    let statuses = futures::future::join_all(tries).await;
    let wrong = statuses.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count();
    assert!((3..3 + 4).contains(&wrong), "{wrong} tries: {statuses:?}");
}

#[tokio::test]
async fn nobody_is_locked_out_by_the_address_of_a_proxy_that_is_not_configured() {
    let app = TestApp::start_with(|config| config.limits.login_max_failures = 1).await;
    app.create_user("ada", "Basic").await;
    let through_proxy = |name: &str, password: &str, client: &str| {
        let body = json!({"username": name, "password": password});
        let request = app.anonymous().request(reqwest::Method::POST, "/api/session").json(&body);
        crate::harness::send(request.header("x-forwarded-for", client.to_owned()))
    };
    for number in 0..15 {
        let failed = through_proxy(&format!("nobody{number}"), "wrong", "203.0.113.7").await;
        failed.expect_problem(401, "wrong-credentials");
    }
    through_proxy("ada", PASSWORD, "203.0.113.8").await.expect(StatusCode::OK);
}

/// Resident memory of a process in MiB (proc(5)).
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory");
    line.split_whitespace().nth(1).expect("kB").parse::<u64>().expect("a number") / 1024
}

#[tokio::test]
async fn hundreds_of_logins_leave_the_memory_of_the_slots_and_no_more() {
    /// For buffers of connections and pools.
    const MAX_GROWTH_MIB: u64 = 24;
    const SLOT_MIB: u64 = 19;
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    assert!(Pictier::new(data.path()).on(&database).args(&["migrate"]).output().status.success());
    let api = Pictier::new(data.path()).on(&database).env("BEHIND_PROXY", "true");
    let mut api = api.args(&["api"]).start();
    let origin = api.origin().await;
    let client = Client::new(&origin);
    let before = resident_mib(api.pid());
    for round in 0..3 {
        let tries = (0..100).map(|number| {
            let body = json!({"username": "admin", "password": "wrong"});
            let request = client.request(reqwest::Method::POST, "/api/session").json(&body);
            // each from an address of its own, so that none is refused without a hash
            crate::harness::send(
                request.header("x-forwarded-for", format!("10.0.{round}.{number}")),
            )
        });
        for answer in futures::future::join_all(tries).await {
            answer.expect_problem(401, "wrong-credentials");
        }
    }
    let slots = std::thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    let grown = resident_mib(api.pid()) - before;
    assert!(grown <= MAX_GROWTH_MIB + slots * SLOT_MIB, "{grown} MiB more with {slots} slots");
    assert!(api.stop().await.success());
}
