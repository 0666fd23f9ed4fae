//! Idempotency keys.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{interval, undecodable};
use crate::domain::{Fingerprint, IdempotencyKey, UserId};

/// Takes a key for a request, unless another one has it that is neither older than `lifetime` nor
/// under way for more than `dead_after`; whether it did.
pub async fn take(
    connection: &mut PgConnection,
    owner: UserId,
    key: &IdempotencyKey,
    holder: Uuid,
    lifetime: Duration,
    dead_after: Duration,
) -> sqlx::Result<bool> {
    let taken = sqlx::query!(
        "INSERT INTO idempotency_keys AS other (owner_id, key, holder) VALUES ($1, $2, $3)
         ON CONFLICT (owner_id, key) DO UPDATE
         SET holder = $3, created_at = now(), fingerprint = NULL, outcome = NULL
         WHERE other.created_at < now() - $4::interval
            OR (other.outcome IS NULL AND other.created_at < now() - $5::interval)",
        owner.0,
        key.as_str(),
        holder,
        interval(lifetime)?,
        interval(dead_after)?,
    );
    Ok(taken.execute(connection).await?.rows_affected() == 1)
}

/// What the request asked for that has this key, and what it created; none while it is under way.
pub async fn outcome(
    connection: &mut PgConnection,
    owner: UserId,
    key: &IdempotencyKey,
) -> sqlx::Result<Option<(Fingerprint, String)>> {
    let row = sqlx::query!(
        "SELECT fingerprint, outcome FROM idempotency_keys WHERE owner_id = $1 AND key = $2",
        owner.0,
        key.as_str(),
    );
    let row = row.fetch_optional(connection).await?;
    let Some((Some(fingerprint), Some(outcome))) = row.map(|row| (row.fingerprint, row.outcome))
    else {
        return Ok(None);
    };
    let fingerprint = <[u8; 32]>::try_from(fingerprint.as_slice()).map_err(undecodable)?;
    Ok(Some((Fingerprint(fingerprint), outcome)))
}

/// Records what a request created, in the transaction that does so; false when another request has
/// the key now.
pub async fn complete(
    connection: &mut PgConnection,
    owner: UserId,
    holder: Uuid,
    key: &IdempotencyKey,
    fingerprint: Fingerprint,
    outcome: &str,
) -> sqlx::Result<bool> {
    let completed = sqlx::query!(
        "UPDATE idempotency_keys SET fingerprint = $4, outcome = $5
         WHERE owner_id = $1 AND key = $2 AND holder = $3 AND outcome IS NULL",
        owner.0,
        key.as_str(),
        holder,
        &fingerprint.0,
        outcome,
    );
    Ok(completed.execute(connection).await?.rows_affected() == 1)
}

/// Gives a key back whose request had no effect.
pub async fn release(
    connection: &mut PgConnection,
    owner: UserId,
    holder: Uuid,
    key: &IdempotencyKey,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM idempotency_keys
         WHERE owner_id = $1 AND key = $2 AND holder = $3 AND outcome IS NULL",
        owner.0,
        key.as_str(),
        holder,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes at most `batch` keys that are older than `lifetime`; how many.
pub async fn delete_old(
    connection: &mut PgConnection,
    lifetime: Duration,
    batch: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE (owner_id, key) IN (
            SELECT owner_id, key FROM idempotency_keys WHERE created_at < now() - $1::interval LIMIT $2)",
        interval(lifetime)?,
        batch,
    );
    Ok(deleted.execute(connection).await?.rows_affected())
}
