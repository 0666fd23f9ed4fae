//! The changes of accounts, which triggers write.

use std::time::Duration;

use sqlx::PgConnection;

use super::{interval, undecodable};
use crate::domain::{Change, ChangeKind, Cursor, Height, ImageId, UserId};

/// The place after an account's last change; none before the first one.
pub async fn last(connection: &mut PgConnection, owner: UserId) -> sqlx::Result<Option<Cursor>> {
    let row = sqlx::query!("SELECT epoch, last FROM change_counters WHERE owner_id = $1", owner.0);
    let row = row.fetch_optional(connection).await?;
    Ok(row.map(|row| Cursor { epoch: row.epoch, number: row.last }))
}

/// At most `limit` changes of an account after a place, in order. Older ones than are kept are left
/// out: the first number tells.
pub async fn after(
    connection: &mut PgConnection,
    owner: UserId,
    place: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Change>> {
    let rows = sqlx::query!(
        "SELECT number, kind, image_id, height, at FROM changes
         WHERE owner_id = $1 AND number > $2 ORDER BY number LIMIT $3",
        owner.0,
        place.number,
        limit,
    );
    let rows = rows.fetch_all(connection).await?;
    let height = |px: i32| Height::try_from(i64::from(px)).map_err(undecodable);
    rows.into_iter()
        .map(|row| {
            Ok(Change {
                cursor: Cursor { epoch: place.epoch, number: row.number },
                kind: ChangeKind::try_from(row.kind.as_str()).map_err(undecodable)?,
                image: ImageId(row.image_id),
                height: row.height.map(height).transpose()?,
                at: row.at,
            })
        })
        .collect()
}

/// Deletes at most `batch` changes that are older than `age`, the oldest first; how many.
pub async fn delete_old(
    connection: &mut PgConnection,
    age: Duration,
    batch: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "DELETE FROM changes WHERE (owner_id, number) IN (
            SELECT owner_id, number FROM changes
            WHERE at < now() - $1::interval ORDER BY at, number LIMIT $2)",
        interval(age)?,
        batch,
    );
    Ok(deleted.execute(connection).await?.rows_affected())
}
