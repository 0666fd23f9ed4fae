//! The cleanup deletes what has expired and nothing else, and the audit finds what is wrong.

use std::{fs, time::Duration};

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;
use shared::{
    db,
    domain::{Attempt, OriginalId, ThumbnailId},
    jobs::{self, CleanUp, JobId},
    storage::StorageKey,
};
use worker::CleanedUp;

use crate::{
    audit::audit,
    harness::{ImageLinks, TestApp, pictures},
};

async fn clean_up(app: &TestApp) -> CleanedUp {
    worker::clean_up(&app.job_context()).await.expect("a cleanup")
}

#[tokio::test]
async fn no_cleanup_that_a_test_did_not_ask_for_starts_at_a_full_hour() {
    let app = TestApp::start().await;
    let schedule = &app.config.worker.schedules.cleanup_schedule;
    let now = app.clock.now();
    let tick = schedule.after(&now).next().expect("a tick, without which a worker would end");
    assert!(tick > now + TimeDelta::days(365), "{tick}");
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
    client
        .post(generator, json!({"valid_for": 3600}))
        .await
        .expect_problem(409, "too-many-expiring-links");
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
    client.get(image.thumbnail(200)).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    // the queue keeps the time of the database
    let age = |interval: &'static str| {
        sqlx::query("UPDATE apalis.jobs SET done_at = now() - $1::text::interval")
            .bind(interval)
            .execute(&app.pool)
    };
    age("23 hours").await.expect("an older job");
    assert_eq!(clean_up(&app).await.jobs, 0);
    sqlx::query("UPDATE apalis.jobs SET status = 'Killed'")
        .execute(&app.pool)
        .await
        .expect("a dead job");
    age("13 days").await.expect("an older job");
    assert_eq!(clean_up(&app).await.jobs, 0);
    age("15 days").await.expect("an older job");
    assert_eq!(clean_up(&app).await.jobs, 1);
}

/// Makes every sighting of an orphan, and every note of an upload, so much older.
async fn age_notes(app: &TestApp, interval: &'static str) {
    for statement in [
        "UPDATE orphans SET first_seen = first_seen - $1::text::interval",
        "UPDATE uploads_under_way SET started_at = started_at - $1::text::interval",
    ] {
        sqlx::query(statement).bind(interval).execute(&app.pool).await.expect(statement);
    }
}

#[tokio::test]
async fn a_thumbnails_file_without_a_row_is_deleted_after_two_sightings_a_day_apart() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.thumbnail(200);
    client.get(url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    let (id, attempt) = app.only_ready_thumbnail().await;
    let of_lost_claim = StorageKey::thumbnail(id, Attempt(attempt.0 + 1), imaging::Format::Png);
    let of_nobody = StorageKey::thumbnail(ThumbnailId::random(), Attempt(1), imaging::Format::Jpeg);
    for key in [&of_lost_claim, &of_nobody] {
        app.storage.put(key, "x".into()).await.expect("an orphan");
    }
    assert_eq!(clean_up(&app).await.orphans, 0, "the first sighting");
    age_notes(&app, "23 hours").await;
    // a clock that is ahead deletes nothing: sightings are in the database's time
    app.clock.advance(Duration::from_hours(48));
    assert_eq!(clean_up(&app).await.orphans, 0);
    age_notes(&app, "1 hour").await;
    assert_eq!(clean_up(&app).await.orphans, 2);
    assert_eq!(app.objects().await.len(), 2, "the original and the thumbnail");
    assert_eq!(app.rows("orphans").await, 0);
    client.get(url).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn an_orphan_that_is_gone_is_forgotten() {
    let app = TestApp::start().await;
    let key = StorageKey::thumbnail(ThumbnailId::random(), Attempt(1), imaging::Format::Jpeg);
    app.storage.put(&key, "x".into()).await.expect("an orphan");
    clean_up(&app).await;
    age_notes(&app, "25 hours").await;
    app.storage.delete(vec![key.clone()]).await.expect("a deletion");
    clean_up(&app).await;
    assert_eq!(app.rows("orphans").await, 0);
    app.storage.put(&key, "x".into()).await.expect("an orphan");
    assert_eq!(clean_up(&app).await.orphans, 0, "a sighting long ago does not count");
}

#[tokio::test]
async fn no_configuration_makes_orphans_younger_than_an_hour() {
    let mut app = TestApp::start().await;
    app.config.retention.orphan_age_seconds = 0;
    let key = StorageKey::thumbnail(ThumbnailId::random(), Attempt(1), imaging::Format::Jpeg);
    app.storage.put(&key, "x".into()).await.expect("an orphan");
    for _ in 0..3 {
        assert_eq!(clean_up(&app).await.orphans, 0);
    }
    age_notes(&app, "61 minutes").await;
    assert_eq!(clean_up(&app).await.orphans, 1);
}

#[tokio::test]
async fn an_original_is_deleted_only_if_its_upload_was_noted_and_interrupted() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let [interrupted, unknown] =
        [(); 2].map(|()| StorageKey::original(OriginalId::random(), imaging::Format::Jpeg));
    for key in [&interrupted, &unknown] {
        app.storage.put(key, "x".into()).await.expect("an original");
    }
    db::uploads::note(&mut app.pool.acquire().await.expect("a connection"), &interrupted)
        .await
        .expect("a note");
    app.clock.advance(Duration::from_hours(1000));
    age_notes(&app, "23 hours").await;
    assert_eq!(clean_up(&app).await.abandoned_uploads, 0, "the upload may be under way");
    let listed = worker::unknown_originals(&app.job_context()).await.expect("a listing");
    assert_eq!(listed, std::slice::from_ref(&unknown), "one that is under way is not listed");
    age_notes(&app, "2 hours").await;
    let cleaned_up = clean_up(&app).await;
    assert_eq!((cleaned_up.abandoned_uploads, cleaned_up.orphans), (1, 0));
    assert_eq!(app.rows("uploads_under_way").await, 0);
    assert_eq!(audit(&app).await.objects_without_row.examples, [unknown.to_string()]);

    assert_eq!(
        worker::delete_unknown_originals(&app.job_context(), vec![unknown])
            .await
            .expect("a deletion"),
        1
    );
    client.get(image.original()).await.expect(StatusCode::OK);
    assert!(audit(&app).await.is_clean());
}

#[tokio::test]
async fn an_upload_that_the_cleanup_gave_up_is_not_committed() {
    let app = TestApp::start().await;
    let client = app.user("Premium").await;
    // the moment after the object was stored: the cleanup takes the note away before the row is
    // inserted
    for statement in [
        "CREATE FUNCTION take_note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN DELETE FROM uploads_under_way; RETURN NEW; END $$",
        "CREATE TRIGGER take_note BEFORE INSERT ON images FOR EACH ROW EXECUTE FUNCTION take_note()",
    ] {
        sqlx::query(statement).execute(&app.pool).await.expect(statement);
    }
    client.upload("a.png", pictures::png(10, 10)).await.expect_problem(408, "request-timeout");
    assert_eq!(app.rows("images").await, 0);
}

#[tokio::test]
async fn an_upload_leaves_no_note() {
    let app = TestApp::start_with(|config| config.limits.upload_max_bytes = 1 << 20).await;
    let client = app.user("Basic").await;
    client.uploaded("a.png", pictures::png(10, 10)).await;
    app.change_tier("Basic", |tier| tier.storage_quota_bytes = 1.try_into().expect("a byte")).await;
    client.upload("b.png", pictures::png(10, 10)).await.expect_problem(507, "over-quota");
    assert_eq!(app.rows("uploads_under_way").await, 0);
    assert_eq!(app.objects().await.len(), 1);
}

#[tokio::test]
async fn temporary_files_are_deleted_after_an_hour_by_the_file_systems_clock() {
    let app = TestApp::start().await;
    // as earlier versions named uploads under way
    fs::write(app.data_dir().join("tmp/upload-x"), "half").expect("a file");
    let staged = app.data_dir().join("media/originals/3f");
    fs::create_dir_all(&staged).expect("a folder");
    fs::write(staged.join("x.jpg#1"), "half").expect("a file");
    app.clock.advance(Duration::from_hours(1000));
    assert_eq!(clean_up(&app).await.temp_files, 0);
    assert_eq!(audit(&app).await.temp_files.count, 0);
    for path in app.temp_files().await {
        let file = fs::File::options().write(true).open(path).expect("a file");
        let modified = file.metadata().expect("metadata").modified().expect("a time");
        file.set_modified(modified - Duration::from_mins(61)).expect("an older file");
    }
    assert_eq!(audit(&app).await.temp_files.count, 2);
    assert_eq!(clean_up(&app).await.temp_files, 2);
    assert!(audit(&app).await.is_clean());
}

#[tokio::test]
async fn thumbnails_that_no_job_will_make_are_failed_or_set_free() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    for name in ["200 px high", "400 px high"] {
        client
            .get(image["file_urls"][name].as_str().expect("a link"))
            .await
            .expect(StatusCode::ACCEPTED);
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
async fn the_cleanup_is_a_job_as_well() {
    let mut app = TestApp::start().await;
    app.user("Basic").await;
    app.clock.advance(Duration::from_hours(15 * 24));
    let mut connection = app.pool.acquire().await.expect("a connection");
    jobs::enqueue(&mut connection, JobId::fresh(), &CleanUp { tick: 0 }).await.expect("a job");
    app.run_jobs().await;
    assert_eq!(app.rows("sessions").await, 0);
}
