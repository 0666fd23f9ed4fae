//! Backups: what they hold, and what waits for them.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::Value;
use shared::{
    db,
    domain::{Attempt, OriginalId, ThumbnailId},
    jobs::{self, DeleteObjects, JobId},
    storage::StorageKey,
};
use tokio::time::Instant;
use uuid::Uuid;
use worker::NewBackup;

use crate::harness::{Client, ImageLinks, Site, TestApp, files, log_in, pictures};

async fn back_up(app: &TestApp, dir: &Path) -> NewBackup {
    worker::back_up(&app.job_context(), dir, &|_| ()).await.expect("a backup")
}

async fn run(app: &TestApp, statement: &'static str) {
    sqlx::query(statement).execute(&app.pool).await.expect(statement);
}

/// What clients upload, request and delete at a time, until they are told to stop.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// The bytes of each image that was ever uploaded, by its number.
    uploaded: Mutex<HashMap<i64, Vec<u8>>>,
    deleted: Mutex<Vec<i64>>,
}

impl Load {
    async fn run(&self, admin: &Client, client: u32) {
        let mut side = client * 100;
        while !self.stop.load(Ordering::Relaxed) {
            side += 1;
            let bytes = pictures::jpeg(200 + side % 100, 210 + client);
            let image = admin.uploaded(&format!("{client}-{side}.jpg"), bytes.clone()).await;
            let pk = image["pk"].as_i64().expect("a number");
            self.uploaded.lock().expect("uploads").insert(pk, bytes);
            let wait: &[_] = if side.is_multiple_of(2) { &[("prefer", "wait=30")] } else { &[] };
            admin.get_with(image.thumbnail(200), wait).await;
            if side.is_multiple_of(3) {
                admin.delete(&format!("/api/images/{pk}")).await.expect(StatusCode::NO_CONTENT);
                self.deleted.lock().expect("deletions").push(pk);
            }
        }
    }

    fn counts(&self) -> (usize, usize) {
        let deleted = self.deleted.lock().expect("deletions").len();
        (self.uploaded.lock().expect("uploads").len(), deleted)
    }
}

/// Every image that the API lists.
async fn listed(admin: &Client) -> Vec<Value> {
    let mut images: Vec<Value> = Vec::new();
    loop {
        let path = match images.last() {
            None => "/api/images?limit=200".to_owned(),
            Some(last) => format!("/api/images?limit=200&cursor={}", last["pk"]),
        };
        let page = admin.get(&path).await.expect(StatusCode::OK).json();
        let page = page.as_array().expect("images").clone();
        if page.is_empty() {
            return images;
        }
        images.extend(page);
    }
}

#[tokio::test]
async fn a_backup_under_load_restores_to_an_installation_that_lacks_nothing() {
    let site = Site::migrated().await;
    let mut api = site.pictier(&["api"]).env("UPLOADS_PER_MINUTE", "100000").start();
    let admin = log_in(&mut api).await;
    let workers = [(); 2].map(|()| site.pictier(&["worker"]).start());
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (load, admin) = (load.clone(), admin.clone());
            tokio::spawn(async move { load.run(&admin, client).await })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_mins(1);
    while load.counts().0 < 60 {
        assert!(Instant::now() < deadline, "only {:?}", load.counts());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let backups = tempfile::tempdir().expect("a folder");
    let dir = backups.path().to_str().expect("text").to_owned();
    // each starts with what the one before has
    for _ in 0..3 {
        let before = load.counts();
        let backup = site.pictier(&["backup", &dir]);
        let (code, said) =
            tokio::task::spawn_blocking(|| crate::harness::ended(backup)).await.expect("a backup");
        assert_eq!(code, Some(0), "{said}");
        let after = load.counts();
        assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client");
    }
    for process in workers.into_iter().chain([api]) {
        assert!(process.stop().await.success());
    }

    let restored = Site::new().await;
    let (code, said) = restored.run(&["restore", &dir]);
    assert_eq!(code, Some(0), "{said}");
    let images = restored.count("SELECT count(*) FROM images").await;
    assert!(images > 0 && said.contains("digests recorded                         0"), "{said}");
    for check in ["verify", "audit"] {
        let (code, said) = restored.run(&[check]);
        assert_eq!(code, Some(0), "{said}");
    }
    serves_everything(&restored, &load, images).await;
}

/// Every image that is listed has the bytes that were uploaded, and its thumbnail is made if it is
/// not there.
async fn serves_everything(site: &Site, load: &Load, images: i64) {
    let mut everything = site.pictier(&[]).start();
    let admin = log_in(&mut everything).await;
    let listed = listed(&admin).await;
    assert_eq!(i64::try_from(listed.len()).expect("a count"), images);
    let uploaded = load.uploaded.lock().expect("uploads").clone();
    let (admin, uploaded) = (&admin, &uploaded);
    let requests = listed.iter().map(|image| async move {
        let original = admin.get(image.original()).await.expect(StatusCode::OK).body;
        assert!(original == uploaded[&image["pk"].as_i64().expect("a number")], "{image}");
        let thumbnail = admin.get_with(image.thumbnail(200), &[("prefer", "wait=30")]).await;
        assert_eq!(pictures::size(&thumbnail.expect(StatusCode::OK).body).1, 200);
    });
    stream::iter(requests).buffer_unordered(8).collect::<Vec<()>>().await;
    let newest = listed.iter().filter_map(|image| image["pk"].as_i64()).max();
    let next = admin.uploaded("next.png", pictures::png(10, 10)).await;
    assert!(next["pk"].as_i64() > newest, "ids go on");
    assert!(everything.stop().await.success());
}

#[tokio::test]
async fn a_second_backup_copies_only_what_is_new_or_damaged() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    for side in [300, 310] {
        let image = client.uploaded("a.png", pictures::png(side, side)).await;
        client.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    }
    app.run_jobs().await;
    let dir = tempfile::tempdir().expect("a folder");
    let first = back_up(&app, dir.path()).await.report;
    assert!(first.is_clean() && (first.copied, first.kept) == (4, 0), "{first}");
    let second = back_up(&app, dir.path()).await.report;
    assert!(second.is_clean() && (second.copied, second.kept, second.bytes) == (0, 4, 0));

    client.uploaded("b.png", pictures::png(320, 320)).await;
    let copies = files(&dir.path().join("objects"));
    let mut bytes = fs::read(&copies[0]).expect("a copy");
    bytes[20] ^= 1;
    fs::write(&copies[0], bytes).expect("a damaged copy");
    fs::write(&copies[1], "x").expect("a cut copy");
    let third = back_up(&app, dir.path()).await.report;
    assert!(third.is_clean() && (third.copied, third.kept) == (3, 2), "{third}");
    assert_eq!(app.rows("backups").await, 0);
}

#[tokio::test]
async fn a_file_that_is_missing_or_damaged_is_reported_and_the_others_are_backed_up() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    for side in [300, 310, 320] {
        client.uploaded("a.png", pictures::png(side, side)).await;
    }
    let originals = files(&app.data_dir().join("media"));
    fs::remove_file(&originals[0]).expect("no file");
    let mut bytes = fs::read(&originals[1]).expect("a file");
    bytes[20] ^= 1;
    fs::write(&originals[1], bytes).expect("a changed file");
    let dir = tempfile::tempdir().expect("a folder");
    let backup = back_up(&app, dir.path()).await;
    assert!(!backup.report.is_clean());
    assert!(originals[0].ends_with(&backup.report.missing.examples[0]));
    assert!(originals[1].ends_with(&backup.report.damaged.examples[0]));
    assert_eq!(files(&dir.path().join("objects")).len(), 1);
    assert!(dir.path().join(backup.name).join("manifest.json").exists());
}

#[tokio::test]
async fn the_digest_of_a_file_without_one_is_in_the_backup() {
    let app = TestApp::start().await;
    app.user("Premium").await.uploaded("a.png", pictures::png(300, 300)).await;
    let digest = "SELECT encode(sha256, 'hex') FROM images";
    let digest: String = sqlx::query_scalar(digest).fetch_one(&app.pool).await.expect("a digest");
    run(&app, "UPDATE images SET sha256 = NULL").await;
    let dir = tempfile::tempdir().expect("a folder");
    let backup = back_up(&app, dir.path()).await;
    let list = fs::read_to_string(dir.path().join(backup.name).join("objects")).expect("a list");
    assert!(list.trim_end().ends_with(&digest), "{list}");
}

#[tokio::test]
async fn a_dump_shows_all_tables_as_they_were_when_it_began() {
    let app = TestApp::start().await;
    let mut lock = shared::postgres::begin(&app.pool).await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE thumbnails").execute(&mut *lock).await.expect("a lock");
    let dir = tempfile::tempdir().expect("a folder");
    let backing_up = async {
        let backup = back_up(&app, dir.path()).await;
        fs::read_to_string(dir.path().join(backup.name).join("admin_actions")).expect("actions")
    };
    let meanwhile = async {
        app.wait_until(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                AND wait_event_type = 'Lock' AND query LIKE 'COPY thumbnails%')",
        )
        .await;
        run(
            &app,
            "INSERT INTO admin_actions (at, actor_name, action, object_type, object_id, object_label)
                VALUES (now(), 'ada', 'create', 'tier', '7', 'later')",
        )
        .await;
        lock.rollback().await.expect("no lock");
    };
    let (actions, ()) = tokio::join!(backing_up, meanwhile);
    assert_eq!(actions.lines().count(), 1, "only the names of the columns: {actions}");
}

#[tokio::test]
async fn deletions_wait_for_a_backup_and_for_a_killed_one_ten_minutes() {
    let mut app = TestApp::start().await;
    let [orphan, unknown, interrupted] = foreign_files(&app).await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    db::backups::renew(&mut connection, Uuid::new_v4()).await.expect("a backup that was killed");
    worker::clean_up(&app.job_context()).await.expect("a first sighting");
    run(&app, "UPDATE orphans SET first_seen = now() - interval '9 days'").await;
    client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    let before = app.objects().await;
    app.start_worker().await;
    for age in [0, 9] {
        sqlx::query("UPDATE backups SET renewed_at = now() - make_interval(mins => $1)")
            .bind(age)
            .execute(&app.pool)
            .await
            .expect("an older backup");
        run(&app, "UPDATE apalis.jobs SET transient_failures = 0, run_at = now()").await;
        app.wait_until("SELECT bool_and(transient_failures > 0 AND attempts = 0) FROM apalis.jobs")
            .await;
        let cleaned_up = worker::clean_up(&app.job_context()).await.expect("a cleanup");
        assert_eq!((cleaned_up.orphans, cleaned_up.abandoned_uploads), (0, 0), "{age}");
        let unknown = vec![unknown.clone()];
        let refused = worker::delete_unknown_originals(&app.job_context(), unknown).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("a backup runs")));
        assert_eq!(app.objects().await, before, "{age}");
    }
    run(&app, "UPDATE backups SET renewed_at = now() - interval '10 minutes'").await;
    run(&app, "UPDATE apalis.jobs SET run_at = now()").await;
    app.stop_worker().await;
    let cleaned_up = worker::clean_up(&app.job_context()).await.expect("a cleanup");
    assert_eq!((cleaned_up.orphans, cleaned_up.abandoned_uploads), (1, 1));
    assert_eq!(app.objects().await, [unknown.to_string()], "{orphan} {interrupted}");
}

/// An old orphan, an original that the database does not know, and one of an upload that was
/// interrupted long ago.
async fn foreign_files(app: &TestApp) -> [StorageKey; 3] {
    let format = imaging::Format::Png;
    let keys = [
        StorageKey::thumbnail(ThumbnailId::random(), Attempt(1), format),
        StorageKey::original(OriginalId::random(), format),
        StorageKey::original(OriginalId::random(), format),
    ];
    for key in &keys {
        app.storage.put(key, "x".into()).await.expect("a file");
    }
    let mut connection = app.pool.acquire().await.expect("a connection");
    db::uploads::note(&mut connection, &keys[2]).await.expect("a note");
    run(app, "UPDATE uploads_under_way SET started_at = now() - interval '9 days'").await;
    keys
}

#[tokio::test]
async fn a_job_that_waits_for_a_backup_says_nothing_in_the_log() {
    let site = Site::migrated().await;
    let mut connection = site.pool.acquire().await.expect("a connection");
    db::backups::renew(&mut connection, Uuid::new_v4()).await.expect("a backup");
    let keys = vec![StorageKey::original(OriginalId::random(), imaging::Format::Png).to_string()];
    jobs::enqueue(&mut connection, JobId::fresh(), &DeleteObjects { keys }).await.expect("a job");
    let worker = site.pictier(&["worker"]).start();
    let waits = "SELECT bool_and(transient_failures > 1) FROM apalis.jobs";
    crate::harness::wait_until(&site.pool, waits).await;
    let said = worker.said();
    assert!(!said.iter().any(|line| line.contains("a backup runs")), "{said:#?}");
    site.execute("DELETE FROM backups; UPDATE apalis.jobs SET run_at = now()").await;
    let done = "SELECT bool_and(status = 'Done') FROM apalis.jobs";
    crate::harness::wait_until(&site.pool, done).await;
    assert!(worker.stop().await.success());
}

#[tokio::test]
async fn a_running_backup_renews_its_row_and_a_killed_one_is_not_taken_for_a_whole_one() {
    let site = Site::used().await;
    // the dump waits for the last of its tables
    let mut lock = shared::postgres::begin(&site.pool).await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE admin_actions").execute(&mut *lock).await.expect("a lock");
    let backups = tempfile::tempdir().expect("a folder");
    let dir = backups.path().to_str().expect("text");
    let backup = site.pictier(&["backup", dir]).start();
    let deadline = Instant::now() + Duration::from_mins(3);
    let renewed = "SELECT count(*) FROM backups b, pg_stat_activity a
        WHERE a.application_name = 'pictier command' AND a.datname = current_database()
          AND a.wait_event_type = 'Lock' AND b.renewed_at > a.xact_start + interval '50 seconds'";
    while site.count(renewed).await == 0 {
        assert!(Instant::now() < deadline, "it was not renewed: {:#?}", backup.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    backup.kill();
    lock.rollback().await.expect("no lock");
    assert_eq!(site.count("SELECT count(*) FROM backups").await, 1);
    let (code, said) = Site::new().await.run(&["restore", dir]);
    assert!(code == Some(1) && said.contains("has no whole backup"), "{said}");

    let (code, said) = site.run(&["backup", dir]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.count("SELECT count(*) FROM backups").await, 1, "the killed one is not void");
    site.execute("UPDATE backups SET renewed_at = now() - interval '10 minutes'").await;
    let (code, said) = site.run(&["backup", dir]);
    assert!(
        code == Some(0) && said.contains("files that were there                    5"),
        "{said}"
    );
    assert_eq!(site.count("SELECT count(*) FROM backups").await, 0);
}
