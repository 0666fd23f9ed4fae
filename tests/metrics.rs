//! Metrics and the log of requests, of real processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::metrics::{CATALOGUE, Kind};

use crate::harness::{
    Client, fresh_database, pictures,
    processes::{Pictier, Running},
};

const PATIENCE: Duration = Duration::from_mins(1);
const EACH_SECOND: &str = "* * * * * *";

/// The manual's table, made from the catalogue.
#[test]
fn the_operations_manual_lists_every_metric_as_the_catalogue_does() {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"))
        .expect("the manual");
    let listed: Vec<&str> = manual.lines().filter(|line| line.starts_with("| `pictier_")).collect();
    let rows: Vec<String> = CATALOGUE
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join(", "));
            format!("| `{name}` | {kind} | {labels} | {} |", metric.help)
        })
        .collect();
    assert_eq!(
        listed,
        rows,
        "the table of metrics in docs/operations.md has to be:\n{}",
        rows.join("\n")
    );
}

/// Where a process serves its metrics.
async fn metrics_origin(process: &mut Running) -> String {
    let line = process.wait_for("metrics: http://").await;
    let url = line.split("metrics: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    url.expect("an address").trim_end_matches("/metrics").to_owned()
}

async fn scrape(metrics: &Client) -> String {
    let answer = metrics.get("/metrics").await.expect(StatusCode::OK);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    answer.html()
}

/// Names and kinds as the exposition declares them.
fn declared(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn a_scrape_has_every_metric_of_the_catalogue_and_no_other() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let mut everything = Pictier::new(data.path())
        .on(&database)
        .env("METRICS_BIND", "127.0.0.1:0")
        .env("AUDIT_SCHEDULE", EACH_SECOND)
        .env("CLEANUP_SCHEDULE", EACH_SECOND)
        .start();
    let metrics = Client::new(&metrics_origin(&mut everything).await);
    let admin = Client::new(&everything.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    let picture = pictures::png(300, 300);
    let bytes = u32::try_from(picture.len()).expect("a small picture");
    let image = admin.uploaded("a.png", picture).await;
    let url = image["file_urls"]["200 px high"].as_str().expect("a link");
    admin.get_with(url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    admin.get("/no/such/page").await.expect(StatusCode::NOT_FOUND);
    let events = admin.request(Method::GET, "/api/events").send().await.expect("a stream");
    let invented = Method::from_bytes(b"BREW").expect("a method");
    admin.request(invented, "/api/session").send().await.expect("an answer");

    let expected: BTreeMap<String, String> = CATALOGUE
        .iter()
        .map(|metric| (metric.name.to_owned(), metric.kind.as_str().to_owned()))
        .collect();
    let started = Instant::now();
    let text = loop {
        let text = scrape(&metrics).await;
        // the cleanup and the audit come with the next second
        if declared(&text).len() >= expected.len() || started.elapsed() > PATIENCE {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(declared(&text), expected);
    for (series, expected) in [
        (r#"pictier_http_requests_total{route="/api/images",method="POST",status="201"}"#, 1.0),
        (r#"pictier_http_requests_total{route="unmatched",method="GET",status="404"}"#, 1.0),
        (r#"pictier_http_requests_total{route="/api/session",method="other",status="405"}"#, 1.0),
        (r#"pictier_http_request_seconds_count{route="/api/images",method="POST"}"#, 1.0),
        (r#"pictier_job_outcomes_total{queue="thumbnails",outcome="done"}"#, 1.0),
        (r#"pictier_thumbnail_stage_seconds_count{stage="make"}"#, 1.0),
        (r#"pictier_queue_jobs{queue="thumbnails",state="dead"}"#, 0.0),
        ("pictier_uploads_total", 1.0),
        ("pictier_event_streams", 1.0),
        ("pictier_waiting_requests", 0.0),
        ("pictier_worker_memory_reserved_bytes", 0.0),
        ("pictier_live_workers", 1.0),
        ("pictier_database_up", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}:\n{text}");
    }
    assert_eq!(value(&text, "pictier_uploaded_bytes_total"), Some(f64::from(bytes)));
    expect_labels(&text);

    drop(events);
    let started = Instant::now();
    while value(&scrape(&metrics).await, "pictier_event_streams") != Some(0.0) {
        assert!(started.elapsed() < PATIENCE, "a stream that was closed is still counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (method, path) in
        [(Method::GET, "/"), (Method::GET, "/healthz"), (Method::POST, "/metrics")]
    {
        let answer = metrics.request(method, path).send().await.expect("an answer");
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
    assert!(everything.stop().await.success());
}

/// Each series has the labels of the catalogue, and their values are no data of users.
fn expect_labels(text: &str) {
    let bounds = BTreeSet::from(["le"]);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let metric = CATALOGUE.iter().find(|metric| {
            let suffix = name.strip_prefix(metric.name);
            let suffixes: &[&str] =
                if metric.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            suffix.is_some_and(|suffix| suffixes.contains(&suffix))
        });
        let metric = metric.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let names: BTreeSet<_> =
            labels.filter_map(|label| Some(label.split_once('=')?.0)).collect();
        let names: BTreeSet<_> = names.difference(&bounds).copied().collect();
        assert_eq!(names, metric.labels.iter().copied().collect(), "{line}");
        assert!(
            !line.contains("/no/such/page") && !line.contains("user_content/resized/a-"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn each_role_serves_metrics_where_they_are_turned_on() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let pictier = || Pictier::new(data.path()).on(&database);
    assert!(pictier().args(&["migrate"]).output().status.success());
    let mut off = pictier().args(&["api"]).start();
    off.origin().await;
    assert!(!off.said().iter().any(|line| line.contains("metrics: ")), "{:#?}", off.said());
    for (role, pool) in [("api", "api"), ("worker", "worker")] {
        let mut process = pictier().args(&[role]).env("METRICS_BIND", "127.0.0.1:0").start();
        let metrics = Client::new(&metrics_origin(&mut process).await);
        let text = scrape(&metrics).await;
        let series = format!(r#"pictier_database_connections_max{{pool="{pool}"}}"#);
        assert_eq!(value(&text, &series), Some(19.0), "{text}");
        assert_eq!(value(&text, "pictier_database_up"), Some(1.0), "{text}");
        assert!(process.stop().await.success());
    }
}

#[tokio::test]
async fn figures_are_not_numbers_while_the_database_is_away() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let proxy = crate::harness::Proxy::start(&database).await;
    assert!(Pictier::new(data.path()).on(&database).args(&["migrate"]).output().status.success());
    let name = database.get_database().expect("a name");
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable", proxy.port());
    let mut api = Pictier::new(data.path())
        .env("DATABASE_URL", url)
        .env("METRICS_BIND", "127.0.0.1:0")
        .args(&["api"])
        .start();
    let metrics = Client::new(&metrics_origin(&mut api).await);
    assert_eq!(value(&scrape(&metrics).await, "pictier_database_up"), Some(1.0));
    proxy.silence();
    let started = Instant::now();
    loop {
        let text = scrape(&metrics).await;
        if value(&text, "pictier_database_up") == Some(0.0) {
            let waiting = value(&text, r#"pictier_queue_jobs{queue="thumbnails",state="waiting"}"#);
            assert!(waiting.is_some_and(f64::is_nan), "{text}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{text}");
    }
}

#[tokio::test]
async fn a_request_has_one_line_of_json_with_what_it_was_and_how_it_ended() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let pictier = || Pictier::new(data.path()).on(&database);
    assert!(pictier().args(&["migrate"]).output().status.success());
    let mut api = pictier().args(&["api", "--log-format", "json"]).start();
    let admin = Client::new(&api.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    let image = admin.uploaded("a.png", pictures::png(30, 30)).await;
    let pk = image["pk"].as_i64().expect("a number");
    let answer = admin.get(&format!("/api/images/{pk}")).await.expect(StatusCode::OK);
    let id = answer.header("x-request-id").to_owned();
    api.wait_for(&id).await;
    let lines: Vec<Value> = api
        .said()
        .iter()
        .filter(|line| line.contains(&id))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [line] = lines.as_slice() else { panic!("not one line: {lines:#?}") };
    assert_eq!(line["fields"]["status"], 200);
    assert_eq!(line["fields"]["route"], "/api/images/{pk}");
    assert_eq!(line["fields"]["bytes"], answer.body.len());
    assert!(line["fields"]["user"].is_i64() && line["fields"]["ms"].is_u64(), "{line:#}");
    assert_eq!(line["span"]["method"], "GET");
    assert_eq!(line["span"]["path"], format!("/api/images/{pk}"));
    assert_eq!(line["span"]["id"], id);
}
