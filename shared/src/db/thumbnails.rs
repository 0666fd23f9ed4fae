//! Thumbnails.

use chrono::{DateTime, Utc};
use imaging::Format;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{images, signed, tiers::joined_tier, undecodable, unsigned};
use crate::{
    domain::{
        Attempt, Height, HeightSet, ImageId, Thumbnail, ThumbnailId, ThumbnailState, Tier, UserId,
    },
    jobs::JobId,
};

struct ThumbnailRow {
    id: Uuid,
    image_id: i64,
    height: i32,
    attempt: i32,
    state: String,
    width_px: Option<i32>,
    height_px: Option<i32>,
    bytes: Option<i64>,
    failure_reason: Option<String>,
}

impl TryFrom<ThumbnailRow> for Thumbnail {
    type Error = sqlx::Error;

    fn try_from(row: ThumbnailRow) -> sqlx::Result<Self> {
        let state = match row.state.as_str() {
            "absent" => ThumbnailState::Absent,
            "pending" => ThumbnailState::Pending,
            "ready" => ThumbnailState::Ready {
                width: unsigned(row.width_px.unwrap_or_default())?,
                height: unsigned(row.height_px.unwrap_or_default())?,
                bytes: unsigned(row.bytes.unwrap_or_default())?,
            },
            _ => ThumbnailState::Failed { reason: row.failure_reason.unwrap_or_default() },
        };
        Ok(Self {
            id: ThumbnailId(row.id),
            image: ImageId(row.image_id),
            height: Height::try_from(i64::from(row.height)).map_err(undecodable)?,
            attempt: Attempt(unsigned(row.attempt)?),
            state,
        })
    }
}

/// A thumbnail with what serving it needs.
#[derive(Debug)]
pub struct ServedThumbnail {
    pub thumbnail: Thumbnail,
    /// The format of its file, which is the original's.
    pub format: Format,
    pub owner: UserId,
    /// The owner's tier as it is now.
    pub tier: Tier,
}

/// Gives each of the images a row for each of the heights that it lacks; images that are gone
/// meanwhile are left out.
pub async fn insert_missing(
    connection: &mut PgConnection,
    images: &[ImageId],
    heights: &HeightSet,
) -> sqlx::Result<()> {
    let images: Vec<i64> = images.iter().map(|image| image.0).collect();
    let heights: Vec<i32> = heights.iter().map(i32::from).collect();
    sqlx::query!(
        "INSERT INTO thumbnails (id, image_id, height)
         SELECT gen_random_uuid(), image, wanted
         FROM (SELECT id AS image FROM images WHERE id = ANY ($1::bigint[]) ORDER BY id FOR KEY SHARE) AS existing
         CROSS JOIN unnest($2::int[]) AS wanted
         ORDER BY image, wanted
         ON CONFLICT (image_id, height) DO NOTHING",
        &images,
        &heights,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All thumbnails of the images, by image and height.
pub async fn of_images(
    connection: &mut PgConnection,
    images: &[ImageId],
) -> sqlx::Result<Vec<Thumbnail>> {
    let images: Vec<i64> = images.iter().map(|image| image.0).collect();
    let rows = sqlx::query_as!(
        ThumbnailRow,
        "SELECT id, image_id, height, attempt, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE image_id = ANY ($1) ORDER BY image_id, height",
        &images,
    );
    rows.fetch_all(connection).await?.into_iter().map(Thumbnail::try_from).collect()
}

/// All thumbnails of the images, locked until the transaction ends, so that no worker claims one
/// meanwhile.
pub async fn lock_of_images(
    connection: &mut PgConnection,
    images: &[ImageId],
) -> sqlx::Result<Vec<Thumbnail>> {
    let images: Vec<i64> = images.iter().map(|image| image.0).collect();
    let rows = sqlx::query_as!(
        ThumbnailRow,
        "SELECT id, image_id, height, attempt, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE image_id = ANY ($1) ORDER BY image_id, id FOR UPDATE",
        &images,
    );
    rows.fetch_all(connection).await?.into_iter().map(Thumbnail::try_from).collect()
}

/// An image's thumbnail of this height.
pub async fn of_height(
    connection: &mut PgConnection,
    image: ImageId,
    height: Height,
) -> sqlx::Result<Option<Thumbnail>> {
    let row = sqlx::query_as!(
        ThumbnailRow,
        "SELECT id, image_id, height, attempt, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE image_id = $1 AND height = $2",
        image.0,
        i32::from(height),
    );
    row.fetch_optional(connection).await?.map(Thumbnail::try_from).transpose()
}

/// How far a thumbnail is; nothing once its image is deleted.
pub async fn state(
    connection: &mut PgConnection,
    id: ThumbnailId,
) -> sqlx::Result<Option<ThumbnailState>> {
    Ok(of_ids(connection, &[id]).await?.pop().map(|thumbnail| thumbnail.state))
}

/// Those of the thumbnails that are there.
pub async fn of_ids(
    connection: &mut PgConnection,
    ids: &[ThumbnailId],
) -> sqlx::Result<Vec<Thumbnail>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        ThumbnailRow,
        "SELECT id, image_id, height, attempt, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE id = ANY ($1)",
        &ids,
    );
    rows.fetch_all(connection).await?.into_iter().map(Thumbnail::try_from).collect()
}

/// The thumbnail of this name with what serving it needs.
pub async fn find_with_tier(
    connection: &mut PgConnection,
    id: ThumbnailId,
) -> sqlx::Result<Option<ServedThumbnail>> {
    let row = sqlx::query!(
        "SELECT th.id, th.image_id, th.height, th.attempt, th.state, th.width_px, th.height_px, th.bytes,
                th.failure_reason, i.format, i.owner_id,
                t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes
         FROM thumbnails th
         JOIN images i ON i.id = th.image_id
         JOIN users u ON u.id = i.owner_id
         JOIN tiers t ON t.id = u.tier_id
         WHERE th.id = $1 AND u.is_active",
        id.0
    );
    let Some(row) = row.fetch_optional(connection).await? else {
        return Ok(None);
    };
    let thumbnail = ThumbnailRow {
        id: row.id,
        image_id: row.image_id,
        height: row.height,
        attempt: row.attempt,
        state: row.state,
        width_px: row.width_px,
        height_px: row.height_px,
        bytes: row.bytes,
        failure_reason: row.failure_reason,
    };
    Ok(Some(ServedThumbnail {
        thumbnail: thumbnail.try_into()?,
        format: images::format(&row.format)?,
        owner: UserId(row.owner_id),
        tier: joined_tier!(row)?,
    }))
}

/// Makes an absent thumbnail wait for a job; false when another request was first. The caller
/// enqueues the job in the same transaction.
pub async fn request(
    connection: &mut PgConnection,
    id: ThumbnailId,
    job: JobId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE thumbnails SET state = 'pending', job_id = $2, requested_at = $3 WHERE id = $1 AND state = 'absent'",
        id.0,
        job.to_string(),
        now,
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}

/// Those of these thumbnails that are absent, in order of their ids, locked until the transaction
/// ends.
pub async fn lock_absent(
    connection: &mut PgConnection,
    ids: &[ThumbnailId],
) -> sqlx::Result<Vec<ThumbnailId>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let absent = sqlx::query_scalar!(
        "SELECT id FROM thumbnails WHERE id = ANY ($1) AND state = 'absent' ORDER BY id FOR NO KEY UPDATE",
        &ids,
    );
    Ok(absent.fetch_all(connection).await?.into_iter().map(ThumbnailId).collect())
}

/// As [`request`], for a failed thumbnail.
pub async fn request_failed(
    connection: &mut PgConnection,
    id: ThumbnailId,
    job: JobId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE thumbnails SET state = 'pending', job_id = $2, requested_at = $3, failure_reason = NULL
         WHERE id = $1 AND state = 'failed'",
        id.0,
        job.to_string(),
        now,
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}

/// Makes a ready thumbnail absent, because the object of this attempt is missing or damaged; false
/// when it is no longer ready as of that attempt.
pub async fn discard_file(
    connection: &mut PgConnection,
    id: ThumbnailId,
    attempt: Attempt,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE thumbnails
         SET state = 'absent', job_id = NULL, width_px = NULL, height_px = NULL, bytes = NULL, sha256 = NULL, finished_at = NULL
         WHERE id = $1 AND state = 'ready' AND attempt = $2",
        id.0,
        signed::<_, i32>(attempt.0)?,
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}

/// Failed thumbnails of one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReason {
    /// As their owners read it.
    pub reason: String,
    /// How many thumbnails failed for it.
    pub count: u64,
}

/// At most `limit` reasons for which thumbnails failed, the most frequent first.
pub async fn failure_reasons(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<FailureReason>> {
    let rows = sqlx::query!(
        r#"SELECT failure_reason AS "reason!", count(*) AS "count!" FROM thumbnails
           WHERE state = 'failed' GROUP BY failure_reason ORDER BY count(*) DESC, failure_reason LIMIT $1"#,
        limit,
    );
    let rows = rows.fetch_all(connection).await?.into_iter();
    rows.map(|row| Ok(FailureReason { reason: row.reason, count: unsigned(row.count)? })).collect()
}

/// Ids of at most `limit` thumbnails that failed, for this reason or for any, in the order of their
/// owners, locked until the transaction ends. Those that another transaction holds are left out.
pub async fn lock_failed(
    connection: &mut PgConnection,
    reason: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<ThumbnailId>> {
    let ids = sqlx::query_scalar!(
        "WITH locked AS (
            SELECT id, image_id FROM thumbnails
            WHERE state = 'failed' AND ($1::text IS NULL OR failure_reason = $1)
            ORDER BY failure_reason, id LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         SELECT locked.id FROM locked JOIN images i ON i.id = locked.image_id ORDER BY i.owner_id, locked.id",
        reason,
        limit,
    );
    Ok(ids.fetch_all(connection).await?.into_iter().map(ThumbnailId).collect())
}

/// Marks pending thumbnails whose job was given up as failed; how many. The queue's trigger does so
/// at once; this is for jobs that ended while that trigger was not there.
pub async fn fail_dead(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let updated = sqlx::query!(
        "UPDATE thumbnails th
         SET state = 'failed', failure_reason = 'Making this thumbnail stopped the worker again and again.', finished_at = $1
         FROM apalis.jobs j
         WHERE j.id = th.job_id AND th.state = 'pending'
           AND (j.status = 'Killed' OR (j.status = 'Failed' AND j.attempts >= j.max_attempts))",
        now,
    );
    Ok(updated.execute(connection).await?.rows_affected())
}

/// Makes pending thumbnails that no job will ever finish absent again, so that the next request
/// asks anew; how many.
pub async fn release_jobless(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let updated = sqlx::query!(
        "UPDATE thumbnails th SET state = 'absent', job_id = NULL
         WHERE th.state = 'pending'
           AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.id = th.job_id AND j.status <> 'Done')",
    );
    Ok(updated.execute(connection).await?.rows_affected())
}
