//! Originals that are being stored: a note of each key from before its object is written until its
//! image is inserted.

use std::time::Duration;

use sqlx::PgConnection;

use super::interval;
use crate::storage::StorageKey;

/// Notes that an object of this key is about to be written.
pub async fn note(connection: &mut PgConnection, key: &StorageKey) -> sqlx::Result<()> {
    sqlx::query!("INSERT INTO uploads_under_way (key) VALUES ($1)", key.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the note of a key; false when it is gone, because the cleanup deletes that object.
pub async fn clear(connection: &mut PgConnection, key: &StorageKey) -> sqlx::Result<bool> {
    let deleted = sqlx::query!("DELETE FROM uploads_under_way WHERE key = $1", key.to_string());
    Ok(deleted.execute(connection).await?.rows_affected() == 1)
}

/// Removes the notes of at most `limit` uploads that have been under way for `age`, by the
/// database's clock, and returns their keys. Until the caller's transaction ends, those uploads
/// cannot be committed.
pub async fn take_abandoned(
    connection: &mut PgConnection,
    age: Duration,
    limit: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "DELETE FROM uploads_under_way WHERE key IN (
             SELECT key FROM uploads_under_way WHERE started_at < now() - $1::interval
             ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING key",
        interval(age)?,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Those of the keys that are noted.
pub async fn noted(connection: &mut PgConnection, keys: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("SELECT key FROM uploads_under_way WHERE key = ANY ($1)", keys)
        .fetch_all(connection)
        .await
}
