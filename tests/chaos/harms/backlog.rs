//! Thousands of jobs that wait.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{patience, probes};
use crate::{plan::Plan, report::Outcome, site::Site, verify::OPEN_JOBS};

/// Copies of the one image, each with a pending thumbnail.
const INSERT_IMAGES: &str =
    "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at)
    SELECT owner_id, gen_random_uuid(), 'backlog', format, width, height, bytes, now()
    FROM images, generate_series(1, $2) WHERE id = $1
    RETURNING original_id::text";
const INSERT_THUMBNAILS: &str =
    "INSERT INTO thumbnails (id, image_id, height, state, job_id, requested_at)
    SELECT gen_random_uuid(), id, 200, 'pending', apalis.generate_ulid(), now()
    FROM images WHERE title = 'backlog'";
const INSERT_JOBS: &str = "INSERT INTO apalis.jobs (id, job_type, job, max_attempts, metadata)
    SELECT job_id, 'thumbnails', convert_to(json_build_object('thumbnail', id)::text, 'UTF8'), 5, ''
    FROM thumbnails WHERE state = 'pending'";
const COUNT_BYTES: &str = "UPDATE users SET used_bytes = coalesce((SELECT sum(bytes) FROM images WHERE owner_id = users.id), 0)";
/// Takes back what has not been started.
const DISCARD: &str =
    "WITH discarded AS (DELETE FROM apalis.jobs WHERE status = 'Pending' RETURNING id)
    UPDATE thumbnails SET state = 'absent', job_id = NULL
    WHERE state = 'pending' AND job_id IN (SELECT id FROM discarded)";

/// A first request is made while thousands of jobs wait.
pub(super) async fn wait(plan: Arc<Plan>) -> Outcome {
    let mut site = Site::start(&plan, "backlog", 1, 0).await;
    let mut outcome = Outcome::default();
    let waiting: i32 = plan.pick(5_000, 50_000);
    let late = probes(&site, 6).await;
    insert(&site, late[0].pk, waiting).await;
    let started = Instant::now();
    site.start_worker(&[]);
    site.start_worker(&[]);
    let is_moving =
        format!("SELECT (({OPEN_JOBS}) <= {})::int::bigint", waiting - plan.pick(100, 5_000));
    if !site.wait_for_count(&is_moving, 1, patience(&plan)).await {
        outcome.findings.find_broken("the backlog does not get smaller".to_owned());
    }
    let asked = Instant::now();
    let open = site.count(OPEN_JOBS).await;
    let limit = plan.pick(Duration::from_secs(5), Duration::from_mins(1));
    let answered = site.front.recover(&plan, &late[1..], asked, limit).await;
    let made = i64::from(waiting) - site.count(OPEN_JOBS).await;
    outcome.notes.push(format!(
        "{open} jobs waited; {} of {} first requests behind them were answered within {} s; {:.0} jobs a second",
        answered.iter().flatten().count(),
        answered.len(),
        limit.as_secs(),
        f64::from(i32::try_from(made).unwrap_or_default()) / started.elapsed().as_secs_f64(),
    ));
    outcome.recovery.extend(answered.into_iter().flatten());
    discard(&site).await;
    let differing = site.sizes_that_differ().await;
    if differing > 0 {
        outcome.findings.find_wrong(format!("{differing} rows and objects do not agree on a size"));
    }
    site.finish(outcome, patience(&plan)).await
}

async fn insert(site: &Site, image: i64, count: i32) {
    let images = sqlx::query_scalar::<_, String>(INSERT_IMAGES).bind(image).bind(count);
    let originals = images.fetch_all(&site.pool).await.expect("images");
    site.link_originals(image, &originals).await;
    for statement in [INSERT_THUMBNAILS, INSERT_JOBS, COUNT_BYTES, "ANALYZE"] {
        sqlx::query(statement).execute(&site.pool).await.expect(statement);
    }
}

/// Leaves nothing that waits, and nothing that says it does.
async fn discard(site: &Site) {
    sqlx::query(DISCARD).execute(&site.pool).await.expect("no backlog");
}
