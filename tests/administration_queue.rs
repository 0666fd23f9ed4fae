//! What administrators do to the jobs of the queue.

use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    db::admin::jobs::{self, JobState},
    domain::ImageId,
    jobs::{Job, JobId},
    postgres,
};
use sqlx::{PgPool, postgres::PgListener};
use tokio_util::sync::CancellationToken;
use worker::queue::{JobError, Queues};

use crate::harness::{ImageLinks, TestApp, pictures};

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.expect(statement);
}

async fn text(pool: &PgPool, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(pool).await.expect(query)
}

/// An image whose thumbnail somebody asked for; its link, and the job.
async fn asked_for(app: &TestApp) -> (String, String) {
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.thumbnail(200).to_owned();
    app.anonymous().get(&url).await.expect(StatusCode::ACCEPTED);
    (url, text(&app.pool, "SELECT job_id FROM thumbnails WHERE state = 'pending'").await)
}

async fn die(pool: &PgPool) {
    run(pool, "UPDATE apalis.jobs SET status = 'Running', attempts = 5").await;
    run(
        pool,
        "UPDATE apalis.jobs SET status = 'Failed', done_at = now(), last_result = '{\"Err\": \"no space\"}'",
    )
    .await;
}

#[tokio::test]
async fn a_thumbnail_whose_job_was_given_up_is_made_after_all_when_it_is_retried() {
    let mut app = TestApp::start().await;
    let (url, job) = asked_for(&app).await;
    die(&app.pool).await;
    app.anonymous().get(&url).await.expect_problem(422, "thumbnail-failed");
    let mut tx = postgres::begin(&app.pool).await.expect("a transaction");
    let dead =
        jobs::page(&mut tx, JobState::Dead, Some("thumbnails"), None, 50).await.expect("a page");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].id.as_str(), dead[0].reason.as_deref()), (job.as_str(), Some("no space")));
    assert_eq!(dead[0].image, Some(ImageId(1)));
    assert!((app.clock.now() - dead[0].created_at).num_seconds() < 60);

    let mut listener = PgListener::connect_with(&app.pool).await.expect("a connection");
    listener.listen_all(["apalis::job::insert", "thumbnail_finished"]).await.expect("a listener");
    let retried =
        jobs::retry(&mut tx, std::slice::from_ref(&job), app.clock.now()).await.expect("a job");
    assert_eq!(
        retried.iter().map(|job| (job.id.as_str(), job.queue.as_str())).collect::<Vec<_>>(),
        [(job.as_str(), "thumbnails")]
    );
    tx.commit().await.expect("a commit");
    assert_eq!(app.open_jobs().await, 1);
    app.anonymous().get(&url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    app.anonymous().get(&url).await.expect(StatusCode::OK);
    // a worker that runs hears of the job, and pages of the thumbnail whose owner they show
    let woken = listener.recv().await.expect("a notification");
    let woken: Value = serde_json::from_str(woken.payload()).expect("JSON");
    assert_eq!((&woken["job_type"], &woken["id"]), (&json!("thumbnails"), &json!(job)));
    let finished = listener.recv().await.expect("a notification");
    let finished: Value = serde_json::from_str(finished.payload()).expect("JSON");
    assert_eq!((&finished["state"], &finished["owner"]), (&json!("ready"), &json!(1)));
}

#[tokio::test]
async fn a_failed_job_that_is_retried_is_due_at_once_and_keeps_its_attempts() {
    let mut app = TestApp::start().await;
    let (url, job) = asked_for(&app).await;
    run(&app.pool, "UPDATE apalis.jobs SET status = 'Failed', attempts = 2").await;
    let mut tx = postgres::begin(&app.pool).await.expect("a transaction");
    let failed = jobs::page(&mut tx, JobState::Failed, None, None, 50).await.expect("a page");
    assert!(failed[0].run_at > app.clock.now());
    assert!(
        jobs::retry_all(&mut tx, JobState::Dead, None, 9, app.clock.now())
            .await
            .expect("jobs")
            .is_empty()
    );
    let retried =
        jobs::retry_all(&mut tx, JobState::Failed, Some("thumbnails"), 9, app.clock.now()).await;
    assert_eq!(retried.expect("jobs")[0].id, job);
    tx.commit().await.expect("a commit");
    app.run_jobs().await;
    app.anonymous().get(&url).await.expect(StatusCode::OK);
    assert_eq!(text(&app.pool, "SELECT attempts::text FROM apalis.jobs").await, "3");
}

#[tokio::test]
async fn a_job_that_is_discarded_releases_its_thumbnail_and_one_that_runs_is_kept() {
    let mut app = TestApp::start().await;
    let (url, job) = asked_for(&app).await;
    let ids = [job];
    let mut connection = app.pool.acquire().await.expect("a connection");
    for status in ["Queued", "Running"] {
        let hold = sqlx::query("UPDATE apalis.jobs SET status = $1").bind(status);
        hold.execute(&app.pool).await.expect("a held job");
        assert!(jobs::discard(&mut connection, &ids).await.expect("a query").is_empty());
        assert!(
            jobs::retry(&mut connection, &ids, app.clock.now()).await.expect("a query").is_empty()
        );
        assert_eq!(
            jobs::page(&mut connection, JobState::Running, None, None, 9)
                .await
                .expect("jobs")
                .len(),
            1
        );
    }
    run(&app.pool, "UPDATE apalis.jobs SET status = 'Pending'").await;
    assert_eq!(jobs::discard(&mut connection, &ids).await.expect("a query").len(), 1);
    assert_eq!(app.rows("apalis.jobs").await, 0);
    assert_eq!(text(&app.pool, "SELECT state FROM thumbnails").await, "absent");
    app.anonymous().get(&url).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    app.anonymous().get(&url).await.expect(StatusCode::OK);
}

#[derive(Serialize, Deserialize)]
struct Hopeless {}

impl Job for Hopeless {
    const QUEUE: &'static str = "hopeless";
    const MAX_ATTEMPTS: i32 = 1;
}

#[tokio::test]
async fn a_dead_job_says_why_in_plain_words_and_queues_count_by_state() {
    let app = TestApp::start().await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    shared::jobs::enqueue(&mut connection, JobId::fresh(), &Hopeless {}).await.expect("a job");
    let stop = CancellationToken::new();
    let pool = postgres::connect_for_queue(app.database.clone(), 5).await.expect("a pool");
    let queues = Queues::new(pool, Duration::from_secs(1), stop.clone());
    let queues = queues.handle(1, Duration::from_secs(5), |_: Hopeless, _| async {
        Err(JobError::Failed("the disk is full".to_owned()))
    });
    let running = tokio::spawn(queues.run(stop.clone()));
    app.wait_for_jobs().await;
    stop.cancel();
    running.await.expect("a queue").expect("a queue that stops");
    let dead = jobs::page(&mut connection, JobState::Dead, None, None, 9).await.expect("a page");
    assert_eq!(dead[0].reason.as_deref(), Some("the disk is full"));
    assert_eq!((dead[0].payload.as_str(), dead[0].image), ("{}", None));
    assert!(dead[0].worker.is_some() && dead[0].ended_at.is_some());
    let below = jobs::page(&mut connection, JobState::Dead, None, Some(&dead[0].id), 9)
        .await
        .expect("a page");
    assert!(below.is_empty());

    let insert = "INSERT INTO apalis.jobs (id, job_type, job, status, attempts, run_at, done_at, metadata)
        SELECT n::text, 'counted', '{}', status, 1, now() - interval '2 minutes', ended, ''
        FROM (VALUES (1, 'Pending', NULL), (2, 'Queued', NULL), (3, 'Failed', now() - interval '2 hours'),
                     (4, 'Done', now()), (5, 'Done', now() - interval '30 minutes'), (6, 'Killed', now()))
             AS t (n, status, ended)";
    run(&app.pool, insert).await;
    let figures = jobs::figures(&mut connection, &["empty", "counted"]).await.expect("figures");
    assert_eq!((figures[0].queue.as_str(), figures[0].waiting, figures[0].dead), ("empty", 0, 0));
    assert_eq!(figures[0].oldest_waiting_seconds, None);
    let counted = &figures[1];
    assert_eq!((counted.waiting, counted.running, counted.failed, counted.dead), (1, 1, 1, 1));
    assert_eq!(
        (counted.done_last_minute, counted.done_last_hour, counted.failed_last_hour),
        (1, 2, 1)
    );
    assert!(counted.oldest_waiting_seconds.is_some_and(|age| (120..240).contains(&age)));
    run(&app.pool, "DELETE FROM apalis.jobs").await;
}
