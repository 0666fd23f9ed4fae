//! Asking for thumbnails: the first request of one claims its row and enqueues its job in one transaction, so that
//! any number of first requests at once make one job.

use std::time::Duration;

use shared::{
    db,
    domain::{Attempt, Height, Image, ImageId, Thumbnail, ThumbnailId, ThumbnailState, User},
    jobs::{self, GenerateThumbnail, JobId},
    postgres,
};
use sqlx::PgConnection;

use crate::{
    AppState,
    error::{Code, Problem},
    finished::{WaitEnd, Waiter},
};

/// The longest time for the look at the end of a wait.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Has an absent thumbnail made; what it is then, which another request may have decided.
pub(crate) async fn request_thumbnail(state: &AppState, id: ThumbnailId) -> Result<ThumbnailState, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let job = JobId::fresh();
    if db::thumbnails::request(&mut tx, id, job, state.clock.now()).await? {
        jobs::enqueue(&mut tx, job, &GenerateThumbnail { thumbnail: id }).await?;
        tx.commit().await?;
        return Ok(ThumbnailState::Pending);
    }
    current_state(&mut tx, id).await
}

/// Has a thumbnail made again whose object of this attempt is missing or of another size; what it is then.
pub(crate) async fn remake_thumbnail(
    state: &AppState,
    id: ThumbnailId,
    attempt: Attempt,
) -> Result<ThumbnailState, Problem> {
    // a store that is away has no objects at all: that says nothing about this one
    state.storage.verify_now().await?;
    if db::thumbnails::discard_file(&mut *state.pool.acquire().await?, id, attempt).await? {
        tracing::warn!(thumbnail = %id, %attempt, "a thumbnail's file is missing or damaged; it is made again");
    }
    request_thumbnail(state, id).await
}

/// Has a failed thumbnail of one of the user's images tried again.
pub(crate) async fn retry_thumbnail(
    state: &AppState,
    user: &User,
    image: ImageId,
    height: Height,
) -> Result<(Image, Thumbnail), Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let (image, thumbnail) = find_thumbnail(&mut tx, user, image, height).await?;
    let job = JobId::fresh();
    if !db::thumbnails::request_failed(&mut tx, thumbnail.id, job, state.clock.now()).await? {
        let detail = format!("the thumbnail is {}; only a failed one is tried again", thumbnail.state.name());
        return Err(Problem::new(Code::NotFailed, detail));
    }
    jobs::enqueue(&mut tx, job, &GenerateThumbnail { thumbnail: thumbnail.id }).await?;
    tx.commit().await?;
    Ok((image, Thumbnail { state: ThumbnailState::Pending, ..thumbnail }))
}

/// The thumbnail of this height of one of the user's images. A height that the tier has gained gets its row here.
pub(crate) async fn find_thumbnail(
    connection: &mut PgConnection,
    user: &User,
    image: ImageId,
    height: Height,
) -> Result<(Image, Thumbnail), Problem> {
    let found = db::images::of_owner(connection, user.id, image).await?;
    let image = found.ok_or_else(|| Problem::not_found("image"))?;
    user.tier.allows_height(height)?;
    if let Some(thumbnail) = db::thumbnails::of_height(connection, image.id, height).await? {
        return Ok((image, thumbnail));
    }
    db::thumbnails::insert_missing(connection, &[image.id], &user.tier.spec.thumbnail_heights).await?;
    let inserted = db::thumbnails::of_height(connection, image.id, height).await?;
    let thumbnail = inserted.ok_or_else(|| Problem::not_found("thumbnail"))?;
    Ok((image, thumbnail))
}

/// Waits until a pending thumbnail is no longer pending, at most `patience`; what it is then.
pub(crate) async fn wait_for_thumbnail(
    state: &AppState,
    id: ThumbnailId,
    patience: Duration,
) -> Result<ThumbnailState, Problem> {
    let Ok(_permit) = state.waiting.try_acquire() else {
        return Ok(ThumbnailState::Pending);
    };
    // first register, then look: what ends in between is heard
    let mut waiter = state.finished.wait_for(id);
    let current = current_state(&mut *state.pool.acquire().await?, id).await?;
    if !current.is_pending() {
        return Ok(current);
    }
    tokio::select! {
        end = waiter.end() => state_at(end),
        () = state.stop.cancelled() => Ok(ThumbnailState::Pending),
        () = tokio::time::sleep(patience) => last_look(state, &waiter).await,
    }
}

/// What a thumbnail is when the patience for it ends: its notification may have been lost.
async fn last_look(state: &AppState, waiter: &Waiter) -> Result<ThumbnailState, Problem> {
    let is_sure = tokio::time::timeout(LAST_LOOK_LIMIT, state.finished.look()).await.unwrap_or(false);
    match waiter.known_end() {
        Some(end) => state_at(end),
        None if is_sure => Ok(ThumbnailState::Pending),
        None => Err(Problem::unavailable("The database does not answer. Try again soon.")),
    }
}

fn state_at(end: WaitEnd) -> Result<ThumbnailState, Problem> {
    match end {
        WaitEnd::State(state) => Ok(state),
        WaitEnd::Deleted => Err(no_such_file()),
    }
}

fn no_such_file() -> Problem {
    Problem::not_found("file")
}

async fn current_state(connection: &mut PgConnection, id: ThumbnailId) -> Result<ThumbnailState, Problem> {
    db::thumbnails::state(connection, id).await?.ok_or_else(no_such_file)
}
