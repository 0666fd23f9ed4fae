//! Making thumbnails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use imaging::Thumbnail;
use sha2::{Digest, Sha256};
use shared::{
    db::{
        self,
        claims::{Assignment, Claim, MadeFile},
    },
    domain::{FileDigest, ImageId},
    installation,
    jobs::GenerateThumbnail,
    metrics::{CLAIMS, THUMBNAIL_STAGE_SECONDS, THUMBNAILS},
    postgres,
};

use super::{JobContext, RunnableJob};
use crate::{
    Context,
    queue::{HeldJob, JobError, Trouble},
};

/// A thumbnail's job gets so many times the CPU time of a decode, as it may be tried once more
/// alone, on busy cores.
const DECODE_TIMES: u32 = 4;
/// Besides decoding, it reads and writes files: it gets this much longer.
const FILE_TIME: Duration = Duration::from_secs(40);

impl RunnableJob for GenerateThumbnail {
    fn concurrency(context: &JobContext) -> usize {
        context.decode_pool.size()
    }

    fn time_limit(context: &JobContext) -> Duration {
        context.decode_pool.limit() * DECODE_TIMES + FILE_TIME
    }

    /// Makes the thumbnail, unless it is there or no longer wanted, and with it the others of its
    /// image that wait. What is wrong with the image is recorded and done with; only what may go
    /// better another time is an error.
    async fn run(self, held: HeldJob, context: Arc<JobContext>) -> Result<(), JobError> {
        let mut connection = context.pool.acquire().await?;
        let claimed = db::claims::claim(&mut connection, held.id, &held.worker).await?;
        drop(connection);
        let Some(assignment) = claimed else {
            CLAIMS.add(["unneeded"], 1);
            return Ok(());
        };
        CLAIMS.add(["claimed"], assignment.thumbnails.len() as u64);
        make(&context, &assignment).await
    }
}

/// The claim fences every write: once another worker claims the same thumbnail, this one changes no
/// row, and deletes what it wrote.
async fn make(context: &JobContext, assignment: &Assignment) -> Result<(), JobError> {
    let started = Instant::now();
    let original = stage("fetch", read_original(context, assignment)).await?;
    let heights = assignment.thumbnails.iter().map(|claim| claim.height.px()).collect();
    let making = stage("make", context.decode_pool.thumbnails(original, heights));
    let rendition = match making.await? {
        Ok(rendition) => rendition,
        Err(error) => {
            tracing::info!(image = %assignment.image, %error, "an image cannot be decoded");
            return fail(context, assignment, &error.to_string()).await;
        }
    };
    let image = assignment.image;
    for (claim, made) in assignment.thumbnails.iter().zip(rendition.thumbnails) {
        let bytes = made.bytes.len();
        if keep(context, image, claim, made, &rendition.placeholder).await? {
            THUMBNAILS.add(["made"], 1);
            let milliseconds = started.elapsed().as_millis();
            let Claim { id, attempt, height, .. } = claim;
            tracing::info!(thumbnail = %id, %image, %height, %attempt, bytes, milliseconds, "made a thumbnail");
        }
    }
    Ok(())
}

async fn read_original(context: &Context, assignment: &Assignment) -> Result<Bytes, JobError> {
    let key = &assignment.original;
    if let Some(object) = context.storage.get(key, None).await? {
        if object.size() != assignment.original_bytes {
            return Err(Trouble::OriginalDamaged(key.to_string()).into());
        }
        return Ok(object.bytes().await?);
    }
    // a store that is away has no objects at all; only one that is there can have lost this one
    context.storage.verify_now().await?;
    Err(Trouble::OriginalMissing(key.to_string()).into())
}

async fn fail(context: &Context, assignment: &Assignment, reason: &str) -> Result<(), JobError> {
    let mut connection = context.pool.acquire().await?;
    for claim in &assignment.thumbnails {
        if db::claims::mark_failed(&mut connection, claim, reason, context.clock.now()).await? {
            THUMBNAILS.add(["refused"], 1);
            tracing::info!(thumbnail = %claim.id, reason, "a thumbnail cannot be made");
        }
    }
    Ok(())
}

/// First the object, then the row that names it; false when the claim was lost meanwhile.
async fn keep(
    context: &Context,
    image: ImageId,
    claim: &Claim,
    made: Thumbnail,
    placeholder: &[u8],
) -> Result<bool, JobError> {
    let file = MadeFile {
        width: made.width,
        height: made.height,
        bytes: made.bytes.len() as u64,
        digest: FileDigest(Sha256::digest(&made.bytes).into()),
    };
    context.storage.verify().await?;
    let putting = async { Ok(context.storage.put(&claim.target, made.bytes.into()).await?) };
    stage("put", putting).await?;
    let is_kept = stage("commit", commit(context, image, claim, file, placeholder)).await?;
    if !is_kept {
        CLAIMS.add(["lost"], 1);
        tracing::info!(thumbnail = %claim.id, attempt = %claim.attempt, "the claim was lost; nothing is kept");
        // on a copy of the database, the original's worker may have made the same attempt and kept
        // it
        installation::check_ownership(&mut *context.pool.acquire().await?, &context.storage)
            .await?;
        context.storage.delete(vec![claim.target.clone()]).await?;
    }
    Ok(is_kept)
}

/// Writes the row; false when the claim was lost.
async fn commit(
    context: &Context,
    image: ImageId,
    claim: &Claim,
    file: MadeFile,
    placeholder: &[u8],
) -> Result<bool, JobError> {
    let mut tx = postgres::begin(&context.pool).await?;
    // the image before the thumbnail, as a deletion of the image locks them: the other order could
    // deadlock
    db::images::set_placeholder(&mut tx, image, placeholder).await?;
    let is_kept = db::claims::mark_ready(&mut tx, claim, file, context.clock.now()).await?;
    if is_kept {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(is_kept)
}

/// Runs a stage of a job and records its time if it succeeds.
async fn stage<T>(
    name: &str,
    running: impl Future<Output = Result<T, JobError>>,
) -> Result<T, JobError> {
    let started = Instant::now();
    let result = running.await?;
    THUMBNAIL_STAGE_SECONDS.record_since([name], started);
    Ok(result)
}
