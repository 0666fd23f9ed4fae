//! Uploads: the file is inspected, stored durably, and only then gets its row. A failure on the way
//! leaves no row, and an object only with a note of its key, by which the cleanup finds it.

use std::time::Duration;

use imaging::Inspection;
use sqlx::PgConnection;

use super::{
    RateLimit, ServiceError, Services,
    idempotency::Once,
    images::{self, ImageWithThumbnails},
};
use crate::{
    db::{self, images::NewImage},
    domain::{Image, OriginalId, Title, User, UserId},
    metrics::{UPLOADED_BYTES, UPLOADS},
    storage::{Spooled, StorageKey},
};

const MINUTE: Duration = Duration::from_mins(1);

/// Counts an upload against the account's uploads per minute, before its body is read; returns what
/// is left.
pub async fn count(services: &Services, user: &User) -> Result<RateLimit, ServiceError> {
    let now = services.clock.now();
    let key = counter(user.id);
    let reading =
        db::rate_limits::hit(&mut *services.connection().await?, &key, MINUTE, now).await?;
    let quota = services.limits.uploads_per_minute;
    let limit = RateLimit::unused("uploads", quota, MINUTE).read(reading, now);
    if reading.hits > quota {
        return Err(ServiceError::TooManyUploads { limit });
    }
    Ok(limit)
}

/// The key of an account's counter.
fn counter(user: UserId) -> String {
    format!("upload {user}")
}

/// Deletes an account's counter.
pub(super) async fn forget_count(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    db::rate_limits::reset(connection, &counter(user)).await.map(drop)
}

/// The largest file that the account may upload, in bytes.
pub fn max_bytes(services: &Services, user: &User) -> u64 {
    services.limits.upload_max_bytes.min(user.tier.spec.max_upload_bytes.as_u64())
}

/// The error for a file that does not fit into the account's quota.
pub fn over_quota(user: &User) -> ServiceError {
    let quota_bytes = user.tier.spec.storage_quota_bytes.as_u64();
    ServiceError::OverQuota { used_bytes: user.used_bytes, quota_bytes }
}

/// Stores a spooled file as an image of the account.
pub async fn store(
    services: &Services,
    user: &User,
    file: Spooled,
    title: &Title,
    once: Option<Once<'_>>,
) -> Result<ImageWithThumbnails, ServiceError> {
    let (file, inspection) = inspect(services, file).await?;
    let original = OriginalId::random();
    let key = StorageKey::original(original, inspection.format);
    services.storage.verify().await?;
    db::uploads::note(&mut *services.connection().await?, &key).await?;
    services.storage.store_spooled(&file, &key).await?;
    // a folder that was unmounted a moment ago takes files as well, and loses them when it is
    // mounted again
    services.storage.verify_now().await?;
    let new = NewImage {
        owner: user.id,
        original,
        title,
        format: inspection.format,
        width: inspection.width,
        height: inspection.height,
        bytes: file.bytes(),
        digest: file.digest(),
    };
    match insert(services, user, &new, &key, once).await? {
        Inserted::Image(image) => {
            UPLOADS.add([], 1);
            UPLOADED_BYTES.add([], new.bytes);
            images::find(services, user, image.id).await
        }
        Inserted::OverQuota => {
            take_back(services, &key).await?;
            Err(over_quota(user))
        }
        Inserted::AccountClosed => {
            take_back(services, &key).await?;
            Err(ServiceError::AccountClosed)
        }
        Inserted::Expired => Err(ServiceError::UploadExpired),
    }
}

/// Deletes an object that gets no row.
async fn take_back(services: &Services, key: &StorageKey) -> Result<(), ServiceError> {
    services.storage.delete(vec![key.clone()]).await?;
    db::uploads::clear(&mut *services.connection().await?, key).await?;
    Ok(())
}

async fn inspect(
    services: &Services,
    file: Spooled,
) -> Result<(Spooled, Inspection), ServiceError> {
    let limits = services.limits.imaging();
    let inspecting = tokio::task::spawn_blocking(move || {
        let inspection = imaging::inspect(&mut file.open()?, &limits)?;
        Ok((file, inspection))
    });
    inspecting.await?
}

enum Inserted {
    Image(Image),
    OverQuota,
    /// The account was closed since the upload began.
    AccountClosed,
    /// The cleanup has deleted the object.
    Expired,
}

async fn insert(
    services: &Services,
    user: &User,
    new: &NewImage<'_>,
    key: &StorageKey,
    once: Option<Once<'_>>,
) -> Result<Inserted, ServiceError> {
    let mut tx = services.begin().await?;
    let quota = user.tier.spec.storage_quota_bytes.as_u64();
    if !db::users::reserve_bytes(&mut tx, user.id, new.bytes, quota).await? {
        return Ok(if db::users::is_closed(&mut tx, user.id).await? {
            Inserted::AccountClosed
        } else {
            Inserted::OverQuota
        });
    }
    let image = db::images::insert(&mut tx, new, services.clock.now()).await?;
    db::thumbnails::insert_missing(&mut tx, &[image.id], &user.tier.spec.thumbnail_heights).await?;
    if !db::uploads::clear(&mut tx, key).await? {
        return Ok(Inserted::Expired);
    }
    if let Some(once) = once {
        once.complete(&mut tx, &image.id.to_string()).await?;
    }
    tx.commit().await?;
    Ok(Inserted::Image(image))
}
