//! Deleting an image: the rows at once, the files by a job.

use shared::{
    db,
    domain::{Image, ImageId, ThumbnailState, User},
    jobs::{self, DeleteObjects, JobId},
    postgres,
    storage::StorageKey,
};
use sqlx::{PgConnection, PgPool};

use crate::{AppState, error::Problem};

/// What goes when an image is deleted.
#[derive(Debug)]
pub(crate) struct Cascade {
    pub(crate) image: Image,
    /// Thumbnails that were made.
    pub(crate) thumbnails: u64,
    pub(crate) live_links: u64,
}

/// What would go with one of the user's images.
pub(crate) async fn cascade(state: &AppState, user: &User, id: ImageId) -> Result<Cascade, Problem> {
    let mut connection = state.pool.acquire().await?;
    let found = db::images::of_owner(&mut connection, user.id, id).await?;
    let image = found.ok_or_else(|| Problem::not_found("image"))?;
    let thumbnails = db::thumbnails::of_images(&mut connection, &[id]).await?;
    let made = thumbnails.iter().filter(|thumbnail| matches!(thumbnail.state, ThumbnailState::Ready { .. }));
    let live_links = db::links::count_live(&mut connection, id, state.clock.now()).await?;
    Ok(Cascade { image, thumbnails: made.count() as u64, live_links: live_links.unsigned_abs() })
}

/// Deletes one of the user's images with its thumbnails and links.
pub(crate) async fn delete_image(pool: &PgPool, user: &User, id: ImageId) -> Result<(), Problem> {
    let mut tx = postgres::begin(pool).await?;
    let found = db::images::lock(&mut tx, user.id, id).await?;
    let image = found.ok_or_else(|| Problem::not_found("image"))?;
    delete_locked(&mut tx, &image).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes an image that the caller's transaction has locked.
pub(super) async fn delete_locked(connection: &mut PgConnection, image: &Image) -> Result<(), Problem> {
    let thumbnails = db::thumbnails::of_images(connection, &[image.id]).await?;
    // every attempt: one may be under way or have left its object; deleting a missing object costs nothing
    let thumbnails = thumbnails.iter().flat_map(|thumbnail| {
        let attempts = thumbnail.attempt.up_to_this();
        attempts.map(|attempt| StorageKey::thumbnail(thumbnail.id, attempt, image.format))
    });
    let keys = std::iter::once(StorageKey::original(image.original, image.format)).chain(thumbnails);
    let job = DeleteObjects { keys: keys.map(|key| key.to_string()).collect() };
    db::images::delete(connection, image.id).await?;
    db::users::release_bytes(connection, image.owner, image.bytes).await?;
    jobs::enqueue(connection, JobId::fresh(), &job).await?;
    Ok(())
}
