//! Making a thumbnail.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use imaging::{Rendition, Thumbnail, ThumbnailError};
use shared::{
    db::{
        self,
        thumbnails::{Assignment, MadeFile},
    },
    domain::ThumbnailId,
    jobs::GenerateThumbnail,
};

use crate::{Context, decode_pool::DecodePool, queue::JobError};

/// Makes the thumbnail, unless it is there or no longer wanted. What is wrong with the image is written down and done
/// with; only what may go better another time is an error.
pub(crate) async fn generate_thumbnail(
    job: GenerateThumbnail,
    context: Arc<Context>,
    decode_pool: DecodePool,
) -> Result<(), JobError> {
    let started = Instant::now();
    let id = job.thumbnail;
    let assignment = db::thumbnails::assignment(&mut *context.pool.acquire().await?, id).await?;
    let Some(assignment) = assignment else {
        return Ok(());
    };
    let Some(original) = context.storage.get(&assignment.original, None).await? else {
        return fail(&context, id, "the original file is missing").await;
    };
    let original: Bytes = original.bytes().await?;
    let made = decode_pool.thumbnails(original, vec![assignment.height.px()]).await?;
    let (thumbnail, placeholder) = match made.map(first) {
        Ok(Some(made)) => made,
        Ok(None) => return Err(JobError::Failed("the decoder made nothing".to_owned())),
        Err(error) => return fail(&context, id, &reason(&error)).await,
    };
    let bytes = thumbnail.bytes.len();
    keep(&context, id, &assignment, thumbnail, &placeholder).await?;
    let milliseconds = started.elapsed().as_millis();
    tracing::info!(thumbnail = %id, image = %assignment.image, height = %assignment.height, bytes, milliseconds, "made a thumbnail");
    Ok(())
}

fn first(rendition: Rendition) -> Option<(Thumbnail, Vec<u8>)> {
    rendition.thumbnails.into_iter().next().map(|thumbnail| (thumbnail, rendition.placeholder))
}

/// What the owner of the image is told.
fn reason(error: &ThumbnailError) -> String {
    match error {
        ThumbnailError::DeadlineExceeded(_) => "decoding the image took too long".to_owned(),
        other => other.to_string(),
    }
}

async fn fail(context: &Context, id: ThumbnailId, reason: &str) -> Result<(), JobError> {
    tracing::info!(thumbnail = %id, reason, "a thumbnail cannot be made");
    let mut connection = context.pool.acquire().await?;
    db::thumbnails::mark_failed(&mut connection, id, reason, context.clock.now()).await?;
    Ok(())
}

/// First the file, then the row that tells of it.
async fn keep(
    context: &Context,
    id: ThumbnailId,
    assignment: &Assignment,
    thumbnail: Thumbnail,
    placeholder: &[u8],
) -> Result<(), JobError> {
    let bytes = thumbnail.bytes.len() as u64;
    let file = MadeFile { width: thumbnail.width, height: thumbnail.height, bytes };
    context.storage.put(&assignment.target, thumbnail.bytes.into()).await?;
    let mut tx = context.pool.begin().await?;
    // the image before the thumbnail, as whoever deletes the image locks them: the other order could deadlock
    db::images::set_placeholder(&mut tx, assignment.image, placeholder).await?;
    let is_kept = db::thumbnails::mark_ready(&mut tx, id, file, context.clock.now()).await?;
    // deleted meanwhile, and perhaps its files were as well, before this one was written
    let is_orphan = !is_kept && db::thumbnails::state(&mut tx, id).await?.is_none();
    tx.commit().await?;
    if is_orphan {
        context.storage.delete(vec![assignment.target.clone()]).await?;
    }
    Ok(())
}
