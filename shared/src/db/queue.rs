//! The queue's own tables, where apalis has no call for what is needed.

use std::time::Duration;

use sqlx::PgConnection;

use super::{interval, unsigned};
use crate::{
    domain::{ThumbnailId, UserId},
    jobs::{Flow, GenerateThumbnail, Job, JobId},
};

/// Adds a job that is due now, by the database's clock.
pub async fn insert(
    connection: &mut PgConnection,
    id: JobId,
    queue: &str,
    payload: &[u8],
    max_attempts: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO apalis.jobs (id, job_type, job, max_attempts, metadata) VALUES ($1, $2, $3, $4, '')",
        id.to_string(),
        queue,
        payload,
        max_attempts,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds a thumbnail's job at the end of its flow, due now. It locks the flow's row in
/// `queue_shares`.
pub async fn insert_thumbnail(
    connection: &mut PgConnection,
    id: JobId,
    thumbnail: ThumbnailId,
    flow: Flow,
    payload: &[u8],
    max_attempts: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO apalis.jobs (id, job_type, job, max_attempts, metadata, flow_owner, is_prepared, tag)
         SELECT $1, $2, $3, $4, '', i.owner_id, $6, take_start_tag(i.owner_id, $6)
         FROM thumbnails th JOIN images i ON i.id = th.image_id WHERE th.id = $5",
        id.to_string(),
        GenerateThumbnail::QUEUE,
        payload,
        max_attempts,
        thumbnail.0,
        flow == Flow::Prepared,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves the prepared job of a pending thumbnail to its owner's waited-for flow, unless a worker has
/// it; whether it did.
pub async fn promote(connection: &mut PgConnection, thumbnail: ThumbnailId) -> sqlx::Result<bool> {
    let promoted = sqlx::query!(
        "UPDATE apalis.jobs
         SET is_prepared = false, tag = least(tag, take_start_tag(flow_owner, false))
         WHERE id = (SELECT job_id FROM thumbnails WHERE id = $1 AND state = 'pending')
           AND is_prepared AND status IN ('Pending', 'Failed')",
        thumbnail.0,
    );
    Ok(promoted.execute(connection).await?.rows_affected() == 1)
}

/// How long the first of the waited-for thumbnails of this one's owner has waited that no worker has
/// ever taken.
pub async fn backlog_age(
    connection: &mut PgConnection,
    thumbnail: ThumbnailId,
) -> sqlx::Result<Option<Duration>> {
    let seconds = sqlx::query_scalar!(
        "SELECT extract(epoch FROM now() - j.created_at)::float8
         FROM apalis.jobs j
         WHERE j.flow_owner = (
                 SELECT i.owner_id FROM thumbnails th JOIN images i ON i.id = th.image_id WHERE th.id = $1)
           AND j.status = 'Pending' AND NOT j.is_prepared AND j.lock_at IS NULL
         ORDER BY j.created_at LIMIT 1",
        thumbnail.0,
    );
    let seconds = seconds.fetch_optional(connection).await?.flatten();
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// Whether more than `limit` thumbnails wait for a worker.
pub async fn is_longer_than(connection: &mut PgConnection, limit: i64) -> sqlx::Result<bool> {
    let beyond = sqlx::query_scalar!(
        "SELECT true FROM apalis.jobs WHERE status = 'Pending' AND job_type = $1
         ORDER BY tag, run_at OFFSET $2 LIMIT 1",
        GenerateThumbnail::QUEUE,
        limit,
    );
    Ok(beyond.fetch_optional(connection).await?.is_some())
}

/// Deletes the shares that virtual time has reached, as they say nothing any longer; how many.
pub async fn delete_spent_shares(connection: &mut PgConnection, batch: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "DELETE FROM queue_shares WHERE (owner_id, is_prepared) IN (
            SELECT owner_id, is_prepared FROM queue_shares
            WHERE finish <= virtual_time() ORDER BY owner_id LIMIT $1 FOR UPDATE SKIP LOCKED)",
        batch,
    );
    Ok(deleted.execute(connection).await?.rows_affected())
}

/// Deletes both shares of an account.
pub async fn delete_shares(connection: &mut PgConnection, owner: UserId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM queue_shares WHERE owner_id = $1", owner.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds a job unless its queue has one of this key; whether it did. The key, not the transaction,
/// makes it one.
pub async fn insert_keyed(
    connection: &mut PgConnection,
    queue: &str,
    key: &str,
    payload: &[u8],
    max_attempts: i32,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "INSERT INTO apalis.jobs (id, job_type, job, max_attempts, idempotency_key, metadata)
         VALUES (apalis.generate_ulid(), $1, $2, $3, $4, '')
         ON CONFLICT (job_type, idempotency_key) DO NOTHING",
        queue,
        payload,
        max_attempts,
        key,
    );
    Ok(inserted.execute(connection).await?.rows_affected() == 1)
}

/// Deletes at most `batch` jobs that were done `done_age` ago, or were given up `dead_age` ago; how
/// many.
pub async fn delete_ended(
    connection: &mut PgConnection,
    done_age: Duration,
    dead_age: Duration,
    batch: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "DELETE FROM apalis.jobs WHERE id IN (
            SELECT id FROM apalis.jobs
            WHERE (status = 'Done' AND done_at < now() - $1::interval)
               OR ((status = 'Killed' OR (status = 'Failed' AND attempts >= max_attempts))
                   AND done_at < now() - $2::interval)
            LIMIT $3)",
        interval(done_age)?,
        interval(dead_age)?,
        batch,
    );
    Ok(deleted.execute(connection).await?.rows_affected())
}

/// Deletes the rows of workers that have not been seen for `age` and hold no job; how many.
pub async fn delete_gone_workers(
    connection: &mut PgConnection,
    age: Duration,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "DELETE FROM apalis.workers w
         WHERE w.last_seen < now() - $1::interval
           AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.lock_by = w.id)",
        interval(age)?,
    );
    Ok(deleted.execute(connection).await?.rows_affected())
}

/// Returns the jobs that the workers of a process hold to their queues, at no cost in attempts; how
/// many. A worker's name starts with its process and a hyphen.
pub async fn release(connection: &mut PgConnection, process: &str) -> sqlx::Result<u64> {
    let released = sqlx::query!(
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, done_at = NULL
         WHERE status IN ('Queued', 'Running')
           AND lock_by IN (SELECT id FROM apalis.workers WHERE starts_with(id, $1 || '-'))",
        process,
    );
    Ok(released.execute(connection).await?.rows_affected())
}

/// Whether this worker is registered and has not been seen for `age`.
pub async fn is_silent(
    connection: &mut PgConnection,
    worker: &str,
    age: Duration,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM apalis.workers WHERE id = $1 AND last_seen < now() - $2::interval
           ) AS "exists!""#,
        worker,
        interval(age)?,
    )
    .fetch_one(connection)
    .await
}

/// Whether a worker whose name starts with `host` and a hyphen has been seen within `age`.
pub async fn has_live_worker(
    connection: &mut PgConnection,
    host: &str,
    age: Duration,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM apalis.workers WHERE starts_with(id, $1 || '-') AND last_seen > now() - $2::interval
           ) AS "exists!""#,
        host,
        interval(age)?,
    )
    .fetch_one(connection)
    .await
}

/// How many workers of a queue were seen within `age`.
pub async fn count_live_workers(
    connection: &mut PgConnection,
    queue: &str,
    age: Duration,
) -> sqlx::Result<u64> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM apalis.workers
           WHERE worker_type = $1 AND last_seen > now() - $2::interval"#,
        queue,
        interval(age)?,
    );
    unsigned(count.fetch_one(connection).await?)
}

/// Ids of at most `limit` jobs that are stuck: held by a worker that has been silent for `age`, or
/// due for `age` in a queue from which no worker has taken a job within `age`.
pub async fn stuck(
    connection: &mut PgConnection,
    age: Duration,
    limit: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT j.id FROM apalis.jobs j LEFT JOIN apalis.workers w ON w.id = j.lock_by
         WHERE (j.status IN ('Queued', 'Running') AND (w.id IS NULL OR w.last_seen < now() - $1::interval))
            OR ((j.status = 'Pending' OR (j.status = 'Failed' AND j.attempts < j.max_attempts))
                AND j.run_at < now() - $1::interval
                AND j.job_type NOT IN (
                    SELECT moving.job_type FROM apalis.jobs moving WHERE moving.lock_at > now() - $1::interval))
         ORDER BY j.id LIMIT $2",
        interval(age)?,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Those of the storage keys that a job is going to delete.
pub async fn awaiting_deletion(
    connection: &mut PgConnection,
    keys: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT key AS "key!"
           FROM apalis.jobs j, jsonb_array_elements_text(convert_from(j.job, 'UTF8')::jsonb -> 'keys') AS key
           WHERE j.job_type = 'object-deletion' AND j.status <> 'Done' AND key = ANY ($1)"#,
        keys,
    )
    .fetch_all(connection)
    .await
}
