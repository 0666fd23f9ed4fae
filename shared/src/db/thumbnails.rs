//! Thumbnails.

use chrono::{DateTime, Utc};
use imaging::Format;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{images, signed, tiers::joined_tier, undecodable, unsigned};
use crate::{
    domain::{Height, HeightSet, ImageId, OriginalId, Thumbnail, ThumbnailId, ThumbnailState, Tier},
    jobs::JobId,
    storage::StorageKey,
};

struct ThumbnailRow {
    id: Uuid,
    image_id: i64,
    height: i32,
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
            state,
        })
    }
}

/// A thumbnail with what serving it needs.
#[derive(Debug)]
pub struct ServedThumbnail {
    /// The thumbnail.
    pub thumbnail: Thumbnail,
    /// The format of its file, which is the original's.
    pub format: Format,
    /// The owner's tier as it is now.
    pub tier: Tier,
}

/// What a job makes: thumbnails of one image.
#[derive(Debug)]
pub struct Assignment {
    /// The image.
    pub image: ImageId,
    /// Where the original is.
    pub original: StorageKey,
    /// From the lowest; never none.
    pub thumbnails: Vec<AssignedThumbnail>,
}

/// A thumbnail that a job makes.
#[derive(Debug)]
pub struct AssignedThumbnail {
    /// Which.
    pub id: ThumbnailId,
    /// Where it belongs.
    pub target: StorageKey,
    /// The height that was asked for.
    pub height: Height,
}

/// The facts of a thumbnail's file.
#[derive(Clone, Copy, Debug)]
pub struct MadeFile {
    /// In px.
    pub width: u32,
    /// In px.
    pub height: u32,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// Gives each of the images a row for each of the heights that it lacks; images that are gone meanwhile are left out.
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
pub async fn of_images(connection: &mut PgConnection, images: &[ImageId]) -> sqlx::Result<Vec<Thumbnail>> {
    let images: Vec<i64> = images.iter().map(|image| image.0).collect();
    let rows = sqlx::query_as!(
        ThumbnailRow,
        "SELECT id, image_id, height, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE image_id = ANY ($1) ORDER BY image_id, height",
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
        "SELECT id, image_id, height, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE image_id = $1 AND height = $2",
        image.0,
        i32::from(height),
    );
    row.fetch_optional(connection).await?.map(Thumbnail::try_from).transpose()
}

/// How far a thumbnail is; nothing once its image is deleted.
pub async fn state(connection: &mut PgConnection, id: ThumbnailId) -> sqlx::Result<Option<ThumbnailState>> {
    let row = sqlx::query_as!(
        ThumbnailRow,
        "SELECT id, image_id, height, state, width_px, height_px, bytes, failure_reason
         FROM thumbnails WHERE id = $1",
        id.0,
    );
    let thumbnail = row.fetch_optional(connection).await?.map(Thumbnail::try_from).transpose()?;
    Ok(thumbnail.map(|thumbnail| thumbnail.state))
}

/// The thumbnail of this name with what serving it needs.
pub async fn served(connection: &mut PgConnection, id: ThumbnailId) -> sqlx::Result<Option<ServedThumbnail>> {
    let row = sqlx::query!(
        "SELECT th.id, th.image_id, th.height, th.state, th.width_px, th.height_px, th.bytes, th.failure_reason,
                i.format,
                t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes
         FROM thumbnails th
         JOIN images i ON i.id = th.image_id
         JOIN users u ON u.id = i.owner_id
         JOIN tiers t ON t.id = u.tier_id
         WHERE th.id = $1",
        id.0
    );
    let Some(row) = row.fetch_optional(connection).await? else {
        return Ok(None);
    };
    let thumbnail = ThumbnailRow {
        id: row.id,
        image_id: row.image_id,
        height: row.height,
        state: row.state,
        width_px: row.width_px,
        height_px: row.height_px,
        bytes: row.bytes,
        failure_reason: row.failure_reason,
    };
    Ok(Some(ServedThumbnail {
        thumbnail: thumbnail.try_into()?,
        format: images::format(&row.format)?,
        tier: joined_tier!(row)?,
    }))
}

/// Claims an absent thumbnail for a job; false when another request was first. The caller enqueues the job in the
/// same transaction.
pub async fn claim(
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

/// Claims a failed thumbnail for another job; false when it is not failed. The caller enqueues the job in the same
/// transaction.
pub async fn claim_failed(
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

/// Gives a job that runs the image's other pending thumbnails whose jobs still wait: one decode serves them all, and
/// those jobs will find nothing to do. What another job is about to take is left to it.
pub async fn take_along(connection: &mut PgConnection, job: JobId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE thumbnails SET job_id = $1
         WHERE id IN (
             SELECT other.id
             FROM thumbnails mine
             JOIN thumbnails other ON other.image_id = mine.image_id AND other.state = 'pending'
             JOIN apalis.jobs j ON j.id = other.job_id AND j.status = 'Pending'
             WHERE mine.job_id = $1 AND mine.state = 'pending'
             ORDER BY other.id
             FOR UPDATE OF other SKIP LOCKED
         )",
        job.to_string(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The pending thumbnails that a job is to make; nothing when none is wanted any longer, or another job makes them.
pub async fn assignment(connection: &mut PgConnection, job: JobId) -> sqlx::Result<Option<Assignment>> {
    let rows = sqlx::query!(
        "SELECT th.id, th.image_id, th.height, i.original_id, i.format
         FROM thumbnails th JOIN images i ON i.id = th.image_id
         WHERE th.job_id = $1 AND th.state = 'pending'
         ORDER BY th.height",
        job.to_string(),
    );
    let mut assignment: Option<Assignment> = None;
    for row in rows.fetch_all(connection).await? {
        let format = images::format(&row.format)?;
        let id = ThumbnailId(row.id);
        let height = Height::try_from(i64::from(row.height)).map_err(undecodable)?;
        let assignment = assignment.get_or_insert_with(|| Assignment {
            image: ImageId(row.image_id),
            original: StorageKey::original(OriginalId(row.original_id), format),
            thumbnails: Vec::new(),
        });
        let target = StorageKey::thumbnail(id, format);
        assignment.thumbnails.push(AssignedThumbnail { id, target, height });
    }
    Ok(assignment)
}

/// Says that a pending thumbnail's file is there; false when the row is gone or no longer pending.
pub async fn mark_ready(
    connection: &mut PgConnection,
    id: ThumbnailId,
    file: MadeFile,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE thumbnails SET state = 'ready', width_px = $2, height_px = $3, bytes = $4, finished_at = $5
         WHERE id = $1 AND state = 'pending'",
        id.0,
        signed::<_, i32>(file.width)?,
        signed::<_, i32>(file.height)?,
        signed::<_, i64>(file.bytes)?,
        now,
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}

/// Says that a pending thumbnail cannot be made, and why.
pub async fn mark_failed(
    connection: &mut PgConnection,
    id: ThumbnailId,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE thumbnails SET state = 'failed', failure_reason = $2, finished_at = $3
         WHERE id = $1 AND state = 'pending'",
        id.0,
        reason,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks pending thumbnails whose job was given up as failed; how many. The queue's trigger does so at once; this
/// is for jobs that ended while that trigger was not there.
pub async fn fail_dead(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let updated = sqlx::query!(
        "UPDATE thumbnails th
         SET state = 'failed', failure_reason = 'making it stopped the worker again and again', finished_at = $1
         FROM apalis.jobs j
         WHERE j.id = th.job_id AND th.state = 'pending'
           AND (j.status = 'Killed' OR (j.status = 'Failed' AND j.attempts >= j.max_attempts))",
        now,
    );
    Ok(updated.execute(connection).await?.rows_affected())
}

/// Makes pending thumbnails that no job will ever finish absent again, so that the next request asks anew; how many.
pub async fn release_jobless(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let updated = sqlx::query!(
        "UPDATE thumbnails th SET state = 'absent', job_id = NULL
         WHERE th.state = 'pending'
           AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.id = th.job_id AND j.status <> 'Done')",
    );
    Ok(updated.execute(connection).await?.rows_affected())
}
