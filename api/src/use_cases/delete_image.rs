//! Deleting an image: the rows at once, the files by a job.

use shared::{
    db,
    domain::{ImageId, User},
    jobs::{self, DeleteObjects, JobId},
    storage::StorageKey,
};
use sqlx::PgPool;

use crate::error::Problem;

/// Deletes one of the user's images with its thumbnails and links.
pub(crate) async fn delete_image(pool: &PgPool, user: &User, id: ImageId) -> Result<(), Problem> {
    let mut tx = pool.begin().await?;
    let found = db::images::lock(&mut tx, user.id, id).await?;
    let image = found.ok_or_else(|| Problem::not_found("image"))?;
    let thumbnails = db::thumbnails::of_images(&mut tx, &[id]).await?;
    // those that were never made as well: one may be under way, and deleting what is not there costs nothing
    let thumbnails = thumbnails.iter().map(|thumbnail| StorageKey::thumbnail(thumbnail.id, image.format));
    let keys = std::iter::once(StorageKey::original(image.original, image.format)).chain(thumbnails);
    let job = DeleteObjects { keys: keys.map(|key| key.to_string()).collect() };
    db::images::delete(&mut tx, id).await?;
    db::users::release_bytes(&mut tx, user.id, image.bytes).await?;
    jobs::enqueue(&mut tx, JobId::fresh(), &job).await?;
    tx.commit().await?;
    Ok(())
}
