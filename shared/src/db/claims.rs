//! What a worker claims, and how its claim ends.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{images, signed, undecodable, unsigned};
use crate::{
    domain::{Attempt, FileDigest, Height, ImageId, OriginalId, ThumbnailId},
    jobs::JobId,
    storage::StorageKey,
};

/// Thumbnails of one image that one job makes.
#[derive(Debug)]
pub struct Assignment {
    pub image: ImageId,
    /// The original's key.
    pub original: StorageKey,
    /// The original's size in bytes.
    pub original_bytes: u64,
    /// From the lowest; at least one.
    pub thumbnails: Vec<Claim>,
}

/// A worker's right to make a thumbnail. It lasts until another worker claims the same thumbnail.
#[derive(Clone, Debug)]
pub struct Claim {
    pub id: ThumbnailId,
    /// The job for which it was claimed.
    pub job: JobId,
    /// The number of this claim.
    pub attempt: Attempt,
    /// The key of the object that this attempt writes, and no other.
    pub target: StorageKey,
    /// The height that the tier names.
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
    pub digest: FileDigest,
}

/// Claims the pending thumbnails of a job, and with them those of the same image whose jobs still
/// wait: one decode serves them all. Nothing when none is wanted any longer, or when the worker
/// does not hold the job.
///
/// The statement locks the jobs' rows as well, so no other worker is about to start what it takes.
pub async fn claim(
    connection: &mut PgConnection,
    job: JobId,
    worker: &str,
) -> sqlx::Result<Option<Assignment>> {
    let rows = sqlx::query!(
        r#"WITH held AS (
               SELECT id FROM apalis.jobs
               WHERE id = $1 AND lock_by = $2 AND status IN ('Queued', 'Running')
               FOR UPDATE
           ), own AS (
               SELECT th.id, th.image_id FROM held JOIN thumbnails th ON th.job_id = held.id
               WHERE th.state = 'pending'
               ORDER BY th.id
               FOR UPDATE OF th
           ), others AS (
               SELECT other.id
               FROM (SELECT DISTINCT image_id FROM own) AS image
               JOIN thumbnails other ON other.image_id = image.image_id AND other.state = 'pending'
               JOIN apalis.jobs waiting ON waiting.id = other.job_id AND waiting.status = 'Pending'
               WHERE waiting.id <> $1
               ORDER BY other.id
               FOR UPDATE OF other, waiting SKIP LOCKED
           )
           UPDATE thumbnails th SET job_id = $1, attempt = th.attempt + 1
           FROM (SELECT id FROM own UNION ALL SELECT id FROM others) AS claimed, images i
           WHERE th.id = claimed.id AND i.id = th.image_id
           RETURNING th.id, th.image_id, th.height, th.attempt, i.original_id, i.format, i.bytes"#,
        job.to_string(),
        worker,
    );
    let mut assignment: Option<Assignment> = None;
    for row in rows.fetch_all(connection).await? {
        let format = images::format(&row.format)?;
        let (id, attempt) = (ThumbnailId(row.id), Attempt(unsigned(row.attempt)?));
        let height = Height::try_from(i64::from(row.height)).map_err(undecodable)?;
        let original_bytes = unsigned(row.bytes)?;
        let assignment = assignment.get_or_insert_with(|| Assignment {
            original_bytes,
            image: ImageId(row.image_id),
            original: StorageKey::original(OriginalId(row.original_id), format),
            thumbnails: Vec::new(),
        });
        let target = StorageKey::thumbnail(id, attempt, format);
        assignment.thumbnails.push(Claim { id, job, attempt, target, height });
    }
    if let Some(assignment) = &mut assignment {
        assignment.thumbnails.sort_by_key(|claim| claim.height.px());
    }
    Ok(assignment)
}

/// Records that a claimed thumbnail's file is there; false when the claim was lost or the row is
/// gone.
pub async fn mark_ready(
    connection: &mut PgConnection,
    claim: &Claim,
    file: MadeFile,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE thumbnails SET state = 'ready', width_px = $3, height_px = $4, bytes = $5, sha256 = $8, finished_at = $6
         WHERE id = $1 AND attempt = $2 AND job_id = $7 AND state = 'pending'",
        claim.id.0,
        signed::<_, i32>(claim.attempt.0)?,
        signed::<_, i32>(file.width)?,
        signed::<_, i32>(file.height)?,
        signed::<_, i64>(file.bytes)?,
        now,
        claim.job.to_string(),
        &file.digest.0,
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}

/// Records that a claimed thumbnail cannot be made, and why; false when the claim was lost or the
/// row is gone.
pub async fn mark_failed(
    connection: &mut PgConnection,
    claim: &Claim,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE thumbnails SET state = 'failed', failure_reason = $3, finished_at = $4
         WHERE id = $1 AND attempt = $2 AND job_id = $5 AND state = 'pending'",
        claim.id.0,
        signed::<_, i32>(claim.attempt.0)?,
        reason,
        now,
        claim.job.to_string(),
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}
