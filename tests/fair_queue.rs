//! The queue is fair: one account cannot hold up another, and too long a backlog is refused.

mod model;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use serde_json::Value;
use shared::{
    db,
    domain::ThumbnailId,
    jobs::{self, Flow, JobId},
};
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Client, ImageLinks, TestApp, fresh_database, pictures};

/// A database of users, from number 1 on, each with so many images that nobody has asked for yet.
async fn with_owners(owners: i64, images: usize) -> PgPool {
    let pool = PgPool::connect_with(fresh_database().await).await.expect("a pool");
    for statement in [
        "INSERT INTO tiers (id, name, thumbnail_heights, original_access, expiring_links, max_upload_bytes,
                            storage_quota_bytes, created_at)
         OVERRIDING SYSTEM VALUE VALUES (1001, 'Fair', '{200}', false, false, 1, 1, now())",
        "INSERT INTO users (id, username, password_hash, tier_id, created_at)
         OVERRIDING SYSTEM VALUE SELECT n, 'owner' || n, '', 1001, now() FROM generate_series(1, $1) AS n",
        "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
         SELECT owner, gen_random_uuid(), 'a', 'png', 300, 300, 1, now()
         FROM generate_series(1, $1) AS owner, generate_series(1, $2)",
        "INSERT INTO thumbnails (id, image_id, height) SELECT gen_random_uuid(), id, 200 FROM images",
    ] {
        let insert = sqlx::query(statement);
        let insert = if statement.contains("$1") { insert.bind(owners) } else { insert };
        let images = i64::try_from(images).expect("a count");
        let insert = if statement.contains("$2") { insert.bind(images) } else { insert };
        insert.execute(&pool).await.expect("owners and images");
    }
    pool
}

async fn thumbnails_of(connection: &mut PgConnection, owner: i64) -> Vec<ThumbnailId> {
    let ids = sqlx::query_scalar::<_, Uuid>(
        "SELECT th.id FROM thumbnails th JOIN images i ON i.id = th.image_id WHERE i.owner_id = $1 ORDER BY i.id",
    );
    let ids = ids.bind(owner).fetch_all(connection).await.expect("thumbnails");
    ids.into_iter().map(ThumbnailId).collect()
}

async fn request(connection: &mut PgConnection, thumbnail: ThumbnailId, flow: Flow) -> JobId {
    let job = JobId::fresh();
    let now = sqlx::query_scalar("SELECT now()").fetch_one(&mut *connection).await.expect("a time");
    assert!(db::thumbnails::request(connection, thumbnail, job, now).await.expect("a request"));
    jobs::enqueue_thumbnail(connection, job, thumbnail, flow).await.expect("a job");
    job
}

/// Takes the next job, as a worker does.
async fn claim(connection: &mut PgConnection) -> Option<String> {
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers)
         VALUES ('w', 'thumbnails', '', '') ON CONFLICT DO NOTHING",
    )
    .execute(&mut *connection)
    .await
    .expect("a worker");
    sqlx::query_scalar("SELECT id FROM apalis.get_jobs('w', 'thumbnails', 1)")
        .fetch_optional(connection)
        .await
        .expect("a claim")
}

/// The owner of the next job.
async fn claim_owner(connection: &mut PgConnection) -> i64 {
    let job = claim(connection).await.expect("a job");
    sqlx::query_scalar("SELECT flow_owner FROM apalis.jobs WHERE id = $1")
        .bind(job)
        .fetch_one(connection)
        .await
        .expect("an owner")
}

#[tokio::test]
async fn an_accounts_first_request_is_claimed_next_however_many_jobs_another_has() {
    let pool = with_owners(2, 300).await;
    let mut connection = pool.acquire().await.expect("a connection");
    for thumbnail in thumbnails_of(&mut connection, 1).await {
        request(&mut connection, thumbnail, Flow::WaitedFor).await;
    }
    for thumbnail in thumbnails_of(&mut connection, 2).await.into_iter().take(50) {
        request(&mut connection, thumbnail, Flow::WaitedFor).await;
        let mut before = 0;
        while claim_owner(&mut connection).await == 1 {
            before += 1;
        }
        assert!(before <= 1, "{before} jobs of the other account were claimed first");
        // workers are busy with the other account for a while
        for _ in 0..3 {
            assert_eq!(claim_owner(&mut connection).await, 1);
        }
    }
}

#[tokio::test]
async fn accounts_that_asked_while_no_worker_ran_take_turns() {
    let pool = with_owners(20, 15).await;
    let mut connection = pool.acquire().await.expect("a connection");
    for owner in 1..=20 {
        for thumbnail in thumbnails_of(&mut connection, owner).await {
            request(&mut connection, thumbnail, Flow::WaitedFor).await;
        }
    }
    let mut served = BTreeMap::<i64, u32>::new();
    for _ in 0..20 * 15 {
        *served.entry(claim_owner(&mut connection).await).or_default() += 1;
        let most = served.values().max().expect("a count");
        let least = (1..=20).map(|owner| served.get(&owner).copied().unwrap_or_default()).min();
        assert!(most - least.expect("a count") <= 1, "{served:?}");
    }
}

#[tokio::test]
async fn jobs_that_an_outage_made_fail_do_not_come_before_everybodys_new_ones() {
    let pool = with_owners(2, 40).await;
    let mut connection = pool.acquire().await.expect("a connection");
    for thumbnail in thumbnails_of(&mut connection, 1).await {
        request(&mut connection, thumbnail, Flow::WaitedFor).await;
        claim(&mut connection).await.expect("a job");
    }
    sqlx::query("UPDATE apalis.jobs SET status = 'Failed', done_at = now()")
        .execute(&mut *connection)
        .await
        .expect("an outage");
    sqlx::query("UPDATE apalis.jobs SET run_at = now()")
        .execute(&mut *connection)
        .await
        .expect("its end");
    let new = thumbnails_of(&mut connection, 2).await[0];
    request(&mut connection, new, Flow::WaitedFor).await;
    let mut before = 0;
    while claim_owner(&mut connection).await == 1 {
        before += 1;
    }
    assert!(before <= 1, "{before} jobs that had failed were claimed first");
}

#[tokio::test]
async fn thumbnails_that_nobody_waits_for_take_a_fifth_beside_those_that_somebody_does() {
    let pool = with_owners(1, 60).await;
    let mut connection = pool.acquire().await.expect("a connection");
    for (at, thumbnail) in thumbnails_of(&mut connection, 1).await.into_iter().enumerate() {
        let flow = if at < 30 { Flow::Prepared } else { Flow::WaitedFor };
        request(&mut connection, thumbnail, flow).await;
    }
    for _ in 0..25 {
        claim(&mut connection).await.expect("a job");
    }
    let prepared = "SELECT count(*) FROM apalis.jobs WHERE status = 'Queued' AND is_prepared";
    let prepared: i64 =
        sqlx::query_scalar(prepared).fetch_one(&mut *connection).await.expect("a count");
    assert_eq!(prepared, 5);
}

#[tokio::test]
async fn discarded_jobs_cost_their_account_nothing() {
    let pool = with_owners(2, 30).await;
    let mut connection = pool.acquire().await.expect("a connection");
    let (mut first, second) =
        (thumbnails_of(&mut connection, 1).await, thumbnails_of(&mut connection, 2).await);
    let last = first.pop().expect("a thumbnail");
    for thumbnail in first {
        request(&mut connection, thumbnail, Flow::WaitedFor).await;
    }
    let jobs: Vec<String> = sqlx::query_scalar("SELECT id FROM apalis.jobs")
        .fetch_all(&mut *connection)
        .await
        .expect("jobs");
    db::admin::jobs::discard(&mut connection, &jobs).await.expect("discarded jobs");
    for thumbnail in second {
        request(&mut connection, thumbnail, Flow::WaitedFor).await;
    }
    request(&mut connection, last, Flow::WaitedFor).await;
    let owners = [claim_owner(&mut connection).await, claim_owner(&mut connection).await];
    assert_eq!(owners, [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_at_the_same_time_never_turn_virtual_time_back() {
    let pool = with_owners(4, 60).await;
    let mut connection = pool.acquire().await.expect("a connection");
    for owner in 1..=4 {
        for thumbnail in thumbnails_of(&mut connection, owner).await {
            request(&mut connection, thumbnail, Flow::WaitedFor).await;
        }
    }
    let mut workers = JoinSet::new();
    for _ in 0..6 {
        let pool = pool.clone();
        workers.spawn(async move {
            let mut connection = pool.acquire().await.expect("a connection");
            let (mut claimed, mut time) = (Vec::new(), 0);
            while let Some(job) = claim(&mut connection).await {
                claimed.push(job);
                let now: i64 = sqlx::query_scalar("SELECT virtual_time()")
                    .fetch_one(&mut *connection)
                    .await
                    .expect("a time");
                assert!(now >= time, "virtual time went back from {time} to {now}");
                time = now;
            }
            claimed
        });
    }
    let claimed: Vec<String> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 4 * 60);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 4 * 60, "a job was claimed twice");
}

/// An image of a user, and the path of its only thumbnail.
async fn upload(user: &Client) -> String {
    let image: Value = user.uploaded("a.png", pictures::png(300, 300)).await;
    image.thumbnail(200).to_owned()
}

#[tokio::test]
async fn an_account_whose_first_job_waits_for_a_minute_gets_no_further_ones_in_line() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.user("Basic").await, app.user("Basic").await);
    let (first, second, other) = (upload(&ada).await, upload(&ada).await, upload(&bob).await);
    let visitor = app.anonymous();
    visitor.get(&first).await.expect(StatusCode::ACCEPTED);
    let later = "UPDATE apalis.jobs SET created_at = now() - interval '61 seconds'";
    sqlx::query(later).execute(&app.pool).await.expect("a minute");

    let refused = visitor.get(&second).await;
    refused.expect_problem(503, "backlog");
    assert_eq!(refused.header("retry-after"), "30");
    visitor.get(&first).await.expect(StatusCode::ACCEPTED);
    visitor.get(&other).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    visitor.get(&second).await.expect(StatusCode::ACCEPTED);
    app.run_jobs().await;
    visitor.get(&second).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_queue_that_is_full_takes_no_further_thumbnails() {
    let mut app = TestApp::start_with(|config| config.limits.waiting_thumbnails = 1).await;
    let ada = app.user("Basic").await;
    let visitor = app.anonymous();
    for _ in 0..2 {
        visitor.get(&upload(&ada).await).await.expect(StatusCode::ACCEPTED);
    }
    // the length of the queue is looked at once a second
    loop {
        let answer = visitor.get(&upload(&ada).await).await;
        if answer.status != StatusCode::ACCEPTED {
            answer.expect_problem(503, "queue-full");
            break;
        }
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn a_prepared_thumbnail_that_somebody_asks_for_is_waited_for() {
    let mut app = TestApp::start().await;
    let ada = app.user("Basic").await;
    let url = upload(&ada).await;
    let mut connection = app.pool.acquire().await.expect("a connection");
    for expected in [0, 4] {
        let thumbnail: Uuid =
            sqlx::query_scalar("SELECT id FROM thumbnails WHERE state = 'absent'")
                .fetch_one(&mut *connection)
                .await
                .expect("a thumbnail");
        request(&mut connection, ThumbnailId(thumbnail), Flow::Prepared).await;
        let tag: i64 = sqlx::query_scalar("SELECT max(tag) FROM apalis.jobs")
            .fetch_one(&mut *connection)
            .await
            .expect("a tag");
        assert_eq!(tag, expected);
        upload(&ada).await;
    }
    let first = "SELECT tag, is_prepared FROM apalis.jobs ORDER BY tag LIMIT 1";
    app.anonymous().get(&url).await.expect(StatusCode::ACCEPTED);
    let (tag, is_prepared): (i64, bool) =
        sqlx::query_as(first).fetch_one(&mut *connection).await.expect("a job");
    assert_eq!((tag, is_prepared), (0, false));
    drop(connection);
    app.run_jobs().await;
}
