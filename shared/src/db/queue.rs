//! The queue's own tables, where apalis has no call for what is needed.

use std::time::Duration;

use sqlx::PgConnection;

use super::interval;
use crate::jobs::JobId;

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
