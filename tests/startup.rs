//! What a starting server checks and says, and what it logs of the requests that supervisors send.

use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::{Client, ImageLinks, fresh_database, pictures, processes::Pictier};

#[tokio::test]
async fn a_public_url_that_links_cannot_start_with_is_refused_before_anything_starts() {
    for (url, reason) in [
        ("pictures.example", "has to start with http:// or https://"),
        ("ftp://pictures.example", "has to start with http:// or https://"),
        ("https://pictures.example/gallery", "has a path, a query or a fragment"),
        ("https://pictures.example/#top", "has a path, a query or a fragment"),
    ] {
        let data = tempfile::tempdir().expect("a folder");
        let output = Pictier::new(data.path()).args(&["migrate"]).env("PUBLIC_URL", url).output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{url}: {said}");
        assert!(said.contains("PUBLIC_URL") && said.contains(reason), "{url}: {said}");
        assert!(!data.path().join("postgres").exists(), "{url}: a database was started");
    }
}

#[tokio::test]
async fn a_ready_server_names_the_address_that_users_type() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let server = || {
        let migrated = Pictier::new(data.path()).on(&database).env("BIND", "0.0.0.0:0");
        migrated.env("ALLOW_DEFAULT_PASSWORD", "true")
    };
    assert!(server().args(&["migrate"]).output().status.success());

    let mut public = server().args(&["api"]).env("PUBLIC_URL", "https://pictures.example/").start();
    assert_eq!(public.origin().await, "https://pictures.example");
    assert!(public.wait_for("listening on:").await.contains("0.0.0.0:"));
    let docs = public.wait_for("the API:").await;
    assert!(docs.ends_with("https://pictures.example/api/docs"), "{docs}");

    let mut private = server().args(&["api"]).start();
    let origin = private.origin().await;
    assert!(origin.starts_with("http://127.0.0.1:"), "{origin}");
    Client::new(&origin).get("/readyz").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn health_checks_are_logged_for_debugging_only() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let server = || Pictier::new(data.path()).on(&database);
    assert!(server().args(&["migrate"]).output().status.success());
    for (level, is_logged) in [("info", false), ("api=debug,tower_http=debug", true)] {
        let mut running = server().args(&["api"]).env("RUST_LOG", level).start();
        let client = Client::new(&running.origin().await);
        client.get("/readyz").await.expect(StatusCode::OK);
        client.get("/healthz/").await.expect(StatusCode::OK);
        client.get("/api/images").await.expect(StatusCode::UNAUTHORIZED);
        // requests of one client are logged in their order
        running.wait_for("path=\"/api/images\"").await;
        let said = running.said();
        let health: Vec<_> =
            said.iter().filter(|line| line.contains("z\"") || line.contains("finished")).collect();
        let checks = health
            .iter()
            .filter(|line| line.contains("/readyz") || line.contains("/healthz"))
            .count();
        assert_eq!(checks > 0, is_logged, "{level}: {said:#?}");
        let finished =
            health.iter().filter(|line| line.contains("finished processing request")).count();
        assert_eq!(finished, if is_logged { 3 } else { 1 }, "{level}: {said:#?}");
    }
}

#[tokio::test]
async fn a_job_is_logged_with_the_request_that_caused_it() {
    let data = tempfile::tempdir().expect("a folder");
    let database = fresh_database().await;
    let server = || {
        let server = Pictier::new(data.path()).on(&database);
        server.env("LOG_FORMAT", "json").env("ALLOW_DEFAULT_PASSWORD", "true")
    };
    assert!(server().args(&["migrate"]).output().status.success());
    let mut api = server().env("LOG_FORMAT", "text").args(&["api"]).start();
    let mut worker = server().env("RUST_LOG", "debug").args(&["worker"]).start();
    let client = Client::new(&api.origin().await);
    client.log_in("admin", "admin").await.expect(StatusCode::OK);
    let image = client.uploaded("a.jpg", pictures::jpeg(400, 300)).await;

    let first = client.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    let line = worker.wait_for("made a thumbnail").await;
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(line["span"]["request_id"], first.header("x-request-id"), "{line}");
    assert_eq!(line["span"]["queue"], "thumbnails", "{line}");

    let deletion = client.delete(&format!("/api/images/{}", image["pk"])).await;
    let line = worker.wait_for("deleted files of deleted images").await;
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(line["span"]["request_id"], deletion.header("x-request-id"), "{line}");
}
