//! Thousands of jobs of one account wait, and others make first requests.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{patience, probes};
use crate::{album::HEIGHTS, plan::Plan, report::Outcome, site::Site, verify::OPEN_JOBS};

const INSERT_OWNER: &str = "INSERT INTO users (username, password_hash, tier_id, created_at)
    SELECT 'hoarder', '', tier_id, now() FROM users LIMIT 1";
/// Copies of the one image, each with a pending thumbnail.
const INSERT_IMAGES: &str =
    "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
    SELECT u.id, gen_random_uuid(), 'backlog', format, width, height, bytes, now()
    FROM images i, users u, generate_series(1, $2) WHERE i.id = $1 AND u.username = 'hoarder'
    RETURNING original_id::text";
const INSERT_THUMBNAILS: &str =
    "INSERT INTO thumbnails (id, image_id, height, state, job_id, requested_at)
    SELECT gen_random_uuid(), id, 200, 'pending', apalis.generate_ulid(), now()
    FROM images WHERE title = 'backlog'";
const INSERT_JOBS: &str =
    "INSERT INTO apalis.jobs (id, job_type, job, max_attempts, metadata, flow_owner, tag)
    SELECT th.job_id, 'thumbnails', convert_to(json_build_object('thumbnail', th.id)::text, 'UTF8'), 5, '',
           u.id, take_start_tag(u.id, false)
    FROM thumbnails th, users u WHERE th.state = 'pending' AND u.username = 'hoarder'";
/// Records the moment at which the transaction that enqueues a job commits.
const RECORD_COMMITS: [&str; 3] = [
    "CREATE TABLE enqueued (job text NOT NULL, at timestamptz NOT NULL)",
    "CREATE FUNCTION record_commit() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
         INSERT INTO public.enqueued VALUES (NEW.id, clock_timestamp());
         RETURN NULL;
     END $$",
    "CREATE CONSTRAINT TRIGGER enqueued AFTER INSERT ON apalis.jobs DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW EXECUTE FUNCTION record_commit()",
];
/// Of each job outside the backlog, how many of the backlog were claimed between its commit and its
/// own claim.
const CLAIMED_BEFORE: &str = "SELECT (SELECT count(*) FROM apalis.jobs other
             WHERE other.lock_at > enqueued.at AND other.lock_at < job.lock_at)
    FROM enqueued JOIN apalis.jobs job ON job.id = enqueued.job
    WHERE job.job_type = 'thumbnails' ORDER BY 1";
/// How long a request waits for its thumbnail.
const WAIT: Duration = Duration::from_secs(30);
/// Worker processes, and jobs that they run at the same time.
const WORKERS: usize = 2;
const CONCURRENCY: i64 = 4;
const COUNT_BYTES: &str = "UPDATE users SET used_bytes = coalesce((SELECT sum(bytes) FROM images WHERE owner_id = users.id), 0)";
/// Takes back what has not been started.
const DISCARD: &str =
    "WITH discarded AS (DELETE FROM apalis.jobs WHERE status = 'Pending' RETURNING id)
    UPDATE thumbnails SET state = 'absent', job_id = NULL
    WHERE state = 'pending' AND job_id IN (SELECT id FROM discarded)";

/// First requests of one account are made while thousands of jobs of another wait: they are claimed
/// after no more jobs than run at a time.
pub(super) async fn wait(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "backlog", 1, 0).await;
    let mut outcome = Outcome::default();
    let waiting: i32 = plan.pick(5_000, 50_000);
    let probes = probes(&site, plan.pick(60, 200)).await;
    insert(&site, probes[0].pk, waiting).await;
    let started = Instant::now();
    for _ in 0..WORKERS {
        site.start_worker(&[]);
    }
    let is_moving =
        format!("SELECT (({OPEN_JOBS}) <= {})::int::bigint", waiting - plan.pick(100, 1_000));
    if !site.wait_for_count(&is_moving, 1, patience(&plan)).await {
        outcome.findings.find_broken("the backlog does not get smaller".to_owned());
    }
    for probe in &probes {
        let asked = Instant::now();
        site.front.ask_and_wait(&plan, probe, Some(WAIT)).await;
        outcome.recovery.push(asked.elapsed());
    }
    let left = site.count(OPEN_JOBS).await;
    let made = i32::try_from(i64::from(waiting) - left).unwrap_or_default();
    let rate = f64::from(made) / started.elapsed().as_secs_f64();
    let before: Vec<i64> =
        sqlx::query_scalar(CLAIMED_BEFORE).fetch_all(&site.pool).await.expect("claims");
    for count in before.iter().filter(|count| **count > CONCURRENCY) {
        outcome.findings.find_broken(format!("{count} jobs of the backlog were claimed first"));
    }
    let expected = probes.len() * HEIGHTS.len();
    if before.len() != expected {
        outcome.findings.find_broken(format!("{} of {expected} jobs were claimed", before.len()));
    }
    if left == 0 {
        outcome.findings.find_broken("the backlog ended before the requests".to_owned());
    }
    outcome.notes.push(format!(
        "{left} of {waiting} jobs still waited; before {} first requests of another account at most {} of them were \
         claimed; {rate:.0} jobs a second",
        before.len(),
        before.last().copied().unwrap_or_default(),
    ));
    discard(&site).await;
    let differing = site.sizes_that_differ().await;
    if differing > 0 {
        outcome.findings.find_wrong(format!("{differing} rows and objects do not agree on a size"));
    }
    site.finish(outcome, patience(&plan)).await
}

async fn insert(site: &Site, image: i64, count: i32) {
    sqlx::query(INSERT_OWNER).execute(&site.pool).await.expect("an owner");
    let images = sqlx::query_scalar::<_, String>(INSERT_IMAGES).bind(image).bind(count);
    let originals = images.fetch_all(&site.pool).await.expect("images");
    site.link_originals(image, &originals).await;
    let statements = [INSERT_THUMBNAILS, INSERT_JOBS, COUNT_BYTES, "ANALYZE"];
    for statement in statements.into_iter().chain(RECORD_COMMITS) {
        sqlx::query(statement).execute(&site.pool).await.expect(statement);
    }
}

/// Leaves nothing that waits, and nothing that says it does.
async fn discard(site: &Site) {
    sqlx::query(DISCARD).execute(&site.pool).await.expect("no backlog");
}
