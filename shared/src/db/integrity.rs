//! Whether rows and objects agree: what the audit and the cleanup ask.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::images;
use crate::{
    domain::{OriginalId, ThumbnailId},
    storage::{KeyOwner, StorageKey},
};

/// At most `limit` keys that rows written before `before` say are there, in the order of their ids, from after
/// `after` on: originals.
pub async fn originals(
    connection: &mut PgConnection,
    after: Uuid,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, StorageKey)>> {
    let rows = sqlx::query!(
        "SELECT original_id, format FROM images
         WHERE original_id > $1 AND uploaded_at <= $2 ORDER BY original_id LIMIT $3",
        after,
        before,
        limit,
    );
    let rows = rows.fetch_all(connection).await?;
    let key = |id, format: &str| Ok((id, StorageKey::original(OriginalId(id), images::format(format)?)));
    rows.into_iter().map(|row| key(row.original_id, &row.format)).collect()
}

/// As [`originals`]: thumbnails that are ready.
pub async fn ready_thumbnails(
    connection: &mut PgConnection,
    after: Uuid,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, StorageKey)>> {
    let rows = sqlx::query!(
        "SELECT th.id, i.format FROM thumbnails th JOIN images i ON i.id = th.image_id
         WHERE th.id > $1 AND th.state = 'ready' AND th.finished_at <= $2 ORDER BY th.id LIMIT $3",
        after,
        before,
        limit,
    );
    let rows = rows.fetch_all(connection).await?;
    let key = |id, format: &str| Ok((id, StorageKey::thumbnail(ThumbnailId(id), images::format(format)?)));
    rows.into_iter().map(|row| key(row.id, &row.format)).collect()
}

/// Those of the keys whose row is not there: a thumbnail's row, whatever its state, as its job may be under way.
pub async fn without_row(
    connection: &mut PgConnection,
    keys: Vec<StorageKey>,
) -> sqlx::Result<Vec<StorageKey>> {
    let (mut originals, mut thumbnails) = (Vec::new(), Vec::new());
    for key in &keys {
        match key.owner() {
            KeyOwner::Original(id) => originals.push(id.0),
            KeyOwner::Thumbnail(id) => thumbnails.push(id.0),
        }
    }
    let known = sqlx::query_scalar!(
        r#"SELECT original_id AS "id!" FROM images WHERE original_id = ANY ($1)
           UNION ALL
           SELECT id FROM thumbnails WHERE id = ANY ($2)"#,
        &originals,
        &thumbnails,
    );
    let known: std::collections::HashSet<Uuid> = known.fetch_all(connection).await?.into_iter().collect();
    let has_row = |key: &StorageKey| match key.owner() {
        KeyOwner::Original(id) => known.contains(&id.0),
        KeyOwner::Thumbnail(id) => known.contains(&id.0),
    };
    Ok(keys.into_iter().filter(|key| !has_row(key)).collect())
}

/// Names of accounts whose count of used bytes is not the sum of their originals' sizes.
pub async fn miscounted_users(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT u.username FROM users u
         LEFT JOIN (SELECT owner_id, sum(bytes) AS bytes FROM images GROUP BY owner_id) i ON i.owner_id = u.id
         WHERE u.used_bytes <> coalesce(i.bytes, 0)
         ORDER BY u.id LIMIT $1",
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Ids of thumbnails that are pending although no job is going to make them.
pub async fn jobless_thumbnails(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT th.id FROM thumbnails th
         WHERE th.state = 'pending'
           AND NOT EXISTS (
               SELECT FROM apalis.jobs j
               WHERE j.id = th.job_id
                 AND (j.status IN ('Pending', 'Queued', 'Running')
                      OR (j.status = 'Failed' AND j.attempts < j.max_attempts)))
         LIMIT $1",
        limit,
    )
    .fetch_all(connection)
    .await
}
