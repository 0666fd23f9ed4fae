//! What a starting server checks and says, and what it logs of the requests that supervisors send.

use reqwest::StatusCode;

use crate::harness::{Client, fresh_database, processes::Pictier};

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
        let checks =
            health.iter().filter(|line| line.contains("/readyz") || line.contains("/healthz")).count();
        assert_eq!(checks > 0, is_logged, "{level}: {said:#?}");
        let finished = health.iter().filter(|line| line.contains("finished processing request")).count();
        assert_eq!(finished, if is_logged { 3 } else { 1 }, "{level}: {said:#?}");
    }
}
