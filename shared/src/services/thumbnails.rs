//! Thumbnails: the first request of one claims its row and enqueues its job in one transaction, so
//! that any number of simultaneous first requests enqueue one job.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use sqlx::PgConnection;

use super::{
    ServiceError, Services,
    images::{self, ImageWithThumbnails},
    jobs::RETRY_MAX,
};
use crate::{
    db,
    domain::{
        Actor, Attempt, AuditAction, AuditObject, Height, Image, ImageId, Thumbnail, ThumbnailId,
        ThumbnailState, User,
    },
    jobs::{self, Flow, JobId},
};

/// An account whose first waiting thumbnail has waited this long cannot request further ones.
const MAX_BACKLOG_AGE: Duration = Duration::from_mins(1);

/// Enqueues an absent thumbnail; returns its state afterwards, which another request may have
/// decided.
pub async fn request(services: &Services, id: ThumbnailId) -> Result<ThumbnailState, ServiceError> {
    let mut tx = services.begin().await?;
    refuse_backlog(services, &mut tx, id).await?;
    let job = JobId::fresh();
    if db::thumbnails::request(&mut tx, id, job, services.clock.now()).await? {
        jobs::enqueue_thumbnail(&mut tx, job, id, Flow::WaitedFor).await?;
        tx.commit().await?;
        return Ok(ThumbnailState::Pending);
    }
    state(&mut tx, id).await
}

/// Has the thumbnails of these heights of an account's images made that nobody has requested yet,
/// after what others wait for. Returns the images that there are, with all their thumbnails.
pub async fn prepare(
    services: &Services,
    user: &User,
    images: &[ImageId],
    heights: &[Height],
) -> Result<Vec<ImageWithThumbnails>, ServiceError> {
    for height in heights {
        user.tier.allows_height(*height)?;
    }
    let mut found = images::find_many(services, user, images).await?;
    let wanted = found.iter().flat_map(|found| &found.thumbnails);
    let wanted = wanted.filter(|thumbnail| heights.contains(&thumbnail.height));
    let ids: Vec<ThumbnailId> = wanted.map(|thumbnail| thumbnail.id).collect();
    let requested = request_prepared(services, &ids).await?;
    for thumbnail in found.iter_mut().flat_map(|found| &mut found.thumbnails) {
        if requested.contains(&thumbnail.id) {
            thumbnail.state = ThumbnailState::Pending;
        }
    }
    Ok(found)
}

/// Enqueues those of these thumbnails that are absent; which those were.
async fn request_prepared(
    services: &Services,
    ids: &[ThumbnailId],
) -> Result<HashSet<ThumbnailId>, ServiceError> {
    let mut tx = services.begin().await?;
    if services.queue_length.is_above(services.limits.waiting_thumbnails, &mut tx).await? {
        return Err(ServiceError::QueueFull);
    }
    let mut requested = Vec::new();
    // locked in one order, as another request may prepare the same ones
    for id in db::thumbnails::lock_absent(&mut tx, ids).await? {
        let job = JobId::fresh();
        if db::thumbnails::request(&mut tx, id, job, services.clock.now()).await? {
            requested.push((id, job));
        }
    }
    // the flow's share is locked last
    for (id, job) in &requested {
        jobs::enqueue_thumbnail(&mut tx, *job, *id, Flow::Prepared).await?;
    }
    tx.commit().await?;
    Ok(requested.into_iter().map(|(id, _)| id).collect())
}

/// Has a pending thumbnail that nobody waited for made as one that somebody waits for.
pub async fn promote(services: &Services, id: ThumbnailId) -> Result<(), ServiceError> {
    db::queue::promote(&mut *services.connection().await?, id).await?;
    Ok(())
}

/// Refuses to enqueue this thumbnail while too many wait, of its owner or of everybody.
async fn refuse_backlog(
    services: &Services,
    connection: &mut PgConnection,
    id: ThumbnailId,
) -> Result<(), ServiceError> {
    let age = db::queue::backlog_age(connection, id).await?;
    if age.is_some_and(|age| age > MAX_BACKLOG_AGE) {
        return Err(ServiceError::Backlog);
    }
    if services.queue_length.is_above(services.limits.waiting_thumbnails, connection).await? {
        return Err(ServiceError::QueueFull);
    }
    Ok(())
}

/// A thumbnail's state. A deleted one is not found.
pub async fn state(
    connection: &mut PgConnection,
    id: ThumbnailId,
) -> Result<ThumbnailState, ServiceError> {
    db::thumbnails::state(connection, id).await?.ok_or(ServiceError::NotFound("file"))
}

/// Enqueues a thumbnail whose object of this attempt is missing or has another size; returns its
/// state afterwards.
pub async fn remake(
    services: &Services,
    id: ThumbnailId,
    attempt: Attempt,
) -> Result<ThumbnailState, ServiceError> {
    // a store that is away has no objects at all: that says nothing about this one
    services.storage.verify_now().await?;
    if db::thumbnails::discard_file(&mut *services.connection().await?, id, attempt).await? {
        tracing::warn!(thumbnail = %id, %attempt, "a thumbnail's file is missing or damaged; it is made again");
    }
    request(services, id).await
}

/// The thumbnail of this height of one of an account's images. A height that is new in the tier
/// gets its row here.
pub async fn find(
    services: &Services,
    user: &User,
    image: ImageId,
    height: Height,
) -> Result<(Image, Thumbnail), ServiceError> {
    find_with(&mut *services.connection().await?, user, image, height).await
}

async fn find_with(
    connection: &mut PgConnection,
    user: &User,
    image: ImageId,
    height: Height,
) -> Result<(Image, Thumbnail), ServiceError> {
    let image = images::find_owned(connection, user, image).await?;
    user.tier.allows_height(height)?;
    if let Some(thumbnail) = db::thumbnails::of_height(connection, image.id, height).await? {
        return Ok((image, thumbnail));
    }
    db::thumbnails::insert_missing(connection, &[image.id], &user.tier.spec.thumbnail_heights)
        .await?;
    let inserted = db::thumbnails::of_height(connection, image.id, height).await?;
    Ok((image, inserted.ok_or(ServiceError::NotFound("thumbnail"))?))
}

/// Enqueues a failed thumbnail of one of an account's images again.
pub async fn retry(
    services: &Services,
    user: &User,
    image: ImageId,
    height: Height,
) -> Result<(Image, Thumbnail), ServiceError> {
    let mut tx = services.begin().await?;
    let (image, thumbnail) = find_with(&mut tx, user, image, height).await?;
    refuse_backlog(services, &mut tx, thumbnail.id).await?;
    let job = JobId::fresh();
    if !db::thumbnails::request_failed(&mut tx, thumbnail.id, job, services.clock.now()).await? {
        return Err(ServiceError::NotFailed { state: thumbnail.state.name() });
    }
    jobs::enqueue_thumbnail(&mut tx, job, thumbnail.id, Flow::WaitedFor).await?;
    tx.commit().await?;
    Ok((image, Thumbnail { state: ThumbnailState::Pending, ..thumbnail }))
}

/// Enqueues at most 1,000 thumbnails of any account that failed for this reason; returns how many.
pub async fn retry_failed(
    services: &Services,
    actor: Actor<'_>,
    reason: &str,
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let now = services.clock.now();
    let retried = jobs::retry_failed_thumbnails(&mut tx, Some(reason), RETRY_MAX, now).await?;
    if retried > 0 {
        let object = AuditObject::thumbnails(reason);
        let changes = json!({ "count": retried });
        services.record(&mut tx, actor, AuditAction::Retry, object, changes).await?;
    }
    tx.commit().await?;
    Ok(retried)
}
