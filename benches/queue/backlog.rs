//! Claims while many jobs wait.

use std::time::Instant;

use futures::future::join_all;
use shared::{
    db,
    jobs::{GenerateThumbnail, Job},
    postgres,
};

use crate::{Database, Plan, report, report_rate};

/// Claims of a backlog that are timed. One that is shorter is topped up.
const CLAIMS: i32 = 200;
const LOOKS: i32 = 20;
const CLAIM: &str = "SELECT id FROM apalis.get_jobs('bench', $1, 1)";
/// The default of `--waiting-thumbnails`.
const WAITING_THUMBNAILS: i64 = 100_000;
const WORKERS: [usize; 4] = [1, 2, 4, 8];

/// Makes so many jobs of thumbnails wait, the same number of each owner.
async fn fill(database: &Database, jobs: i32, owners: i32) {
    database
        .execute(
            "TRUNCATE apalis.jobs, queue_shares;
             SELECT setval('queue_virtual_time', 0);
             INSERT INTO apalis.workers (id, worker_type, storage_name)
             VALUES ('bench', 'thumbnails', 'PgStorage') ON CONFLICT DO NOTHING",
        )
        .await;
    // without triggers, which take most of the time
    database
        .execute(&format!(
            "SET session_replication_role = replica; {}; SET session_replication_role = origin",
            insertion(1, jobs, owners)
        ))
        .await;
    database.execute("VACUUM ANALYZE apalis.jobs").await;
}

/// The statement that adds waiting jobs of these numbers.
fn insertion(first: i32, last: i32, owners: i32) -> String {
    format!(
        "INSERT INTO apalis.jobs (id, job_type, job, max_attempts, metadata, flow_owner, tag)
         SELECT lpad(n::text, 26, '0'), 'thumbnails',
                convert_to(json_build_object('thumbnail', gen_random_uuid())::text, 'UTF8'), 5, '',
                n % {owners}, n / {owners}
         FROM generate_series({first}, {last}) AS n"
    )
}

/// Claims a second, each in a transaction of its own, by so many connections.
pub(crate) async fn claims_a_second(database: &Database, plan: &Plan) {
    for workers in WORKERS {
        fill(database, 50_000, 20).await;
        let started = Instant::now();
        let claiming = (0..workers).map(|_| {
            let (pool, time) = (database.pool.clone(), plan.claim_time);
            tokio::spawn(async move {
                let mut claims = 0;
                let mut connection = pool.acquire().await.expect("a connection");
                while started.elapsed() < time {
                    let job: String = sqlx::query_scalar(CLAIM)
                        .bind(GenerateThumbnail::QUEUE)
                        .fetch_one(&mut *connection)
                        .await
                        .expect("a job");
                    assert!(!job.is_empty());
                    claims += 1;
                }
                claims
            })
        });
        let claims = join_all(claiming).await.into_iter().map(|claims| claims.expect("claims"));
        report_rate(&format!("claims, {workers} connections"), claims.sum(), started);
    }
}

/// The time of the claim's statement, without its commit, among jobs of 1, 20 and 1,000 owners.
pub(crate) async fn time_of_claims(database: &Database, plan: &Plan) {
    for &jobs in plan.backlogs {
        for owners in [1, 20, 1_000] {
            let mut times = Vec::new();
            fill(database, jobs, owners).await;
            for number in 1..=CLAIMS {
                if jobs < CLAIMS {
                    database.execute(&insertion(jobs + number, jobs + number, owners)).await;
                }
                let mut tx = postgres::begin(&database.pool).await.expect("a transaction");
                let started = Instant::now();
                let job: String = sqlx::query_scalar(CLAIM)
                    .bind(GenerateThumbnail::QUEUE)
                    .fetch_one(&mut *tx)
                    .await
                    .expect("a job");
                times.push(started.elapsed());
                assert!(!job.is_empty());
                tx.commit().await.expect("a commit");
            }
            report(&format!("a claim among {jobs} jobs of {owners} owners"), times);
        }
        let mut times = Vec::new();
        let mut connection = database.pool.acquire().await.expect("a connection");
        for _ in 0..LOOKS {
            let started = Instant::now();
            db::queue::is_longer_than(&mut connection, WAITING_THUMBNAILS).await.expect("a look");
            times.push(started.elapsed());
        }
        report(&format!("  whether {WAITING_THUMBNAILS} wait, asked once a second"), times);
    }
}
