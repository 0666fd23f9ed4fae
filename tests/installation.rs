//! A store that does not belong to the database is never emptied.

use std::{fs, path::Path, time::Duration};

use reqwest::StatusCode;
use serde_json::Value;
use shared::{
    db,
    domain::{Attempt, ThumbnailId},
    installation::{self, InstallationError},
    storage::StorageKey,
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::harness::{Client, TestApp, fresh_database, pictures, processes::Pictier};

async fn run(app: &TestApp, statement: &'static str) {
    sqlx::query(statement).execute(&app.pool).await.expect(statement);
}

fn url<'a>(image: &'a Value, name: &str) -> &'a str {
    image["file_urls"][name].as_str().expect("a link")
}

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
    found.sort();
    found
}

async fn migrated(data: &Path) -> PgConnectOptions {
    let database = fresh_database().await;
    let output = Pictier::new(data).on(&database).args(&["migrate"]).output();
    assert!(output.status.success(), "{output:?}");
    database
}

/// Runs a role to its end; whether it succeeded, and all that it said.
fn role(data: &Path, database: &PgConnectOptions, args: &[&str]) -> (bool, String) {
    let output = Pictier::new(data).on(database).args(args).output();
    let said = [output.stdout, output.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat();
    (output.status.success(), said)
}

/// A folder that was in use with a database: one image and its thumbnail.
async fn used_folder(data: &Path) -> PgConnectOptions {
    let database = migrated(data).await;
    let mut everything = Pictier::new(data).on(&database).start();
    let admin = Client::new(&everything.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    let image = admin.uploaded("a.jpg", pictures::jpeg(400, 300)).await;
    admin
        .get_with(url(&image, "200 px high"), &[("prefer", "wait=30")])
        .await
        .expect(StatusCode::OK);
    assert!(everything.stop().await.success());
    database
}

#[tokio::test]
async fn every_role_refuses_a_folder_that_belongs_to_another_database() {
    let data = tempfile::tempdir().expect("a folder");
    let first = used_folder(data.path()).await;
    let before = files(&data.path().join("media"));
    assert_eq!(before.len(), 3, "an original, a thumbnail and the marker");
    let second = migrated(data.path()).await;
    for args in [
        &["api"][..],
        &["worker"],
        &["cleanup"],
        &["audit"],
        &["repair", "--yes"],
        &["retry-failed"],
        &[],
    ] {
        let (succeeded, said) = role(data.path(), &second, args);
        assert!(!succeeded, "{args:?}: {said}");
        for text in ["media", "belongs to the installation", "adopt-storage"] {
            assert!(said.contains(text), "{args:?}: {said}");
        }
    }
    assert_eq!(files(&data.path().join("media")), before);
    let (succeeded, said) = role(data.path(), &first, &["audit"]);
    assert!(succeeded, "{said}");
}

#[tokio::test]
async fn a_folder_of_the_first_edition_is_refused_by_a_fresh_database_and_marked_by_its_own() {
    let data = tempfile::tempdir().expect("a folder");
    let own = used_folder(data.path()).await;
    let marker = data.path().join("media/pictier.json");
    fs::remove_file(&marker).expect("no marker");
    let pool = shared::postgres::connect(own.clone(), 1).await.expect("a pool");
    sqlx::query("DELETE FROM installation").execute(&pool).await.expect("no installation");
    let before = files(&data.path().join("media"));

    let fresh = migrated(data.path()).await;
    let (succeeded, said) = role(data.path(), &fresh, &["cleanup"]);
    assert!(!succeeded && said.contains("does not belong to this database"), "{said}");
    assert_eq!(files(&data.path().join("media")), before);
    let (succeeded, said) = role(data.path(), &own, &["cleanup"]);
    assert!(succeeded, "{said}");
    assert!(marker.exists());
    assert_eq!(files(&data.path().join("media")).len(), before.len() + 1);
}

#[tokio::test]
async fn a_database_is_refused_by_an_empty_folder_that_is_not_its_own() {
    let data = tempfile::tempdir().expect("a folder");
    let database = used_folder(data.path()).await;
    let pool = shared::postgres::connect(database.clone(), 1).await.expect("a pool");
    sqlx::query("DELETE FROM installation").execute(&pool).await.expect("no installation");
    let empty = tempfile::tempdir().expect("a folder");
    let (succeeded, said) = role(empty.path(), &database, &["worker"]);
    assert!(!succeeded && said.contains("the store lacks 1"), "{said}");
    assert!(!empty.path().join("media/pictier.json").exists());
}

#[tokio::test]
async fn adopting_shows_both_sides_and_asks() {
    let data = tempfile::tempdir().expect("a folder");
    used_folder(data.path()).await;
    let other = migrated(data.path()).await;
    let (succeeded, said) = role(data.path(), &other, &["adopt-storage"]);
    assert!(!succeeded, "{said}");
    for text in ["The database has 0 images.", "1 originals", "the marker of installation", "--yes"]
    {
        assert!(said.contains(text), "{said}");
    }
    let (succeeded, said) = role(data.path(), &other, &["worker"]);
    assert!(!succeeded, "nothing was adopted: {said}");
    let (succeeded, said) = role(data.path(), &other, &["adopt-storage", "--yes"]);
    assert!(succeeded, "{said}");
    let (succeeded, said) = role(data.path(), &other, &["cleanup"]);
    assert!(succeeded && said.contains("0 orphaned files"), "{said}");
}

#[tokio::test]
async fn a_store_without_its_marker_is_an_outage_and_nothing_is_deleted() {
    let mut app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(600, 600)).await;
    client.get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    // the folder is unmounted: the empty mount point is there
    let (media, away) = (app.data_dir().join("media"), app.data_dir().join("away"));
    fs::rename(&media, &away).expect("an unmounted folder");
    fs::create_dir(&media).expect("a mount point");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for path in [url(&image, "original"), url(&image, "200 px high")] {
        let problem = client.get(path).await;
        assert_eq!(problem.header("retry-after"), "5");
        problem.expect_problem(503, "unavailable");
    }
    client.upload("b.png", pictures::png(10, 10)).await.expect_problem(503, "unavailable");
    assert!(worker::clean_up(&app.job_context()).await.is_err());
    assert!(worker::audit(&app.job_context()).await.is_err());
    assert!(worker::plan_repair(&app.job_context()).await.is_err());
    // a request for a thumbnail that was never made waits for the store to come back
    client.get(url(&image, "400 px high")).await.expect(StatusCode::ACCEPTED);
    let ready = "SELECT count(*) FROM thumbnails WHERE state = 'ready'";
    let ready: i64 = sqlx::query_scalar(ready).fetch_one(&app.pool).await.expect("a count");
    assert_eq!((app.rows("images").await, ready), (1, 1), "no row was changed");
    assert_eq!(
        fs::read_dir(&media).expect("a folder").count(),
        0,
        "nothing was written to the mount point"
    );

    fs::remove_dir(&media).expect("no mount point");
    fs::rename(&away, &media).expect("a mounted folder");
    app.run_jobs().await;
    for name in ["original", "200 px high", "400 px high"] {
        client.get(url(&image, name)).await.expect(StatusCode::OK);
    }
    assert!(worker::audit(&app.job_context()).await.expect("an audit").is_clean());
}

#[tokio::test]
async fn a_copy_of_the_database_deletes_nothing_until_it_adopts_the_store() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let orphan = StorageKey::thumbnail(ThumbnailId::random(), Attempt(1), imaging::Format::Png);
    app.storage.put(&orphan, "x".into()).await.expect("an orphan");
    worker::clean_up(&app.job_context()).await.expect("the original's cleanup");
    // what a copy knows that was made before the original's last two cleanups
    run(
        &app,
        "UPDATE installation SET generation = gen_random_uuid(), previous_generation = gen_random_uuid()",
    )
    .await;
    run(&app, "UPDATE orphans SET first_seen = now() - interval '9 days'").await;
    run(&app, "INSERT INTO uploads_under_way SELECT 'originals/x', now() - interval '9 days'")
        .await;
    let before = app.objects().await;
    let cleaned_up = worker::clean_up(&app.job_context()).await;
    assert!(cleaned_up.is_err_and(|error| error.to_string().contains("is a copy")));
    client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    app.start_worker().await;
    app.wait_until(
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE transient_failures > 0 AND attempts = 0)",
    )
    .await;
    assert_eq!(app.objects().await, before);

    installation::adopt(&app.pool, &app.storage).await.expect("an adopted store");
    run(&app, "UPDATE apalis.jobs SET run_at = now()").await;
    app.stop_worker().await;
    assert_eq!(worker::clean_up(&app.job_context()).await.expect("a cleanup").orphans, 1);
    assert_eq!(app.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_fresh_copy_of_the_database_does_not_take_the_store_over() {
    let data = tempfile::tempdir().expect("a folder");
    let original = used_folder(data.path()).await;
    let copy = copied(&original).await;
    let before = files(&data.path().join("media"));
    // the copy's cleanup comes first
    let (succeeded, said) = role(data.path(), &copy, &["cleanup"]);
    assert!(!succeeded && said.contains("is a copy"), "{said}");
    assert_eq!(said.matches("is a copy").count(), 3, "two log lines and one message: {said}");
    let (succeeded, said) = role(data.path(), &copy, &["cleanup", "--originals", "--yes"]);
    assert!(succeeded && said.contains("names every original"), "{said}");
    assert_eq!(files(&data.path().join("media")), before);
    let (succeeded, said) = role(data.path(), &original, &["cleanup"]);
    assert!(succeeded, "{said}");
    let (succeeded, said) = role(data.path(), &copy, &["adopt-storage", "--yes"]);
    assert!(succeeded, "{said}");
    let (succeeded, said) = role(data.path(), &copy, &["cleanup"]);
    assert!(succeeded, "{said}");
    let (succeeded, said) = role(data.path(), &original, &["cleanup"]);
    assert!(!succeeded && said.contains("is a copy"), "the store is the copy's now: {said}");
}

/// A copy of a database to which nobody is connected.
async fn copied(database: &PgConnectOptions) -> PgConnectOptions {
    let name = format!("copy_{}", uuid::Uuid::new_v4().simple());
    let from = database.get_database().expect("a name");
    let copy = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {from}"));
    let mut connection = PgConnection::connect_with(&database.clone().database("postgres"))
        .await
        .expect("a connection");
    sqlx::query(copy).execute(&mut connection).await.expect("a copy");
    database.clone().database(&name)
}

#[tokio::test]
async fn a_worker_on_a_copy_deletes_no_object_that_the_originals_worker_kept() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    client.get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
    run(&app, "UPDATE installation SET home = 'another'").await;
    // the claim is lost while the thumbnail is made
    for statement in [
        "CREATE FUNCTION lose_claim() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER lose_claim BEFORE UPDATE OF state ON thumbnails FOR EACH ROW
            WHEN (NEW.state = 'ready') EXECUTE FUNCTION lose_claim()",
    ] {
        run(&app, statement).await;
    }
    app.start_worker().await;
    app.wait_until("SELECT EXISTS (SELECT FROM apalis.jobs WHERE transient_failures > 0)").await;
    assert_eq!(app.objects().await.iter().filter(|key| key.starts_with("thumbnails/")).count(), 1);
    run(&app, "DROP TRIGGER lose_claim ON thumbnails").await;
    run(&app, "UPDATE apalis.jobs SET run_at = now()").await;
    app.stop_worker().await;
}

#[tokio::test]
async fn a_damaged_marker_is_mended_by_adopting_the_store() {
    let data = tempfile::tempdir().expect("a folder");
    let database = used_folder(data.path()).await;
    fs::write(data.path().join("media/pictier.json"), "{").expect("a damaged marker");
    let (succeeded, said) = role(data.path(), &database, &["cleanup"]);
    assert!(!succeeded && said.contains("adopt-storage"), "{said}");
    let (succeeded, said) = role(data.path(), &database, &["adopt-storage", "--yes"]);
    assert!(succeeded && said.contains("a damaged marker"), "{said}");
    let (succeeded, said) = role(data.path(), &database, &["cleanup"]);
    assert!(succeeded, "{said}");
}

#[tokio::test]
async fn a_cleanup_that_was_killed_between_database_and_marker_is_no_copy() {
    let app = TestApp::start().await;
    worker::clean_up(&app.job_context()).await.expect("a cleanup");
    let marker = app.storage.read_marker().await.expect("a look").expect("a marker");
    let mut connection = app.pool.acquire().await.expect("a connection");
    let written = db::installation::set_generation(
        &mut connection,
        uuid::Uuid::new_v4(),
        Some(marker.generation),
    );
    written.await.expect("a generation that does not reach the marker");
    worker::clean_up(&app.job_context()).await.expect("a cleanup");
    let marker = app.storage.read_marker().await.expect("a look").expect("a marker");
    let known = db::installation::get(&mut connection).await.expect("an installation");
    assert_eq!(known.generation, marker.generation);
}

#[tokio::test]
async fn cleanups_at_the_same_time_keep_database_and_marker_together() {
    let app = TestApp::start().await;
    let cleanups = (0..8).map(|_| {
        let context = app.job_context();
        tokio::spawn(async move {
            installation::renew_generation(&context.pool, &context.storage).await
        })
    });
    for cleanup in cleanups.collect::<Vec<_>>() {
        cleanup.await.expect("a cleanup").expect("a store of its own");
    }
    let known = db::installation::get(&mut app.pool.acquire().await.expect("a connection")).await;
    let marker = app.storage.read_marker().await.expect("a look");
    assert_eq!(marker, Some(known.expect("an installation").marker()));
}

#[tokio::test]
async fn a_marker_of_another_installation_that_appears_meanwhile_stops_requests_and_cleanups() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    client.uploaded("a.png", pictures::png(10, 10)).await;
    let mut marker = app.storage.read_marker().await.expect("a look").expect("a marker");
    marker.installation = uuid::Uuid::new_v4();
    app.storage.write_marker(marker).await.expect("another's marker");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.upload("b.png", pictures::png(10, 10)).await.expect_problem(503, "unavailable");
    client.get("/readyz").await.expect_problem(503, "unavailable");
    let refused = installation::renew_generation(&app.pool, &app.storage).await;
    assert!(matches!(refused, Err(InstallationError::Foreign { .. })));
}
