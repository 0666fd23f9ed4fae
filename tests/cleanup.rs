//! The cleanup deletes what has expired and nothing else, and the audit finds what is wrong.

use std::{fs, time::Duration};

use reqwest::StatusCode;
use serde_json::json;
use shared::{
    domain::{OriginalId, ThumbnailId},
    jobs::{self, CleanUp, JobId},
    storage::StorageKey,
};
use worker::{AuditReport, CleanedUp, Context};

use crate::harness::{TestApp, pictures};

fn context(app: &TestApp) -> Context {
    let (pool, storage) = (app.pool.clone(), app.storage.clone());
    Context { pool, storage, clock: app.clock.clone(), retention: app.retention }
}

async fn clean_up(app: &TestApp) -> CleanedUp {
    worker::clean_up(&context(app)).await.expect("a cleanup")
}

async fn audit(app: &TestApp) -> AuditReport {
    worker::audit(&context(app)).await.expect("an audit")
}

#[tokio::test]
async fn expired_links_are_deleted_in_batches_and_live_ones_stay() {
    let app = TestApp::start().await;
    let client = app.user("Enterprise").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let insert = "INSERT INTO expiring_links (id, image_id, valid_for, created_at, expires_at)
        SELECT gen_random_uuid(), images.id, 300, now(), now() + interval '300 seconds'
        FROM images, generate_series(1, 2500)";
    sqlx::query(insert).execute(&app.pool).await.expect("links");
    let generator = image["expiring_link_generator"].as_str().expect("a link");
    client.post(generator, json!({"valid_for": 3600})).await.expect_problem(409, "too-many-expiring-links");
    assert_eq!(clean_up(&app).await.links, 0);
    app.clock.advance(Duration::from_secs(301));
    client.post(generator, json!({"valid_for": 3600})).await.expect(StatusCode::CREATED);
    assert_eq!(clean_up(&app).await.links, 2500);
    assert_eq!(app.rows("expiring_links").await, 1);
}

#[tokio::test]
async fn expired_sessions_and_ended_counters_are_deleted() {
    let app = TestApp::start().await;
    app.user("Basic").await;
    app.anonymous().log_in("eve", "wrong").await.expect_problem(401, "wrong-credentials");
    let before = clean_up(&app).await;
    assert_eq!((before.sessions, before.rate_limits), (0, 0));
    app.clock.advance(Duration::from_hours(15 * 24));
    let after = clean_up(&app).await;
    assert_eq!((after.sessions, after.rate_limits), (1, 2));
}

#[tokio::test]
async fn ended_jobs_are_deleted_after_a_day_and_dead_ones_after_two_weeks() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    client
        .get(image["file_urls"]["200 px high"].as_str().expect("a link"))
        .await
        .expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    // the queue keeps the time of the database
    let age = |interval: &'static str| {
        sqlx::query("UPDATE apalis.jobs SET done_at = now() - $1::text::interval")
            .bind(interval)
            .execute(&app.pool)
    };
    age("23 hours").await.expect("an older job");
    assert_eq!(clean_up(&app).await.jobs, 0);
    sqlx::query("UPDATE apalis.jobs SET status = 'Killed'").execute(&app.pool).await.expect("a dead job");
    age("13 days").await.expect("an older job");
    assert_eq!(clean_up(&app).await.jobs, 0);
    age("15 days").await.expect("an older job");
    assert_eq!(clean_up(&app).await.jobs, 1);
}

#[tokio::test]
async fn orphaned_files_are_deleted_after_a_day_and_files_with_rows_stay() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    for key in [
        StorageKey::original(OriginalId::random(), imaging::Format::Jpeg),
        StorageKey::thumbnail(ThumbnailId::random(), imaging::Format::Png),
    ] {
        app.storage.put(&key, "x".into()).await.expect("an orphan");
    }
    assert_eq!(clean_up(&app).await.orphans, 0, "an upload may be under way");
    assert_eq!(audit(&app).await.objects_without_row.count, 0);
    app.clock.advance(Duration::from_hours(25));
    assert_eq!(audit(&app).await.objects_without_row.count, 2);
    assert_eq!(clean_up(&app).await.orphans, 2);
    assert_eq!(app.objects().await.len(), 1);
    client.get(image["file_urls"]["original"].as_str().expect("a link")).await.expect(StatusCode::OK);
    assert!(audit(&app).await.is_clean());
}

#[tokio::test]
async fn temporary_files_are_deleted_after_an_hour() {
    let app = TestApp::start().await;
    let spooled = app.storage.spool().expect("an upload under way");
    let staged = app.data_dir().join("media/originals/3f");
    fs::create_dir_all(&staged).expect("a folder");
    fs::write(staged.join("x.jpg#1"), "half").expect("a file");
    assert_eq!(clean_up(&app).await.temp_files, 0);
    assert_eq!(audit(&app).await.temp_files.count, 0);
    app.clock.advance(Duration::from_mins(61));
    assert_eq!(audit(&app).await.temp_files.count, 2);
    assert_eq!(clean_up(&app).await.temp_files, 2);
    drop(spooled);
    assert!(audit(&app).await.is_clean());
}

#[tokio::test]
async fn thumbnails_that_no_job_will_make_are_failed_or_set_free() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    for name in ["200 px high", "400 px high"] {
        client.get(image["file_urls"][name].as_str().expect("a link")).await.expect(StatusCode::ACCEPTED);
    }
    // as if the queue's trigger had not been there, and as if a job had been deleted by hand
    for statement in [
        "ALTER TABLE apalis.jobs DISABLE TRIGGER USER",
        "UPDATE apalis.jobs SET status = 'Killed' WHERE id = (SELECT job_id FROM thumbnails WHERE height = 200)",
        "DELETE FROM apalis.jobs WHERE id = (SELECT job_id FROM thumbnails WHERE height = 400)",
        "ALTER TABLE apalis.jobs ENABLE TRIGGER USER",
    ] {
        sqlx::query(statement).execute(&app.pool).await.expect(statement);
    }
    assert_eq!(audit(&app).await.jobless_thumbnails.count, 2);
    let cleaned_up = clean_up(&app).await;
    assert_eq!((cleaned_up.failed_thumbnails, cleaned_up.released_thumbnails), (1, 1));
    assert!(audit(&app).await.is_clean());
    let url = |name: &str| image["file_urls"][name].as_str().expect("a link");
    client.get(url("200 px high")).await.expect_problem(422, "thumbnail-failed");
    client.get(url("400 px high")).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    client.get(url("400 px high")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn the_audit_finds_missing_files_stuck_jobs_and_wrong_counts() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    assert!(audit(&app).await.is_clean());
    let key = StorageKey::parse(&app.objects().await[0]).expect("a key");
    app.storage.delete(vec![key.clone()]).await.expect("a lost file");
    sqlx::query("UPDATE users SET used_bytes = used_bytes + 1")
        .execute(&app.pool)
        .await
        .expect("a wrong count");
    client
        .get(image["file_urls"]["200 px high"].as_str().expect("a link"))
        .await
        .expect(StatusCode::ACCEPTED);
    sqlx::query("UPDATE apalis.jobs SET run_at = now() - interval '1 hour'")
        .execute(&app.pool)
        .await
        .expect("a late job");

    let report = audit(&app).await;
    assert!(!report.is_clean());
    assert_eq!(report.rows_without_object.examples, [key.to_string()]);
    assert_eq!(report.stuck_jobs.count, 1);
    assert_eq!(report.miscounted_users.count, 1);
    let text = report.to_string();
    assert!(text.contains("rows without object"), "{text}");
    assert!(text.contains(&key.to_string()), "{text}");
    app.run_jobs().await;
}

#[tokio::test]
async fn the_cleanup_is_a_job_as_well() {
    let mut app = TestApp::start().await;
    app.user("Basic").await;
    app.clock.advance(Duration::from_hours(15 * 24));
    let mut connection = app.pool.acquire().await.expect("a connection");
    jobs::enqueue(&mut connection, JobId::fresh(), &CleanUp { tick: 0 }).await.expect("a job");
    app.run_jobs().await;
    assert_eq!(app.rows("sessions").await, 0);
}
