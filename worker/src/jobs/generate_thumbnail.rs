//! Making thumbnails.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use imaging::{Thumbnail, ThumbnailError};
use shared::{
    db::{
        self,
        thumbnails::{AssignedThumbnail, Assignment, MadeFile},
    },
    domain::ImageId,
    jobs::JobId,
    postgres,
};

use crate::{Context, decode_pool::DecodePool, queue::JobError};

/// Makes the thumbnail that the job is for, unless it is there or no longer wanted, and with it the others of its image
/// that wait. What is wrong with the image is written down and done with; only what may go better another time is an
/// error.
pub(crate) async fn generate_thumbnail(
    job: JobId,
    context: Arc<Context>,
    decode_pool: DecodePool,
) -> Result<(), JobError> {
    let started = Instant::now();
    let Some(assignment) = assignment(&context, job).await? else {
        return Ok(());
    };
    let Some(original) = context.storage.get(&assignment.original, None).await? else {
        return fail(&context, &assignment, "the original file is missing").await;
    };
    let original: Bytes = original.bytes().await?;
    let heights = assignment.thumbnails.iter().map(|thumbnail| thumbnail.height.px()).collect();
    let rendition = match decode_pool.thumbnails(original, heights).await? {
        Ok(rendition) => rendition,
        Err(error) => {
            tracing::info!(image = %assignment.image, %error, "an image cannot be decoded");
            return fail(&context, &assignment, &reason(&error)).await;
        }
    };
    let image = assignment.image;
    for (assigned, made) in assignment.thumbnails.iter().zip(rendition.thumbnails) {
        let (id, height, bytes) = (assigned.id, assigned.height, made.bytes.len());
        keep(&context, image, assigned, made, &rendition.placeholder).await?;
        let milliseconds = started.elapsed().as_millis();
        tracing::info!(thumbnail = %id, %image, %height, bytes, milliseconds, "made a thumbnail");
    }
    Ok(())
}

async fn assignment(context: &Context, job: JobId) -> Result<Option<Assignment>, JobError> {
    let mut connection = context.pool.acquire().await?;
    db::thumbnails::take_along(&mut connection, job).await?;
    Ok(db::thumbnails::assignment(&mut connection, job).await?)
}

/// What the owner of the image is told; in which words a decoder complains is for the log.
fn reason(error: &ThumbnailError) -> String {
    match error {
        ThumbnailError::Decode { .. } => "the image is damaged".to_owned(),
        ThumbnailError::DeadlineExceeded(_) => "decoding the image took too long".to_owned(),
        other => other.to_string(),
    }
}

async fn fail(context: &Context, assignment: &Assignment, reason: &str) -> Result<(), JobError> {
    let mut connection = context.pool.acquire().await?;
    for AssignedThumbnail { id, .. } in &assignment.thumbnails {
        tracing::info!(thumbnail = %id, reason, "a thumbnail cannot be made");
        db::thumbnails::mark_failed(&mut connection, *id, reason, context.clock.now()).await?;
    }
    Ok(())
}

/// First the file, then the row that tells of it.
async fn keep(
    context: &Context,
    image: ImageId,
    assigned: &AssignedThumbnail,
    made: Thumbnail,
    placeholder: &[u8],
) -> Result<(), JobError> {
    let AssignedThumbnail { id, target, .. } = assigned;
    let file = MadeFile { width: made.width, height: made.height, bytes: made.bytes.len() as u64 };
    context.storage.put(target, made.bytes.into()).await?;
    let mut tx = postgres::begin(&context.pool).await?;
    // the image before the thumbnail, as whoever deletes the image locks them: the other order could deadlock
    db::images::set_placeholder(&mut tx, image, placeholder).await?;
    let is_kept = db::thumbnails::mark_ready(&mut tx, *id, file, context.clock.now()).await?;
    // deleted meanwhile, and perhaps its files were as well, before this one was written
    let is_orphan = !is_kept && db::thumbnails::state(&mut tx, *id).await?.is_none();
    tx.commit().await?;
    if is_orphan {
        context.storage.delete(vec![target.clone()]).await?;
    }
    Ok(())
}
