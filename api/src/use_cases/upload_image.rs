//! Taking in an upload: the file is inspected, stored durably, and only then named by a row. Whatever fails on the way
//! leaves no row, and a file only with a note of its key, by which the cleanup finds it.

use std::time::Duration;

use imaging::Inspection;
use shared::{
    db::{self, images::NewImage},
    domain::{Image, OriginalId, Title, User},
    postgres,
    storage::{Spooled, StorageKey},
};

use super::list_images::{ImageWithThumbnails, find_image};
use crate::{
    AppState,
    error::{Code, Problem},
};

const MINUTE: Duration = Duration::from_mins(1);

/// Counts an upload against the user's uploads per minute, before its body is read.
pub(crate) async fn count_upload(state: &AppState, user: &User) -> Result<(), Problem> {
    let now = state.clock.now();
    let key = format!("upload {}", user.id);
    let reading = db::rate_limits::hit(&mut *state.pool.acquire().await?, &key, MINUTE, now).await?;
    let max = state.limits.uploads_per_minute;
    if reading.hits > max {
        let detail = format!("an account uploads at most {max} files within a minute");
        return Err(
            Problem::new(Code::TooManyUploads, detail).retry_after((reading.resets_at - now).num_seconds())
        );
    }
    Ok(())
}

/// The largest file that the user may upload, in bytes.
pub(crate) fn max_upload_bytes(state: &AppState, user: &User) -> u64 {
    state.limits.upload_max_bytes.min(user.tier.spec.max_upload_bytes.as_u64())
}

/// What of the account's quota is left, in bytes.
pub(crate) fn bytes_left(user: &User) -> u64 {
    user.tier.spec.storage_quota_bytes.as_u64().saturating_sub(user.used_bytes)
}

/// The problem of a file that does not fit into the account's quota.
pub(crate) fn over_quota(user: &User) -> Problem {
    let quota = user.tier.spec.storage_quota_bytes.as_u64();
    let detail = format!(
        "the account uses {} of {quota} bytes; delete images or ask for another tier",
        user.used_bytes
    );
    Problem::new(Code::OverQuota, detail)
}

/// Keeps a spooled file as an image of the user's.
pub(crate) async fn upload_image(
    state: &AppState,
    user: &User,
    file: Spooled,
    title: &Title,
) -> Result<ImageWithThumbnails, Problem> {
    let (file, inspection) = inspect(state, file).await?;
    let original = OriginalId::random();
    let key = StorageKey::original(original, inspection.format);
    state.storage.verify().await?;
    db::uploads::note(&mut *state.pool.acquire().await?, &key).await?;
    state.storage.store_spooled(&file, &key).await?;
    // a folder that was unmounted a moment ago takes files as well, and loses them when it is mounted again
    state.storage.verify_now().await?;
    let new = NewImage {
        owner: user.id,
        original,
        title,
        format: inspection.format,
        width: inspection.width,
        height: inspection.height,
        bytes: file.bytes(),
    };
    match insert(state, user, &new, &key).await? {
        Inserted::Image(image) => find_image(&mut *state.pool.acquire().await?, user, image.id).await,
        Inserted::OverQuota => {
            state.storage.delete(vec![key.clone()]).await?;
            db::uploads::clear(&mut *state.pool.acquire().await?, &key).await?;
            Err(over_quota(user))
        }
        Inserted::Abandoned => {
            let detail = "the upload took more than a day and was given up; send the file again";
            Err(Problem::new(Code::RequestTimeout, detail))
        }
    }
}

async fn inspect(state: &AppState, file: Spooled) -> Result<(Spooled, Inspection), Problem> {
    let limits = state.limits.imaging();
    let inspecting = tokio::task::spawn_blocking(move || {
        let inspection = imaging::inspect(&mut file.open()?, &limits)?;
        Ok((file, inspection))
    });
    inspecting.await.map_err(|error| Problem::internal(&error))?
}

/// What became of a stored upload.
enum Inserted {
    Image(Image),
    /// The account's quota does not hold it; nothing was inserted.
    OverQuota,
    /// The cleanup took it for one that was interrupted; nothing was inserted.
    Abandoned,
}

async fn insert(
    state: &AppState,
    user: &User,
    new: &NewImage<'_>,
    key: &StorageKey,
) -> Result<Inserted, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let quota = user.tier.spec.storage_quota_bytes.as_u64();
    if !db::users::reserve_bytes(&mut tx, user.id, new.bytes, quota).await? {
        return Ok(Inserted::OverQuota);
    }
    let image = db::images::insert(&mut tx, new, state.clock.now()).await?;
    db::thumbnails::insert_missing(&mut tx, &[image.id], &user.tier.spec.thumbnail_heights).await?;
    if !db::uploads::clear(&mut tx, key).await? {
        return Ok(Inserted::Abandoned);
    }
    tx.commit().await?;
    Ok(Inserted::Image(image))
}
