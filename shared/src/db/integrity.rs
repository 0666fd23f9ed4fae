//! Whether rows and objects agree: what the audit and the cleanup ask.

use std::{collections::HashSet, time::Duration};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{digest, images, interval, signed, unsigned};
use crate::{
    domain::{Attempt, FileDigest, OriginalId, ThumbnailId},
    storage::{ObjectKind, StorageKey},
};

/// An object that a row says is there.
#[derive(Clone, Debug)]
pub struct ExpectedObject {
    /// The row's id: an original's or a thumbnail's.
    pub id: Uuid,
    /// The object's key.
    pub key: StorageKey,
    pub bytes: u64,
    /// None for a file that was made before digests were kept and never verified.
    pub digest: Option<FileDigest>,
}

/// At most `limit` originals, in the order of their ids, from the one after `after` on.
pub async fn originals(
    connection: &mut PgConnection,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<ExpectedObject>> {
    let rows = sqlx::query!(
        "SELECT original_id, format, bytes, sha256 FROM images WHERE original_id > $1 ORDER BY original_id LIMIT $2",
        after,
        limit,
    );
    let rows = rows.fetch_all(connection).await?.into_iter().map(|row| {
        Ok(ExpectedObject {
            id: row.original_id,
            key: StorageKey::original(OriginalId(row.original_id), images::format(&row.format)?),
            bytes: unsigned(row.bytes)?,
            digest: digest(row.sha256)?,
        })
    });
    rows.collect()
}

/// As [`originals`], thumbnails that are ready.
pub async fn ready_thumbnails(
    connection: &mut PgConnection,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<ExpectedObject>> {
    let rows = sqlx::query!(
        r#"SELECT th.id, th.attempt, th.bytes AS "bytes!", th.sha256, i.format
           FROM thumbnails th JOIN images i ON i.id = th.image_id
           WHERE th.id > $1 AND th.state = 'ready' ORDER BY th.id LIMIT $2"#,
        after,
        limit,
    );
    let rows = rows.fetch_all(connection).await?.into_iter().map(|row| {
        let (id, attempt) = (ThumbnailId(row.id), Attempt(unsigned(row.attempt)?));
        Ok(ExpectedObject {
            id: row.id,
            key: StorageKey::thumbnail(id, attempt, images::format(&row.format)?),
            bytes: unsigned(row.bytes)?,
            digest: digest(row.sha256)?,
        })
    });
    rows.collect()
}

/// How many originals there are.
pub async fn count_originals(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM images"#);
    unsigned(count.fetch_one(connection).await?)
}

/// How many thumbnails are ready.
pub async fn count_ready_thumbnails(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let count =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM thumbnails WHERE state = 'ready'"#);
    unsigned(count.fetch_one(connection).await?)
}

/// Records the digest of a file that has none.
pub async fn record_digest(
    connection: &mut PgConnection,
    object: &ExpectedObject,
    digest: FileDigest,
) -> sqlx::Result<()> {
    match object.key.owner() {
        ObjectKind::Original(_) => {
            sqlx::query!(
                "UPDATE images SET sha256 = $2 WHERE original_id = $1 AND sha256 IS NULL",
                object.id,
                &digest.0,
            )
            .execute(connection)
            .await?;
        }
        ObjectKind::Thumbnail(_, attempt) => {
            sqlx::query!(
                "UPDATE thumbnails SET sha256 = $3 WHERE id = $1 AND attempt = $2 AND state = 'ready' AND sha256 IS NULL",
                object.id,
                signed::<_, i32>(attempt.0)?,
                &digest.0,
            )
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}

/// Those of the keys that rows still say are there: of an image, or of a ready thumbnail's latest
/// attempt.
pub async fn still_expected(
    connection: &mut PgConnection,
    keys: Vec<StorageKey>,
) -> sqlx::Result<Vec<StorageKey>> {
    let unnamed = without_row(connection, keys.clone()).await?;
    Ok(keys.into_iter().filter(|key| !unnamed.contains(key)).collect())
}

/// Those of the keys that no row names. A thumbnail's row names its latest attempt, while that is
/// ready or under way.
pub async fn without_row(
    connection: &mut PgConnection,
    keys: Vec<StorageKey>,
) -> sqlx::Result<Vec<StorageKey>> {
    let (mut originals, mut thumbnails) = (Vec::new(), Vec::new());
    for key in &keys {
        match key.owner() {
            ObjectKind::Original(id) => originals.push(id.0),
            ObjectKind::Thumbnail(id, _) => thumbnails.push(id.0),
        }
    }
    let known = sqlx::query!(
        r#"SELECT original_id AS "id!", NULL::int AS attempt FROM images WHERE original_id = ANY ($1)
           UNION ALL
           SELECT id, attempt FROM thumbnails WHERE id = ANY ($2) AND state IN ('ready', 'pending')"#,
        &originals,
        &thumbnails,
    );
    let rows = known.fetch_all(connection).await?.into_iter();
    let named = |id, attempt: Option<i32>| {
        let owner = match attempt {
            None => ObjectKind::Original(OriginalId(id)),
            Some(attempt) => ObjectKind::Thumbnail(ThumbnailId(id), Attempt(unsigned(attempt)?)),
        };
        Ok(owner)
    };
    let named: HashSet<ObjectKind> =
        rows.map(|row| named(row.id, row.attempt)).collect::<sqlx::Result<_>>()?;
    Ok(keys.into_iter().filter(|key| !named.contains(&key.owner())).collect())
}

/// Records that a cleanup sees these objects of thumbnails without a row, and returns those that
/// were first seen `age` ago or earlier, by the database's clock.
pub async fn sight_orphans(
    connection: &mut PgConnection,
    keys: &[String],
    age: Duration,
) -> sqlx::Result<Vec<String>> {
    sqlx::query!(
        "INSERT INTO orphans (key) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING",
        keys
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query_scalar!(
        "SELECT key FROM orphans WHERE key = ANY ($1) AND first_seen <= now() - $2::interval ORDER BY key",
        keys,
        interval(age)?,
    )
    .fetch_all(connection)
    .await
}

/// Forgets orphans that were deleted.
pub async fn forget(connection: &mut PgConnection, keys: &[String]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM orphans WHERE key = ANY ($1)", keys).execute(connection).await?;
    Ok(())
}

/// Forgets the orphans below a prefix that a cleanup has not seen again.
pub async fn forget_orphans(
    connection: &mut PgConnection,
    prefix: &str,
    seen: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM orphans WHERE starts_with(key, $1) AND key <> ALL ($2)",
        prefix,
        seen
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Names of accounts whose count of used bytes is not the sum of their originals' sizes.
pub async fn miscounted_users(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<String>> {
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

/// Sets the count of used bytes of each account where it is wrong to the sum of the originals'
/// sizes; how many were wrong. Needs a transaction: uploads of those accounts wait until it ends.
pub async fn recount_users(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let ids = sqlx::query_scalar!(
        "SELECT u.id FROM users u
         WHERE u.used_bytes <> (SELECT coalesce(sum(bytes), 0) FROM images WHERE owner_id = u.id)
         ORDER BY u.id FOR NO KEY UPDATE",
    );
    let ids = ids.fetch_all(&mut *connection).await?;
    // a statement of its own, which sees what was committed before the rows were locked
    let updated = sqlx::query!(
        "UPDATE users u
         SET used_bytes = (SELECT coalesce(sum(bytes), 0)::bigint FROM images WHERE owner_id = u.id)
         WHERE u.id = ANY ($1)",
        &ids,
    );
    Ok(updated.execute(connection).await?.rows_affected())
}

/// Ids of thumbnails that are pending although no job is going to make them.
pub async fn jobless_thumbnails(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
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
