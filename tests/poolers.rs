//! Connection poolers: those that hand out sessions work, and those that hand out transactions are
//! refused.

use reqwest::StatusCode;
use shared::postgres;
use sqlx::Executor;

use crate::harness::{Client, ImageLinks, PgBouncer, fresh_database, pictures, processes::Pictier};

// the way to the server runs in the test, which waits for processes
#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_a_pooler_that_hands_out_sessions() {
    let database = fresh_database().await;
    let pooler = PgBouncer::start(&database, "session").await;
    let data = tempfile::tempdir().expect("a folder");
    let over_pooler =
        |args: &[&str]| Pictier::new(data.path()).env("DATABASE_URL", pooler.url()).args(args);
    let mut everything = over_pooler(&[]).start();
    let admin = Client::new(&everything.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    let image = admin.uploaded("a.png", pictures::png(300, 300)).await;
    let url = image.thumbnail(200);
    let answer = admin.get_with(url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    assert_eq!(pictures::size(&answer.body).1, 200);
    for role in ["migrate", "cleanup", "audit"] {
        let output = over_pooler(&[role]).output();
        assert!(output.status.success(), "{role}: {output:?}");
    }
    let problems: Vec<_> = everything
        .said()
        .into_iter()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect();
    // the second is about the machine
    let expected = |line: &String| {
        ["the password that everybody knows", "lets this process open"]
            .iter()
            .any(|text| line.contains(text))
    };
    assert!(problems.iter().all(expected), "{problems:#?}");
    assert!(everything.stop().await.success());
}

// the way to the server runs in the test, which waits for processes
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_hands_out_transactions_is_refused_in_one_line() {
    let database = fresh_database().await;
    let pooler = PgBouncer::start(&database, "transaction").await;
    let data = tempfile::tempdir().expect("a folder");
    for role in ["", "api", "worker", "migrate", "cleanup", "audit"] {
        let args: Vec<_> = Some(role).filter(|role| !role.is_empty()).into_iter().collect();
        let pictier = Pictier::new(data.path()).env("DATABASE_URL", pooler.url()).args(&args);
        let output = pictier.output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{role}: {said}");
        assert!(
            said.contains("transaction mode") && said.contains("pool_mode = session"),
            "{role}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{role}: {said}");
    }
}

#[tokio::test]
async fn a_statement_that_met_the_session_of_another_client_is_explained() {
    let database = fresh_database().await;
    let pool = postgres::connect(database, 1).await.expect("a pool");
    let expect_explained = async |what: &str| {
        let error = sqlx::query("SELECT 1").execute(&pool).await.expect_err(what);
        let explanation = postgres::explain(&error).unwrap_or_default();
        assert!(explanation.contains("transaction mode"), "{what}: {error}");
        assert!(postgres::is_unavailable(&error), "{what}: {error}");
    };
    // the name that sqlx gives to its first statement
    pool.execute(sqlx::raw_sql("PREPARE sqlx_s_1 AS SELECT 2")).await.expect("a statement");
    expect_explained("a statement of another client is in the way").await;
    pool.execute(sqlx::raw_sql("DEALLOCATE ALL")).await.expect("no statement");
    sqlx::query("SELECT 1").execute(&pool).await.expect("a statement of ours");
    pool.execute(sqlx::raw_sql("DEALLOCATE ALL")).await.expect("no statement");
    expect_explained("our statement is gone").await;
}
