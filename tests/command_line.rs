//! The roles that do one thing and end.

use std::{fs, path::Path};

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::postgres;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::harness::{Client, fresh_database, processes::Pictier};

/// A database and a folder for the command line.
struct Server {
    data: TempDir,
    database: PgConnectOptions,
    pool: PgPool,
}

impl Server {
    async fn migrated() -> Self {
        let server = Self::empty().await;
        let (status, said) = server.run(&["migrate"]);
        assert!(status, "{said}");
        server
    }

    async fn empty() -> Self {
        let database = fresh_database().await;
        let pool = postgres::connect(database.clone(), 2).await.expect("a pool");
        Self { data: tempfile::tempdir().expect("a folder"), database, pool }
    }

    fn pictier(&self) -> Pictier {
        Pictier::new(self.data.path()).on(&self.database)
    }

    /// Whether it succeeded, and all that it said.
    fn run(&self, args: &[&str]) -> (bool, String) {
        let output = self.pictier().args(args).output();
        let said = [output.stdout, output.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat();
        (output.status.success(), said)
    }

    async fn column(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(&self.pool).await.expect("a query")
    }

    fn write(&self, name: &str, tiers: &Value) -> String {
        let file = self.data.path().join(name);
        fs::write(&file, tiers.to_string()).expect("a file");
        file.display().to_string()
    }
}

fn built_in() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("shared/tiers.json");
    serde_json::from_str(&fs::read_to_string(file).expect("the tiers")).expect("JSON")
}

#[tokio::test]
async fn migrating_creates_the_tiers_and_the_configured_superuser_once() {
    let server = Server::empty().await;
    let migrate =
        || server.pictier().args(&["migrate"]).env("SUPERUSER_USERNAME", "root@example.com");
    let first = migrate().env("SUPERUSER_PASSWORD", "a long password").output();
    assert!(
        String::from_utf8_lossy(&first.stderr).contains("created the superuser root@example.com"),
        "{first:?}"
    );
    let second = migrate().output();
    assert!(second.status.success());
    assert!(!String::from_utf8_lossy(&second.stderr).contains("created"), "{second:?}");
    assert_eq!(
        server.column("SELECT username FROM users WHERE is_admin").await,
        ["root@example.com"]
    );
    assert_eq!(
        server.column("SELECT name FROM tiers ORDER BY id").await,
        ["Basic", "Premium", "Enterprise"]
    );
    let trail = "SELECT actor_name || ' ' || action || ' ' || object_label FROM admin_actions";
    assert_eq!(server.column(trail).await, ["command line create root@example.com"]);
}

#[tokio::test]
async fn a_superusers_password_that_is_too_short_is_refused() {
    let server = Server::empty().await;
    let output = server.pictier().args(&["migrate"]).env("SUPERUSER_PASSWORD", "short").output();
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("at least 8 characters"),
        "{output:?}"
    );
    assert_eq!(server.column("SELECT username FROM users").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_administrator_is_created_with_the_password_on_the_standard_input() {
    let server = Server::migrated().await;
    let create = |name: &str, password: &str| {
        let output = server.pictier().args(&["create-admin", name]).output_with_input(password);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(create("ada", "a long password"), (true, String::new()));
    let (taken, said) = create("ADA", "a long password");
    assert!(!taken && said.contains("There is already a user ADA."), "{said}");
    let (short, said) = create("eve", "short");
    assert!(!short && said.contains("at least 8 characters"), "{said}");
    let (bad_name, said) = create("e v e", "a long password");
    assert!(!bad_name && said.contains("username"), "{said}");

    let mut api = server.pictier().args(&["api"]).start();
    let ada = Client::new(&api.origin().await);
    let session = ada.log_in("ada", "a long password").await.expect(StatusCode::OK).json();
    assert_eq!(session["is_admin"], true);
    assert_eq!(session["tier"]["name"], "Enterprise");
    let output = server
        .pictier()
        .args(&["create-admin", "bob", "--tier", "None"])
        .output_with_input("a long password");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no tier \"None\""), "{output:?}");
}

#[tokio::test]
async fn loading_tiers_says_what_it_overwrites_and_asks() {
    let server = Server::migrated().await;
    let same = server.write("same.json", &built_in());
    let (done, said) = server.run(&["load-tiers", &same]);
    assert!(done && said.contains("keep      Basic"), "{said}");

    let mut changed = built_in();
    changed[1]["thumbnail_heights"] = json!([300]);
    changed.as_array_mut().expect("tiers").push(json!({
        "name": "Ultimate", "thumbnail_heights": [100], "original_access": true, "expiring_links": true,
        "max_upload_bytes": 1000, "storage_quota_bytes": 2000,
    }));
    let file = server.write("changed.json", &changed);
    let (done, said) = server.run(&["load-tiers", &file]);
    assert!(
        !done && said.contains("overwrite Premium: 200, 400 px") && said.contains("--yes"),
        "{said}"
    );
    assert_eq!(
        server.column("SELECT name FROM tiers ORDER BY id").await.len(),
        3,
        "nothing was changed"
    );

    let (done, said) = server.run(&["load-tiers", &file, "--yes"]);
    assert!(
        done && said.contains("with Premium: 300 px") && said.contains("create    Ultimate"),
        "{said}"
    );
    let heights = "SELECT array_to_string(thumbnail_heights, ',') FROM tiers ORDER BY id";
    assert_eq!(server.column(heights).await, ["200", "300", "200,400", "100"]);
    let trail = "SELECT action || ' ' || object_label FROM admin_actions WHERE object_type = 'tier' ORDER BY id";
    assert_eq!(server.column(trail).await, ["update Premium", "create Ultimate"]);
}

#[tokio::test]
async fn tiers_that_change_while_somebody_is_asked_are_not_overwritten() {
    let server = Server::migrated().await;
    let mut changed = built_in();
    changed[1]["thumbnail_heights"] = json!([300]);
    let file = server.write("changed.json", &changed);
    let heights =
        "SELECT array_to_string(thumbnail_heights, ',') FROM tiers WHERE name = 'Premium'";

    let mut asking = server.pictier().args(&["load-tiers", &file]).start_on_terminal();
    asking.wait_for("[y/N]").await;
    // the question holds no lock
    let meanwhile = "UPDATE tiers SET original_access = false WHERE name = 'Premium'";
    sqlx::query(meanwhile).execute(&server.pool).await.expect("a change meanwhile");
    asking.type_line("y");
    assert_eq!(asking.end().await.code(), Some(1), "{}", asking.screen());
    asking.wait_for("The tiers were changed meanwhile").await;
    assert_eq!(server.column(heights).await, ["200,400"]);

    let mut asking = server.pictier().args(&["load-tiers", &file]).start_on_terminal();
    asking.wait_for("[y/N]").await;
    asking.type_line("y");
    assert!(asking.end().await.success(), "{}", asking.screen());
    assert_eq!(server.column(heights).await, ["300"]);
}

#[tokio::test]
async fn a_file_that_has_no_tiers_is_refused_and_changes_nothing() {
    let server = Server::migrated().await;
    for (name, tiers, word) in [
        ("text.json", json!("x"), "no list of tiers"),
        ("height.json", json!([{"name": "X", "thumbnail_heights": [0]}]), "1 to 4000 px"),
        ("unknown.json", json!([{"nmae": "X"}]), "nmae"),
    ] {
        let (done, said) = server.run(&["load-tiers", &server.write(name, &tiers), "--yes"]);
        assert!(!done && said.contains(word), "{said}");
    }
    let (done, said) = server.run(&["load-tiers", "/does/not/exist.json"]);
    assert!(!done && said.contains("/does/not/exist.json"), "{said}");
    assert_eq!(server.column("SELECT name FROM tiers").await.len(), 3);
}

#[tokio::test]
async fn the_default_password_is_not_offered_to_the_network() {
    let server = Server::migrated().await;
    let refused = server.pictier().args(&["api"]).env("BIND", "0.0.0.0:0").output();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--allow-default-password"), "{said}");
    let mut told = server
        .pictier()
        .args(&["api"])
        .env("BIND", "0.0.0.0:0")
        .env("ALLOW_DEFAULT_PASSWORD", "true")
        .start();
    told.origin().await;
    let mut warned = server.pictier().start();
    warned.wait_for("the password that everybody knows").await;
}

#[tokio::test]
async fn the_health_check_tells_a_ready_api_and_a_live_worker() {
    let server = Server::migrated().await;
    let check = |bind: &str, args: &[&str]| {
        server.pictier().args(args).env("BIND", bind).output().status.success()
    };
    assert!(!check("127.0.0.1:9", &["healthcheck"]));
    let mut api = server.pictier().args(&["api"]).start();
    let origin = api.origin().await;
    assert!(check(origin.trim_start_matches("http://"), &["healthcheck"]));

    assert!(!check("127.0.0.1:9", &["healthcheck", "--worker"]));
    let _worker = server.pictier().args(&["worker"]).start();
    for _ in 0..200 {
        if check("127.0.0.1:9", &["healthcheck", "--worker"]) {
            return;
        }
    }
    panic!("the worker does not live");
}

#[tokio::test]
async fn cleanup_and_audit_report_what_they_did_and_found() {
    let server = Server::migrated().await;
    let (done, said) = server.run(&["cleanup"]);
    assert!(done && said.contains("0 expired links"), "{said}");
    let (clean, said) = server.run(&["audit"]);
    assert!(clean && said.contains("rows without object"), "{said}");
    sqlx::query("UPDATE users SET used_bytes = 5")
        .execute(&server.pool)
        .await
        .expect("a wrong count");
    let (clean, said) = server.run(&["audit"]);
    assert!(!clean && said.contains("admin"), "{said}");
}

#[tokio::test]
async fn sample_data_are_users_of_each_tier_images_links_and_a_thumbnail_that_fails() {
    let server = Server::empty().await;
    let (done, said) = server.run(&["seed", "--photos", "4"]);
    assert!(done && said.contains("pictier-seed"), "{said}");
    for (query, expected) in [
        (
            "SELECT string_agg(username, ' ' ORDER BY username) FROM users",
            "admin basic enterprise premium",
        ),
        ("SELECT count(*)::text FROM images", "6"),
        ("SELECT count(*)::text FROM expiring_links", "3"),
        ("SELECT string_agg(DISTINCT format, ' ' ORDER BY format) FROM images", "jpeg png"),
    ] {
        assert_eq!(server.column(query).await, [expected], "{query}");
    }
    let worker = server.pictier().args(&["worker"]).start();
    crate::harness::wait_until(
        &server.pool,
        "SELECT count(*) = 2 FROM thumbnails WHERE state = 'failed'",
    )
    .await;
    worker.stop().await;
    let (done, said) = server.run(&["seed"]);
    assert!(!done && said.contains("username"), "{said}");
}

#[test]
fn help_and_the_description_of_the_api_need_no_database() {
    let data = tempfile::tempdir().expect("a folder");
    let help = Pictier::new(data.path()).args(&["--help"]).output();
    assert!(
        help.status.success()
            && String::from_utf8_lossy(&help.stdout).contains("--upload-max-bytes")
    );
    let description = Pictier::new(data.path()).args(&["openapi"]).output();
    let document: Value = serde_json::from_slice(&description.stdout).expect("JSON");
    assert_eq!(document, api::openapi_document());
    assert_eq!(fs::read_dir(data.path()).expect("a folder").count(), 0, "nothing was started");
    let wrong = Pictier::new(data.path())
        .env("CLEANUP_SCHEDULE", "hourly")
        .args(&["--upload-max-bytes", "x"])
        .output();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--upload-max-bytes"), "{wrong:?}");
}

#[tokio::test]
async fn a_database_that_was_never_migrated_is_refused_with_a_word_on_what_to_do() {
    let server = Server::migrated().await;
    for statement in
        ["DELETE FROM _sqlx_migrations WHERE version = 2", "DROP TABLE _sqlx_migrations"]
    {
        sqlx::query(statement).execute(&server.pool).await.expect(statement);
        for role in ["api", "worker", "cleanup", "audit"] {
            let (done, said) = server.run(&[role]);
            assert!(!done && said.contains("run pictier migrate"), "{role}: {said}");
        }
    }
}
