//! The guards around the queue, each on a job of its own.

mod lost_connections;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use shared::{
    jobs::{self, Job, JobId, QUEUES},
    postgres,
};
use sqlx::PgPool;
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use worker::queue::{JobError, Queues};

use crate::harness::{ImageLinks, Proxy, TestApp, fresh_database, pictures, wait_until};

#[derive(Serialize, Deserialize)]
struct Probe {
    number: usize,
}

impl Job for Probe {
    const QUEUE: &'static str = "probe";
    const MAX_ATTEMPTS: i32 = 2;
}

const LIMIT: Duration = Duration::from_secs(20);

/// A worker for probes.
struct ProbeWorker {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl ProbeWorker {
    fn start<H, F>(pool: &PgPool, limit: Duration, handler: H) -> Self
    where
        H: Fn(Probe) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        Self::start_many(pool, 1, limit, handler)
    }

    fn start_many<H, F>(pool: &PgPool, concurrency: usize, limit: Duration, handler: H) -> Self
    where
        H: Fn(Probe) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let queues = Queues::new(pool.clone(), Duration::from_secs(1), stop.clone()).handle(
            concurrency,
            limit,
            move |probe, _| handler(probe),
        );
        let running = queues.run(stop.clone());
        let running = tokio::spawn(async move { running.await.expect("a queue that goes on") });
        Self { stop, running }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("a queue that stops");
    }
}

async fn pool() -> PgPool {
    postgres::connect_for_queue(fresh_database().await, 10).await.expect("a pool")
}

async fn enqueue(pool: &PgPool, number: usize) {
    let mut tx = postgres::begin(pool).await.expect("a transaction");
    jobs::enqueue(&mut tx, JobId::fresh(), &Probe { number }).await.expect("a job");
    tx.commit().await.expect("a commit");
}

#[tokio::test]
async fn a_job_that_panics_is_tried_again_later_and_given_up_at_last() {
    let pool = pool().await;
    let worker = ProbeWorker::start(&pool, LIMIT, |probe: Probe| async move {
        if probe.number == 0 { panic!("the job's own fault") } else { Ok(()) }
    });
    enqueue(&pool, 0).await;
    // failed for now: due again after a delay that the database keeps
    let failed_once =
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Failed' AND attempts = 1
        AND run_at > now() AND last_result::text LIKE '%the job''s own fault%')";
    wait_until(&pool, failed_once).await;
    enqueue(&pool, 1).await;
    wait_until(&pool, "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Done')").await;

    sqlx::query("UPDATE apalis.jobs SET run_at = now() WHERE status = 'Failed'")
        .execute(&pool)
        .await
        .expect("no delay");
    wait_until(
        &pool,
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Failed' AND attempts = 2)",
    )
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_takes_too_long_fails_and_frees_its_worker() {
    let pool = pool().await;
    let worker = ProbeWorker::start(&pool, Duration::from_millis(200), |probe: Probe| async move {
        if probe.number == 0 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    enqueue(&pool, 0).await;
    enqueue(&pool, 1).await;
    let ended = "SELECT count(*) = 2 FROM apalis.jobs WHERE status = 'Done'
        OR (status = 'Failed' AND last_result::text LIKE '%took longer than%')";
    wait_until(&pool, ended).await;
    worker.stop().await;
}

#[tokio::test]
async fn the_delay_before_another_try_doubles() {
    let pool = pool().await;
    enqueue(&pool, 0).await;
    for attempts in 1..=8 {
        let fail = "UPDATE apalis.jobs SET status = 'Running', max_attempts = 20";
        sqlx::query(fail).execute(&pool).await.expect("a running job");
        let fail = "UPDATE apalis.jobs SET status = 'Failed', attempts = $1, done_at = now()
            RETURNING extract(epoch FROM run_at - now())::float8";
        let delay: f64 =
            sqlx::query_scalar(fail).bind(attempts).fetch_one(&pool).await.expect("a failed job");
        let expected = 2_f64.powi(attempts).min(300.0);
        assert!(
            (expected * 0.74..=expected * 1.26).contains(&delay),
            "{delay} s after {attempts} attempts"
        );
    }
}

#[tokio::test]
async fn the_job_of_a_worker_that_died_goes_to_another() {
    let pool = pool().await;
    enqueue(&pool, 7).await;
    die_holding_the_job(&pool, 0).await;
    let worker = ProbeWorker::start(&pool, LIMIT, |probe: Probe| async move {
        assert_eq!(probe.number, 7);
        Ok(())
    });
    wait_until(
        &pool,
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Done' AND attempts = 2)",
    )
    .await;
    worker.stop().await;
}

/// The state of the database after a worker was killed in the middle of its only job.
async fn die_holding_the_job(pool: &PgPool, attempts: i32) {
    let died = "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen)
        SELECT 'dead', job_type, 'PgStorage', '', now() FROM apalis.jobs";
    sqlx::query(died).execute(pool).await.expect("a dead worker");
    for statement in [
        "ALTER TABLE apalis.workers DISABLE TRIGGER USER",
        "UPDATE apalis.workers SET last_seen = now() - interval '1 hour' WHERE id = 'dead'",
        "ALTER TABLE apalis.workers ENABLE TRIGGER USER",
    ] {
        sqlx::query(statement).execute(pool).await.expect(statement);
    }
    let held = "UPDATE apalis.jobs SET status = 'Queued', lock_by = 'dead', lock_at = now(), attempts = $1";
    sqlx::query(held).bind(attempts).execute(pool).await.expect("a held job");
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_stopped_and_its_thumbnail_failed() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.thumbnail(200);
    client.get(url).await.expect(StatusCode::ACCEPTED);
    die_holding_the_job(&app.pool, 4).await;
    let waiting = {
        let (client, url) = (client.clone(), url.to_owned());
        tokio::spawn(async move { client.get_with(&url, &[("prefer", "wait=30")]).await })
    };
    app.start_worker().await;
    // waiting requests are told at once
    let problem = waiting.await.expect("an answer").expect_problem(422, "thumbnail-failed");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("again and again")),
        "{problem}"
    );
    app.stop_worker().await;
    let killed = "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Killed' AND attempts = 5)";
    wait_until(&app.pool, killed).await;
}

#[tokio::test]
async fn a_busy_worker_leaves_the_other_jobs_to_others() {
    let pool = pool().await;
    let release = Arc::new(Semaphore::new(0));
    let held = release.clone();
    // all are there when it looks for the first
    for number in 0..=5 {
        enqueue(&pool, number).await;
    }
    let busy = ProbeWorker::start(&pool, LIMIT, move |_: Probe| {
        let held = held.clone();
        async move {
            held.acquire().await.expect("a release").forget();
            Ok(())
        }
    });
    wait_until(&pool, "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Queued')").await;
    let free = ProbeWorker::start(&pool, LIMIT, |_: Probe| async { Ok(()) });
    // apalis fetches one ahead of the one that runs, and no more
    wait_until(&pool, "SELECT count(*) >= 4 FROM apalis.jobs WHERE status = 'Done'").await;
    release.add_permits(6);
    wait_until(&pool, "SELECT count(*) = 6 FROM apalis.jobs WHERE status = 'Done'").await;
    busy.stop().await;
    free.stop().await;
}

#[tokio::test]
async fn each_start_of_a_worker_has_a_name_of_its_own() {
    let pool = pool().await;
    for _ in 0..2 {
        let worker = ProbeWorker::start(&pool, LIMIT, |_: Probe| async { Ok(()) });
        enqueue(&pool, 0).await;
        wait_until(&pool, "SELECT bool_and(status = 'Done') FROM apalis.jobs").await;
        worker.stop().await;
    }
    wait_until(&pool, "SELECT count(DISTINCT id) = 2 FROM apalis.workers").await;
}

#[tokio::test]
async fn a_worker_serves_every_queue() {
    let mut app = TestApp::start().await;
    app.start_worker().await;
    let served = "SELECT array_agg(DISTINCT worker_type ORDER BY worker_type) FROM apalis.workers";
    let mut expected = QUEUES.map(str::to_owned).to_vec();
    expected.sort();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found: Option<Vec<String>> =
            sqlx::query_scalar(served).fetch_one(&app.pool).await.expect("queues");
        if found.as_ref() == Some(&expected) {
            break;
        }
        assert!(Instant::now() < deadline, "{found:?} are served, {expected:?} are listed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.stop_worker().await;
}

#[tokio::test]
async fn new_jobs_are_heard_of_and_not_waited_for() {
    let pool = pool().await;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let worker = ProbeWorker::start(&pool, LIMIT, move |_: Probe| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    });
    let started = Instant::now();
    for number in 1..=40 {
        enqueue(&pool, number).await;
        while handled.load(Ordering::SeqCst) < number {
            // looking every two seconds alone takes half a minute
            assert!(
                started.elapsed() < Duration::from_secs(12),
                "only {number} jobs were heard of"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_all_jobs_that_run_and_records_their_ends() {
    const JOBS: usize = 8;
    let pool = pool().await;
    let release = Arc::new(Semaphore::new(0));
    // a job that is claimed and has not started would go back to its queue
    let started = Arc::new(Semaphore::new(0));
    let (held, starts) = (release.clone(), started.clone());
    let worker = ProbeWorker::start_many(&pool, JOBS, LIMIT, move |_: Probe| {
        let (held, starts) = (held.clone(), starts.clone());
        async move {
            starts.add_permits(1);
            held.acquire().await.expect("a release").forget();
            Ok(())
        }
    });
    for number in 0..JOBS {
        enqueue(&pool, number).await;
    }
    let all_run = started.acquire_many(u32::try_from(JOBS).expect("few jobs"));
    let all_run = tokio::time::timeout(LIMIT, all_run).await.expect("jobs that start in time");
    all_run.expect("an open semaphore").forget();
    worker.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    release.add_permits(JOBS);
    tokio::time::timeout(Duration::from_secs(10), worker.running)
        .await
        .expect("a stop as soon as the jobs have ended")
        .expect("a queue that stops");
    wait_until(
        &pool,
        "SELECT count(*) = 8 FROM apalis.jobs WHERE status = 'Done' AND attempts = 1",
    )
    .await;
}

#[tokio::test]
async fn a_job_that_does_not_end_before_the_stop_goes_back_to_its_queue_and_costs_no_attempt() {
    let pool = pool().await;
    let worker = ProbeWorker::start(&pool, Duration::from_mins(5), |_: Probe| {
        std::future::pending::<Result<(), JobError>>()
    });
    enqueue(&pool, 0).await;
    wait_until(&pool, "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Queued')").await;
    worker.stop().await;
    wait_until(
        &pool,
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Pending' AND attempts = 0)",
    )
    .await;
}
