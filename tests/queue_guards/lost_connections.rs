//! A worker that loses its connections goes on, and no job loses an attempt.

use super::*;

#[tokio::test]
async fn a_worker_survives_the_loss_of_all_its_connections() {
    let pool = pool().await;
    let worker = ProbeWorker::start(&pool, LIMIT, |_: Probe| async { Ok(()) });
    enqueue(&pool, 0).await;
    wait_until(&pool, "SELECT bool_and(status = 'Done') FROM apalis.jobs").await;
    for number in 1..=3 {
        let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(lost).execute(&pool).await.expect("lost connections");
        enqueue(&pool, number).await;
        wait_until(&pool, "SELECT bool_and(status = 'Done') FROM apalis.jobs").await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_request_that_waits_hears_of_the_end_after_a_lost_connection() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
    let url = image.thumbnail(200).to_owned();
    let nobody = app.anonymous();
    let waiting =
        tokio::spawn(async move { nobody.get_with(&url, &[("prefer", "wait=30")]).await });
    wait_until(&app.pool, "SELECT count(*) = 1 FROM apalis.jobs").await;
    // the one that listens: a request whose own connection is lost is told to come back
    let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    sqlx::query(lost).execute(&app.pool).await.expect("lost connections");
    app.run_jobs().await;
    waiting.await.expect("an answer").expect(StatusCode::OK);
}

#[tokio::test]
async fn a_worker_that_lost_all_its_connections_costs_its_job_no_attempt() {
    let pool = pool().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let (release, count) = (Arc::new(Semaphore::new(0)), runs.clone());
    let held = release.clone();
    let worker = ProbeWorker::start(&pool, LIMIT, move |_: Probe| {
        let held = held.clone();
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            held.acquire().await.expect("a release").forget();
            Ok(())
        }
    });
    enqueue(&pool, 0).await;
    wait_until(&pool, "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Queued')").await;
    for run in 2..=4 {
        // each poll fails until the worker ends and another is started
        let lost = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while runs.load(Ordering::SeqCst) < run {
            let _ = sqlx::query(lost).execute(&pool).await;
            sqlx::query("ALTER TABLE apalis.workers RENAME TO away")
                .execute(&pool)
                .await
                .expect("a table that is away");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            sqlx::query("ALTER TABLE apalis.away RENAME TO workers")
                .execute(&pool)
                .await
                .expect("a table");
            tokio::time::sleep(Duration::from_millis(2500)).await;
        }
    }
    release.add_permits(10);
    wait_until(
        &pool,
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status = 'Done' AND attempts = 1)",
    )
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_whose_connections_were_lost_without_a_sign_is_started_again() {
    let database = fresh_database().await;
    let proxy = Proxy::start(&database).await;
    let through = postgres::connect_for_queue(proxy.options(&database), 10).await.expect("a pool");
    let worker = ProbeWorker::start(&through, LIMIT, |_: Probe| async { Ok(()) });
    let direct = postgres::connect(database, 3).await.expect("a pool");
    enqueue(&direct, 0).await;
    wait_until(&direct, "SELECT bool_and(status = 'Done') FROM apalis.jobs").await;
    // in the middle of a statement: the server's answer never comes
    let mut lock = postgres::begin(&direct).await.expect("a transaction");
    sqlx::query("LOCK TABLE apalis.jobs").execute(&mut *lock).await.expect("a lock");
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%get_jobs%')";
    wait_until(&direct, waiting).await;
    proxy.silence();
    lock.rollback().await.expect("a rollback");
    enqueue(&direct, 1).await;
    wait_until(&direct, "SELECT bool_and(status = 'Done') FROM apalis.jobs").await;
    worker.stop().await;
}
