//! Trouble that may pass costs no attempt, and no thumbnail fails for it within a day.

use std::{fs, time::Duration};

use reqwest::StatusCode;
use serde_json::Value;
use shared::storage::StorageKey;
use tokio::time::Instant;
use worker::queue::{JobError, Trouble};

use crate::harness::{TestApp, pictures};

fn url<'a>(image: &'a Value, name: &str) -> &'a str {
    image["file_urls"][name].as_str().expect("a link")
}

async fn run(app: &TestApp, statement: &'static str) {
    sqlx::query(statement).execute(&app.pool).await.expect(statement);
}

/// Fails the job with this error as apalis acknowledges it; how long until the job is due, in
/// seconds.
async fn fail(app: &TestApp, error: &str) -> f64 {
    run(app, "UPDATE apalis.jobs SET status = 'Queued'").await;
    let fail = "UPDATE apalis.jobs
        SET status = 'Failed', attempts = attempts + 1, done_at = clock_timestamp(),
            last_result = jsonb_build_object('Err', $1::text)
        RETURNING extract(epoch FROM run_at - now())::float8";
    sqlx::query_scalar(fail).bind(error).fetch_one(&app.pool).await.expect("a failed job")
}

/// Lets failed jobs be due at once until the query says so.
async fn retry_at_once_until(app: &TestApp, condition: &'static str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !sqlx::query_scalar::<_, bool>(condition).fetch_one(&app.pool).await.expect("a query") {
        assert!(Instant::now() < deadline, "not within a minute: {condition}");
        run(app, "UPDATE apalis.jobs SET run_at = now() WHERE status = 'Failed'").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_storage_that_is_away_for_long_fails_no_thumbnail() {
    let mut app = TestApp::start().await;
    let client = app.user("Premium").await;
    let image = client.uploaded("a.png", pictures::png(600, 600)).await;
    let (media, away) = (app.data_dir().join("media"), app.data_dir().join("away"));
    fs::rename(&media, &away).expect("a storage that is away");
    for name in ["200 px high", "400 px high"] {
        client.get(url(&image, name)).await.expect(StatusCode::ACCEPTED);
    }
    app.start_worker().await;
    // more failures than a job has attempts
    retry_at_once_until(&app, "SELECT bool_or(transient_failures >= 7) FROM apalis.jobs").await;
    app.wait_until("SELECT bool_and(attempts = 0 OR status = 'Done') FROM apalis.jobs").await;
    app.wait_until("SELECT bool_and(state = 'pending') FROM thumbnails").await;
    fs::rename(&away, &media).expect("a storage that is back");
    retry_at_once_until(&app, "SELECT bool_and(status = 'Done') FROM apalis.jobs").await;
    app.stop_worker().await;
    for name in ["200 px high", "400 px high"] {
        client.get(url(&image, name)).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_transient_failure_is_due_again_within_a_minute_and_costs_no_attempt() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
    app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
    for failures in 1..=20 {
        let delay = fail(&app, "transient: storage: it is away").await;
        let expected = 2_f64.powi(failures).min(60.0);
        assert!(
            (expected * 0.74..=expected * 1.26).contains(&delay),
            "{delay} s after {failures} failures"
        );
    }
    let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM apalis.jobs")
        .fetch_one(&app.pool)
        .await
        .expect("a job");
    assert_eq!(attempts, 0);
    run(&app, "UPDATE apalis.jobs SET run_at = now()").await;
    app.run_jobs().await;
    app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_day_after_its_request_a_thumbnail_fails_with_the_reason_and_is_retried_by_it() {
    let too_large = JobError::from(Trouble::TooLittleMemory { needed_mib: 9000, machine_mib: 512 });
    let needs = "The picture needs 9000 MiB of memory, and this worker's machine has 512 MiB.";
    for (error, reason) in [
        (too_large.to_string().as_str(), needs),
        ("transient: storage: it is away", "The storage could not be reached for 24 hours."),
        ("transient: original: x is missing from the storage", "The original file is missing"),
        ("transient: time: took longer than 120 s", "could not be made within 24 hours"),
    ] {
        let mut app = TestApp::start().await;
        let image = app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
        app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
        run(&app, "UPDATE apalis.jobs SET created_at = now() - interval '23 hours'").await;
        fail(&app, error).await;
        app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
        run(&app, "UPDATE apalis.jobs SET created_at = now() - interval '25 hours'").await;
        fail(&app, error).await;
        let failed = app.anonymous().get(url(&image, "200 px high")).await;
        let problem = failed.expect_problem(422, "thumbnail-failed");
        let told = problem["detail"].as_str().expect("a reason").to_owned();
        assert!(told.contains(reason), "{told}");

        let context = app.job_context();
        assert_eq!(
            worker::retry_failed(&context, Some("another reason")).await.expect("a retry"),
            0
        );
        assert_eq!(worker::retry_failed(&context, Some(&told)).await.expect("a retry"), 1);
        app.run_jobs().await;
        app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn an_administrator_retries_the_thumbnails_that_failed_for_one_reason() {
    let mut app = TestApp::start().await;
    let admin = app.admin().await;
    let mut links = Vec::new();
    for _ in 0..3 {
        let image = admin.uploaded("a.png", pictures::png(10, 10)).await;
        links.push(url(&image, "200 px high").to_owned());
    }
    run(
        &app,
        "UPDATE thumbnails SET state = 'failed', failure_reason = 'It <b>broke</b>.' WHERE height = 200",
    )
    .await;
    run(&app, "UPDATE thumbnails SET failure_reason = 'It is another.' WHERE image_id = 3 AND height = 200")
        .await;
    let page = admin.page("/admin/jobs").await;
    page.expect_page(
        StatusCode::OK,
        &["Failed thumbnails by reason", "It &#60;b&#62;broke", "It is another."],
    );
    let form = [("reason", "It <b>broke</b>.")];
    admin.send_form("/admin/thumbnails/retry", &form).await.expect_redirect("/admin/jobs");
    let page = admin.page("/admin/jobs").await;
    page.expect_page(StatusCode::OK, &["2 thumbnails will be retried now.", "It is another."]);
    app.run_jobs().await;
    for link in &links[..2] {
        app.anonymous().get(link).await.expect(StatusCode::OK);
    }
    app.anonymous().get(&links[2]).await.expect_problem(422, "thumbnail-failed");
    let history = admin.page("/admin/history").await;
    history.expect_page(StatusCode::OK, &["thumbnails", "It &#60;b&#62;broke"]);
}

#[tokio::test]
async fn only_administrators_retry_thumbnails_by_reason() {
    let app = TestApp::start().await;
    let client = app.user("Basic").await;
    let answer = client.send_form("/admin/thumbnails/retry", &[("reason", "x")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn deletions_are_never_given_up() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    client.delete(&format!("/api/images/{}", image["pk"])).await.expect(StatusCode::NO_CONTENT);
    run(&app, "UPDATE apalis.jobs SET created_at = now() - interval '90 days'").await;
    fail(&app, "transient: storage: it is away").await;
    assert_eq!(app.open_jobs().await, 1);
    run(&app, "UPDATE apalis.jobs SET run_at = now()").await;
    app.run_jobs().await;
    assert_eq!(app.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_original_that_is_gone_is_looked_for_again() {
    let mut app = TestApp::start().await;
    let client = app.user("Basic").await;
    let image = client.uploaded("a.png", pictures::png(10, 10)).await;
    let key = StorageKey::parse(&app.objects().await[0]).expect("a key");
    let bytes =
        app.storage.get(&key, None).await.expect("a look").expect("an object").bytes().await;
    app.storage.delete(vec![key.clone()]).await.expect("a lost file");
    client.get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
    app.start_worker().await;
    app.wait_until(
        "SELECT coalesce(last_result ->> 'Err' LIKE 'transient: original: %', false) FROM apalis.jobs",
    )
    .await;
    app.storage.put(&key, bytes.expect("bytes")).await.expect("a file from the backup");
    run(&app, "UPDATE apalis.jobs SET run_at = now()").await;
    app.stop_worker().await;
    client.get(url(&image, "200 px high")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_process_that_turns_out_to_live_gets_its_jobs_attempts_back() {
    let app = TestApp::start().await;
    let register = "INSERT INTO apalis.workers (id, worker_type, storage_name, layers)
        VALUES ('host-p-thumbnails-0', 'thumbnails', '', ''), ('host-q-thumbnails-0', 'thumbnails', '', '')";
    run(&app, register).await;
    let jobs =
        "INSERT INTO apalis.jobs (id, job_type, job, metadata, status, lock_by, attempts, lost_by)
        VALUES ('lost', 'thumbnails', '{}', '', 'Queued', 'host-p-thumbnails-0', 1, NULL),
               ('held', 'thumbnails', '{}', '', 'Queued', 'host-p-thumbnails-0', 1, NULL),
               ('other', 'thumbnails', '{}', '', 'Queued', 'host-q-thumbnails-0', 1, NULL)";
    run(&app, jobs).await;
    // what apalis does once a worker has been silent for too long
    run(&app, "UPDATE apalis.jobs SET status = 'Pending', attempts = attempts + 1, lock_by = NULL WHERE id = 'lost'").await;
    let state = || async {
        let state = "SELECT string_agg(id || ' ' || status || ' ' || attempts, ', ' ORDER BY id) FROM apalis.jobs";
        sqlx::query_scalar::<_, String>(state).fetch_one(&app.pool).await.expect("jobs")
    };
    assert_eq!(state().await, "held Queued 1, lost Pending 2, other Queued 1");
    let restart = "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen)
        VALUES ('host-p-thumbnails-1', 'thumbnails', '', '', now() - interval '2 hours')";
    run(&app, restart).await;
    assert_eq!(state().await, "held Pending 1, lost Pending 1, other Queued 1");
    let is_now = "SELECT last_seen > now() - interval '1 minute' FROM apalis.workers WHERE id = 'host-p-thumbnails-1'";
    app.wait_until(is_now).await;
    run(&app, "DELETE FROM apalis.jobs").await;
}

#[tokio::test]
async fn jobs_are_due_by_the_databases_clock() {
    let mut app = TestApp::start().await;
    let image = app.user("Basic").await.uploaded("a.png", pictures::png(10, 10)).await;
    // the clock of the API is hours ahead
    app.clock.advance(Duration::from_hours(2));
    app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::ACCEPTED);
    app.wait_until("SELECT run_at <= now() FROM apalis.jobs").await;
    app.run_jobs().await;
    app.anonymous().get(url(&image, "200 px high")).await.expect(StatusCode::OK);
}
