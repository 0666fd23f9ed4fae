//! The queue as administrators see it, and what they do to its jobs. Times are the database's, as
//! all of the queue's are.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{
    db::unsigned,
    domain::ImageId,
    jobs::{GenerateThumbnail, Job},
};

/// How far a job is that is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No worker has taken it yet.
    #[default]
    Waiting,
    /// A worker has it.
    Running,
    /// It failed and will be tried again.
    Failed,
    /// It was given up.
    Dead,
}

impl JobState {
    /// The condition of the index that holds the jobs in this state.
    fn condition(self) -> &'static str {
        match self {
            Self::Waiting => "status = 'Pending'",
            Self::Running => "status IN ('Queued', 'Running')",
            Self::Failed => "status = 'Failed' AND attempts < max_attempts",
            Self::Dead => "(status = 'Killed' OR (status = 'Failed' AND attempts >= max_attempts))",
        }
    }
}

#[derive(Clone, Debug)]
pub struct ListedJob {
    /// Its ULID.
    pub id: String,
    pub queue: String,
    /// How far it is.
    pub state: JobState,
    /// How often it was tried.
    pub attempts: i32,
    /// How often it is tried before it is given up.
    pub max_attempts: i32,
    /// How often it failed for trouble that may pass, which costs no attempt.
    pub transient_failures: i32,
    /// The start of what it is about, usually JSON.
    pub payload: String,
    /// Why it failed the last time.
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When it is due, or was.
    pub run_at: DateTime<Utc>,
    /// When it ended the last time.
    pub ended_at: Option<DateTime<Utc>>,
    pub worker: Option<String>,
    /// The image whose thumbnail it makes.
    pub image: Option<ImageId>,
}

/// How much of a payload is shown, in characters.
const PAYLOAD_CHARS: usize = 2000;

#[derive(FromRow)]
struct JobRow {
    id: String,
    job_type: String,
    attempts: i32,
    max_attempts: i32,
    transient_failures: i32,
    payload: Vec<u8>,
    reason: Option<String>,
    created_at: DateTime<Utc>,
    run_at: DateTime<Utc>,
    done_at: Option<DateTime<Utc>>,
    lock_by: Option<String>,
}

fn push_queue(query: &mut QueryBuilder<Postgres>, queue: Option<&str>) {
    if let Some(queue) = queue {
        query.push(" AND job_type = ").push_bind(queue.to_owned());
    }
}

/// At most `limit` jobs in a state, of one queue or all, newest first, that were enqueued before
/// the job `before`.
pub async fn page(
    connection: &mut PgConnection,
    state: JobState,
    queue: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<ListedJob>> {
    // as many bytes of the payload as its first 2,000 characters can have
    let mut query = QueryBuilder::new(
        "SELECT id, job_type, attempts, max_attempts, transient_failures, substring(job FOR 8000) AS payload,
                coalesce(last_result ->> 'Err', last_result ->> 0) AS reason, created_at, run_at, done_at, lock_by
         FROM apalis.jobs WHERE ",
    );
    query.push(state.condition());
    push_queue(&mut query, queue);
    if let Some(before) = before {
        query.push(" AND id < ").push_bind(before.to_owned());
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
    let rows = query.build_query_as::<JobRow>().fetch_all(&mut *connection).await?;
    let images = images(connection, &rows).await?;
    Ok(rows.into_iter().map(|row| listed(row, state, &images)).collect())
}

fn listed(row: JobRow, state: JobState, images: &HashMap<Uuid, ImageId>) -> ListedJob {
    ListedJob {
        created_at: row.created_at,
        image: thumbnail(&row).and_then(|thumbnail| images.get(&thumbnail).copied()),
        payload: String::from_utf8_lossy(&row.payload).chars().take(PAYLOAD_CHARS).collect(),
        state,
        id: row.id,
        queue: row.job_type,
        attempts: row.attempts,
        max_attempts: row.max_attempts,
        transient_failures: row.transient_failures,
        reason: row.reason.map(|reason| reason.trim_start_matches("transient: ").to_owned()),
        run_at: row.run_at,
        ended_at: row.done_at,
        worker: row.lock_by,
    }
}

/// The thumbnail that a job was enqueued for.
fn thumbnail(row: &JobRow) -> Option<Uuid> {
    let is_ours = row.job_type == GenerateThumbnail::QUEUE;
    let job: GenerateThumbnail =
        is_ours.then(|| serde_json::from_slice(&row.payload).ok()).flatten()?;
    Some(job.thumbnail.0)
}

/// The images of the jobs' thumbnails.
async fn images(
    connection: &mut PgConnection,
    jobs: &[JobRow],
) -> sqlx::Result<HashMap<Uuid, ImageId>> {
    let thumbnails: Vec<Uuid> = jobs.iter().filter_map(thumbnail).collect();
    let rows = sqlx::query!("SELECT id, image_id FROM thumbnails WHERE id = ANY ($1)", &thumbnails);
    Ok(rows
        .fetch_all(connection)
        .await?
        .into_iter()
        .map(|row| (row.id, ImageId(row.image_id)))
        .collect())
}

/// How a queue does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFigures {
    /// Its name.
    pub queue: String,
    /// Jobs that no worker has taken yet.
    pub waiting: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Jobs that failed and will be tried again.
    pub failed: u64,
    /// Jobs that were given up.
    pub dead: u64,
    /// How long the first of the waiting jobs that are due has been due, in seconds.
    pub oldest_waiting_seconds: Option<u64>,
    /// Jobs that succeeded within the last minute.
    pub done_last_minute: u64,
    /// Jobs that succeeded within the last hour.
    pub done_last_hour: u64,
    /// Jobs whose last attempt failed within the last hour.
    pub failed_last_hour: u64,
}

/// How these queues do, in the order in which they are named.
pub async fn figures(
    connection: &mut PgConnection,
    queues: &[&str],
) -> sqlx::Result<Vec<QueueFigures>> {
    let queues: Vec<String> = queues.iter().map(|&queue| queue.to_owned()).collect();
    let rows = sqlx::query!(
        r#"WITH open AS (
               SELECT job_type, count(*) FILTER (WHERE status = 'Pending') AS waiting,
                      count(*) FILTER (WHERE status <> 'Pending') AS running
               FROM apalis.jobs WHERE status IN ('Pending', 'Queued', 'Running')
               GROUP BY job_type
           ), failed AS (
               SELECT job_type, count(*) AS failed,
                      count(*) FILTER (WHERE done_at > now() - interval '1 hour') AS lately
               FROM apalis.jobs WHERE status = 'Failed' AND attempts < max_attempts
               GROUP BY job_type
           ), dead AS (
               SELECT job_type, count(*) AS dead,
                      count(*) FILTER (WHERE done_at > now() - interval '1 hour') AS lately
               FROM apalis.jobs
               WHERE status = 'Killed' OR (status = 'Failed' AND attempts >= max_attempts)
               GROUP BY job_type
           ), done AS (
               SELECT job_type, count(*) AS hour,
                      count(*) FILTER (WHERE done_at > now() - interval '1 minute') AS minute
               FROM apalis.jobs
               WHERE status = 'Done' AND job_type = ANY ($1) AND done_at > now() - interval '1 hour'
               GROUP BY job_type
           )
           SELECT queue AS "queue!", coalesce(waiting, 0) AS "waiting!", coalesce(running, 0) AS "running!",
                  coalesce(failed, 0) AS "failed!", coalesce(dead, 0) AS "dead!",
                  floor(extract(epoch FROM age))::bigint AS age, coalesce(minute, 0) AS "minute!",
                  coalesce(hour, 0) AS "hour!", coalesce(failed.lately, 0) + coalesce(dead.lately, 0) AS "lately!"
           FROM unnest($1::text[]) WITH ORDINALITY AS queues (queue, place)
           -- the one that apalis' own index has first: all of our jobs are of one priority
           LEFT JOIN LATERAL (
               SELECT now() - run_at AS age FROM apalis.jobs
               WHERE job_type = queue AND status = 'Pending' AND run_at <= now()
               ORDER BY priority DESC, run_at LIMIT 1
           ) AS first ON true
           LEFT JOIN open ON open.job_type = queue
           LEFT JOIN failed ON failed.job_type = queue
           LEFT JOIN dead ON dead.job_type = queue
           LEFT JOIN done ON done.job_type = queue
           ORDER BY place"#,
        &queues,
    );
    let rows = rows.fetch_all(connection).await?.into_iter().map(|row| {
        Ok(QueueFigures {
            queue: row.queue,
            waiting: unsigned(row.waiting)?,
            running: unsigned(row.running)?,
            failed: unsigned(row.failed)?,
            dead: unsigned(row.dead)?,
            oldest_waiting_seconds: row.age.map(unsigned).transpose()?,
            done_last_minute: unsigned(row.minute)?,
            done_last_hour: unsigned(row.hour)?,
            failed_last_hour: unsigned(row.lately)?,
        })
    });
    rows.collect()
}

/// A job that an administrator did something to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedJob {
    /// Its ULID.
    pub id: String,
    pub queue: String,
}

/// Has jobs tried again at once: those that failed, and those that were given up, which get all
/// their attempts anew and their thumbnails with them. Which were; the caller's transaction makes
/// it one.
pub async fn retry(
    connection: &mut PgConnection,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ChangedJob>> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM apalis.jobs WHERE id = ANY ($1) AND status IN ('Failed', 'Killed') ORDER BY id FOR UPDATE",
        ids,
    );
    let ids = ids.fetch_all(&mut *connection).await?;
    sqlx::query!(
        "UPDATE thumbnails th SET state = 'pending', failure_reason = NULL, requested_at = $2
         FROM apalis.jobs j
         WHERE th.job_id = j.id AND th.state = 'failed'
           AND j.id = ANY ($1) AND j.job_type = 'thumbnails'
           AND (j.status = 'Killed' OR j.attempts >= j.max_attempts)",
        &ids,
        now,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE apalis.jobs SET run_at = now() WHERE id = ANY ($1) AND status = 'Failed' AND attempts < max_attempts",
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE apalis.jobs
         SET status = 'Pending', attempts = 0, transient_failures = 0, created_at = now(), run_at = now(),
             lock_at = NULL, lock_by = NULL, lost_by = NULL, done_at = NULL, last_result = NULL
         WHERE id = ANY ($1) AND (status = 'Killed' OR attempts >= max_attempts)",
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    // new arrivals in their flows; shares are locked in the order of their owners
    sqlx::query!(
        "WITH due AS MATERIALIZED (
             SELECT id, take_start_tag(flow_owner, true) AS tag
             FROM (SELECT id, flow_owner FROM apalis.jobs
                   WHERE id = ANY ($1) AND flow_owner IS NOT NULL AND status = 'Pending'
                   ORDER BY flow_owner, id) AS ordered
         )
         UPDATE apalis.jobs j SET is_prepared = true, tag = due.tag FROM due WHERE j.id = due.id",
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    wake(connection, &ids).await
}

/// Tells workers of jobs that are due, as the queue's own trigger does of new ones.
async fn wake(connection: &mut PgConnection, ids: &[String]) -> sqlx::Result<Vec<ChangedJob>> {
    let rows = sqlx::query!(
        "SELECT id, job_type,
                pg_notify('apalis::job::insert',
                          json_build_object('job_type', job_type, 'id', id, 'run_at', run_at)::text)
         FROM apalis.jobs WHERE id = ANY ($1) ORDER BY id",
        ids,
    );
    let rows = rows.fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| ChangedJob { id: row.id, queue: row.job_type }).collect())
}

/// As [`retry`], at most `limit` jobs of this state, of one queue or all, the oldest first; those
/// that another transaction holds are left out. Jobs of the other states have nothing to retry.
pub async fn retry_all(
    connection: &mut PgConnection,
    state: JobState,
    queue: Option<&str>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ChangedJob>> {
    if matches!(state, JobState::Waiting | JobState::Running) {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::new("SELECT id FROM apalis.jobs WHERE ");
    query.push(state.condition());
    push_queue(&mut query, queue);
    query.push(" ORDER BY id LIMIT ").push_bind(limit).push(" FOR UPDATE SKIP LOCKED");
    let ids: Vec<String> = query.build_query_scalar().fetch_all(&mut *connection).await?;
    retry(connection, &ids, now).await
}

/// Deletes jobs that no worker has; thumbnails that wait for them can be asked for again. Which
/// were; the caller's transaction makes it one.
pub async fn discard(
    connection: &mut PgConnection,
    ids: &[String],
) -> sqlx::Result<Vec<ChangedJob>> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM apalis.jobs WHERE id = ANY ($1) AND status IN ('Pending', 'Failed', 'Killed')
         ORDER BY id FOR UPDATE",
        ids,
    );
    let ids = ids.fetch_all(&mut *connection).await?;
    sqlx::query!(
        "UPDATE thumbnails SET state = 'absent', job_id = NULL WHERE job_id = ANY ($1) AND state = 'pending'",
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    let rows =
        sqlx::query!("DELETE FROM apalis.jobs WHERE id = ANY ($1) RETURNING id, job_type", &ids);
    let rows = rows.fetch_all(&mut *connection).await?;
    give_back_shares(connection).await?;
    Ok(rows.into_iter().map(|row| ChangedJob { id: row.id, queue: row.job_type }).collect())
}

/// Has each flow's next job start behind the last that waits, as if discarded ones had never been
/// there.
async fn give_back_shares(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE queue_shares share SET finish = least(share.finish, locked.finish)
         FROM (
             SELECT held.owner_id, held.is_prepared, (
                 SELECT coalesce(max(j.tag) + job_cost(held.is_prepared), 0) FROM apalis.jobs j
                 WHERE j.flow_owner = held.owner_id AND j.is_prepared = held.is_prepared
                   AND j.status = 'Pending'
             ) AS finish
             FROM (SELECT owner_id, is_prepared FROM queue_shares
                   WHERE finish > virtual_time() ORDER BY owner_id, is_prepared FOR UPDATE) AS held
         ) AS locked
         WHERE share.owner_id = locked.owner_id AND share.is_prepared = locked.is_prepared",
    )
    .execute(connection)
    .await?;
    Ok(())
}
