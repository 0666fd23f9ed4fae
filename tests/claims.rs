//! What a worker claims, it makes alone, and a claim that was lost changes nothing.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::{
    db::{
        self,
        claims::{Claim, MadeFile},
    },
    domain::FileDigest,
    jobs::JobId,
    postgres,
    storage::StorageKey,
};
use sqlx::PgConnection;

use crate::harness::{ImageLinks, TestApp, pictures, send};

/// An image whose thumbnails somebody asked for, from the lowest height on; the jobs.
async fn asked_for(app: &TestApp, tier: &str) -> (Value, Vec<String>) {
    let image = app.user(tier).await.uploaded("a.png", pictures::png(600, 600)).await;
    for (name, url) in image["file_urls"].as_object().expect("links") {
        if name != "original" {
            app.anonymous().get(url.as_str().expect("a link")).await.expect(StatusCode::ACCEPTED);
        }
    }
    let jobs =
        sqlx::query_scalar("SELECT job_id FROM thumbnails ORDER BY height").fetch_all(&app.pool);
    (image, jobs.await.expect("jobs"))
}

/// Takes the job that is due first, as a worker of this name does.
async fn fetch(connection: &mut PgConnection, worker: &str) -> Option<String> {
    let register =
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers) VALUES ($1, 'thumbnails', '', '')
        ON CONFLICT DO NOTHING";
    sqlx::query(register).bind(worker).execute(&mut *connection).await.expect("a worker");
    let fetched =
        sqlx::query_scalar("SELECT id FROM apalis.get_jobs($1, 'thumbnails', 10)").bind(worker);
    fetched.fetch_optional(connection).await.expect("a fetch")
}

async fn claim(app: &TestApp, job: &str, worker: &str) -> Vec<Claim> {
    let id = JobId::of_task(&job.parse().expect("a task's id")).expect("a ULID");
    let mut connection = app.pool.acquire().await.expect("a connection");
    let claimed = db::claims::claim(&mut connection, id, worker).await.expect("a claim");
    claimed.map(|assignment| assignment.thumbnails).unwrap_or_default()
}

fn heights(claims: &[Claim]) -> Vec<u32> {
    claims.iter().map(|claim| claim.height.px()).collect()
}

#[tokio::test]
async fn a_claim_leaves_the_thumbnail_whose_job_another_worker_is_just_fetching() {
    let mut app = TestApp::start().await;
    let (_, jobs) = asked_for(&app, "Premium").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    assert_eq!(fetch(&mut connection, "a").await.as_ref(), Some(&jobs[0]));
    let mut fetching = postgres::begin(&app.pool).await.expect("a transaction");
    assert_eq!(fetch(&mut fetching, "b").await.as_ref(), Some(&jobs[1]));
    // the row of b's job still looks as if nobody had it
    assert_eq!(heights(&claim(&app, &jobs[0], "a").await), [200]);
    fetching.commit().await.expect("a commit");
    assert_eq!(heights(&claim(&app, &jobs[1], "b").await), [400]);
    db::queue::release(&mut connection, "a").await.expect("released jobs");
    sqlx::query("UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL")
        .execute(&mut *connection)
        .await
        .expect("waiting jobs");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_claim_takes_the_images_other_waiting_thumbnails_along() {
    let mut app = TestApp::start().await;
    let (_, jobs) = asked_for(&app, "Premium").await;
    fetch(&mut app.pool.acquire().await.expect("a connection"), "a").await;
    assert_eq!(heights(&claim(&app, &jobs[0], "a").await), [200, 400]);
    fetch(&mut app.pool.acquire().await.expect("a connection"), "b").await;
    assert_eq!(heights(&claim(&app, &jobs[1], "b").await), [0; 0], "its thumbnail is taken");
    sqlx::query("UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL")
        .execute(&app.pool)
        .await
        .expect("waiting jobs");
    app.run_jobs().await;
    let made = sqlx::query_scalar::<_, i32>("SELECT attempt FROM thumbnails ORDER BY height")
        .fetch_all(&app.pool);
    assert_eq!(made.await.expect("attempts"), [2, 2]);
}

#[tokio::test]
async fn a_worker_that_lost_its_job_claims_nothing_and_its_claim_changes_nothing() {
    let mut app = TestApp::start().await;
    let (image, jobs) = asked_for(&app, "Basic").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    fetch(&mut connection, "a").await;
    let lost = claim(&app, &jobs[0], "a").await.remove(0);
    // as another worker does once a has been silent for too long
    sqlx::query(
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, attempts = attempts + 1",
    )
    .execute(&mut *connection)
    .await
    .expect("a job that is free again");
    fetch(&mut connection, "b").await;
    assert!(claim(&app, &jobs[0], "a").await.is_empty(), "b holds the job");

    let current = claim(&app, &jobs[0], "b").await.remove(0);
    assert_ne!(lost.target, current.target, "each attempt writes an object of its own");
    let digest = FileDigest([0; 32]);
    let (file, now) = (MadeFile { width: 1, height: 1, bytes: 1, digest }, app.clock.now());
    assert!(!db::claims::mark_ready(&mut connection, &lost, file, now).await.expect("an update"));
    assert!(
        !db::claims::mark_failed(&mut connection, &lost, "damaged", now).await.expect("an update")
    );
    db::queue::release(&mut connection, "b").await.expect("no job of a process b");
    sqlx::query("UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL")
        .execute(&mut *connection)
        .await
        .expect("a waiting job");
    app.run_jobs().await;
    let url = image.thumbnail(200);
    app.anonymous().get(url).await.expect(StatusCode::OK);
}

/// The model of a thumbnail's life found this: `done_means_nothing_pending`.
#[tokio::test]
async fn an_earlier_run_of_the_same_worker_does_not_end_the_job_of_a_later_one() {
    let mut app = TestApp::start().await;
    let (_, jobs) = asked_for(&app, "Basic").await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    fetch(&mut connection, "a").await;
    // a was silent for too long, and is back before another worker takes the job
    let reenqueue =
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, attempts = attempts + 1";
    sqlx::query(reenqueue).execute(&mut *connection).await.expect("a job that is free again");
    assert!(claim(&app, &jobs[0], "a").await.is_empty(), "nobody holds the job");
    assert_eq!(fetch(&mut connection, "a").await.as_ref(), Some(&jobs[0]));

    // the earlier run had nothing to do
    acknowledge(&mut connection, &jobs[0], "a").await;
    assert_eq!(status(&mut connection, &jobs[0]).await, "Queued");
    let current = claim(&app, &jobs[0], "a").await.remove(0);
    let digest = FileDigest([0; 32]);
    let (file, now) = (MadeFile { width: 1, height: 1, bytes: 1, digest }, app.clock.now());
    assert!(db::claims::mark_ready(&mut connection, &current, file, now).await.expect("an update"));
    acknowledge(&mut connection, &jobs[0], "a").await;
    assert_eq!(status(&mut connection, &jobs[0]).await, "Done");
    app.storage.put(&current.target, "x".into()).await.expect("an object");
    app.run_jobs().await;
}

/// Acknowledges a job that succeeded, as apalis does for a worker of this name.
async fn acknowledge(connection: &mut PgConnection, job: &str, worker: &str) {
    let acknowledge = "UPDATE apalis.jobs
        SET status = 'Done', attempts = attempts + 1, last_result = '{\"Ok\": null}', done_at = now()
        WHERE id = $1 AND lock_by = $2";
    let acknowledge = sqlx::query(acknowledge).bind(job).bind(worker);
    acknowledge.execute(connection).await.expect("an acknowledgement");
}

async fn status(connection: &mut PgConnection, job: &str) -> String {
    let status = sqlx::query_scalar("SELECT status FROM apalis.jobs WHERE id = $1").bind(job);
    status.fetch_one(connection).await.expect("a job")
}

/// The model of a thumbnail's life found this: `deletion_locks_rows`.
#[tokio::test]
async fn a_deletion_names_the_attempt_that_a_worker_is_just_claiming() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(600, 600)).await;
    let url = image["file_urls"]["200 px high"].as_str().expect("a link");
    client.get(url).await.expect(StatusCode::ACCEPTED);
    let mut connection = app.pool.acquire().await.expect("a connection");
    let job = fetch(&mut connection, "a").await.expect("a job");
    let job = JobId::of_task(&job.parse().expect("a task's id")).expect("a ULID");
    let mut claiming = postgres::begin(&app.pool).await.expect("a transaction");
    let claimed = db::claims::claim(&mut claiming, job, "a").await.expect("a claim");
    let path = format!("/api/images/{}", image["pk"]);
    let deletion = tokio::spawn(send(client.request(Method::DELETE, &path)));
    app.wait_until(
        "SELECT count(*) = 1 FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
    claiming.commit().await.expect("a commit");
    deletion.await.expect("an answer").expect(StatusCode::NO_CONTENT);

    // the worker is killed once its object is written
    let target = &claimed.expect("an assignment").thumbnails[0].target;
    app.storage.put(target, "x".into()).await.expect("an object");
    sqlx::query("UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL WHERE lock_by = 'a'")
        .execute(&mut *connection)
        .await
        .expect("a waiting job");
    app.run_jobs().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
}

/// A thumbnail that is ready, and its link.
async fn made(app: &mut TestApp) -> String {
    let (image, _) = asked_for(app, "Basic").await;
    app.run_jobs().await;
    image.thumbnail(200).to_owned()
}

#[tokio::test]
async fn the_length_of_an_original_is_that_of_its_object_whatever_the_row_says() {
    let app = TestApp::start().await;
    let image = app.user("Premium").await.uploaded("a.png", pictures::png(60, 60)).await;
    let url = image.original();
    sqlx::query("UPDATE images SET bytes = bytes + 1000")
        .execute(&app.pool)
        .await
        .expect("a wrong size");
    let nobody = app.anonymous();
    let answer = nobody.get(url).await.expect(StatusCode::OK);
    assert_eq!(answer.body, pictures::png(60, 60));
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let end =
        nobody.get_with(url, &[("range", "bytes=-10")]).await.expect(StatusCode::PARTIAL_CONTENT);
    assert_eq!(end.body, answer.body[answer.body.len() - 10..]);
    let beyond = format!("bytes={}-", answer.body.len());
    nobody.get_with(url, &[("range", &beyond)]).await.expect_problem(416, "range-not-satisfiable");
}

#[tokio::test]
async fn a_ready_thumbnail_of_another_size_than_its_row_says_is_made_again() {
    let mut app = TestApp::start().await;
    let url = made(&mut app).await;
    let nobody = app.anonymous();
    let before = nobody.get(&url).await.expect(StatusCode::OK).body;
    app.start_worker().await;
    for headers in [&[("prefer", "wait=30")][..], &[("prefer", "wait=30"), ("range", "bytes=0-")]] {
        let (id, attempt) = app.only_ready_thumbnail().await;
        let key = StorageKey::thumbnail(id, attempt, imaging::Format::Png);
        app.storage.put(&key, before[..100].to_vec().into()).await.expect("a cut file");
        let answer = nobody.get_with(&url, headers).await;
        assert!(answer.status.is_success());
        assert_eq!(answer.body, before);
    }
    app.stop_worker().await;
}

#[tokio::test]
async fn a_ready_thumbnail_without_its_object_is_made_again() {
    let mut app = TestApp::start().await;
    let url = made(&mut app).await;
    let nobody = app.anonymous();
    let before = nobody.get(&url).await.expect(StatusCode::OK);
    let key = app
        .objects()
        .await
        .into_iter()
        .find(|key| key.starts_with("thumbnails/"))
        .expect("a thumbnail");
    app.storage.delete(vec![StorageKey::parse(&key).expect("a key")]).await.expect("a lost file");
    nobody.get(&url).await.expect(StatusCode::ACCEPTED);
    app.start_worker().await;
    let after = nobody.get_with(&url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    assert_eq!(after.body, before.body);
    assert_ne!(after.header("etag"), before.header("etag"), "another object");

    // a client that waits gets it in one request
    let key = app
        .objects()
        .await
        .into_iter()
        .find(|key| key.starts_with("thumbnails/"))
        .expect("a thumbnail");
    app.storage.delete(vec![StorageKey::parse(&key).expect("a key")]).await.expect("a lost file");
    nobody.get_with(&url, &[("prefer", "wait=30")]).await.expect(StatusCode::OK);
    app.stop_worker().await;
}

#[tokio::test]
async fn a_deletion_names_every_attempt() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.thumbnail(200);
    client.get(url).await.expect(StatusCode::ACCEPTED);
    sqlx::query("UPDATE thumbnails SET attempt = 2")
        .execute(&app.pool)
        .await
        .expect("earlier attempts");
    app.run_jobs().await;
    let (id, attempt) = app.only_ready_thumbnail().await;
    assert_eq!(attempt.0, 3);
    for left in attempt.up_to_this() {
        let key = StorageKey::thumbnail(id, left, imaging::Format::Png);
        app.storage.put(&key, "left by a killed worker".into()).await.expect("an object");
    }
    client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    app.run_jobs().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_fetch_reads_one_job_of_a_long_backlog() {
    let app = TestApp::start().await;
    let backlog = "INSERT INTO apalis.jobs (id, job_type, job, metadata, run_at)
        SELECT 'job' || n, 'thumbnails', '{}', '', now() - interval '1 hour' + n * interval '1 millisecond'
        FROM generate_series(1, 200000) AS n";
    sqlx::query(backlog).execute(&app.pool).await.expect("a backlog");
    sqlx::query("ANALYZE apalis.jobs").execute(&app.pool).await.expect("statistics");
    let mut tx = postgres::begin(&app.pool).await.expect("a transaction");
    assert_eq!(fetch(&mut tx, "a").await.as_deref(), Some("job1"));
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
        WHERE schemaname = 'apalis' AND relname = 'jobs'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&mut *tx).await.expect("a count");
    assert!(read <= 10, "the fetch of one job read {read} rows");
    tx.rollback().await.expect("a rollback");
    sqlx::query("TRUNCATE apalis.jobs").execute(&app.pool).await.expect("no backlog");
}
