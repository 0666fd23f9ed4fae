//! Images: listing, renaming and deleting them.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use sqlx::PgConnection;

use super::{ServiceError, Services};
use crate::{
    db,
    domain::{
        Actor, AuditAction, AuditObject, Image, ImageId, Thumbnail, Tier, Title, User, UserId,
    },
    jobs::{self, DeleteObjects, JobId},
    storage::StorageKey,
};

/// An image and its thumbnails.
#[derive(Debug)]
pub struct ImageWithThumbnails {
    pub image: Image,
    /// Its thumbnails in order of height, also those that the tier no longer includes.
    pub thumbnails: Vec<Thumbnail>,
}

/// A page of an account's images.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub images: Vec<ImageWithThumbnails>,
    /// The last image of the page, if others follow.
    pub continues_after: Option<ImageId>,
}

/// At most `limit` of an account's images, newest first, from the one after `before` on. Never
/// reads the storage.
pub async fn list(
    services: &Services,
    user: &User,
    before: Option<ImageId>,
    limit: i64,
) -> Result<Page, ServiceError> {
    let mut connection = services.connection().await?;
    let mut images = db::images::page(&mut connection, user.id, before, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = images.len() > limit;
    images.truncate(limit);
    let continues_after = images.last().filter(|_| has_more).map(|image| image.id);
    let images = with_thumbnails(&mut connection, images, &user.tier).await?;
    Ok(Page { images, continues_after })
}

/// One of an account's images.
pub async fn find(
    services: &Services,
    user: &User,
    id: ImageId,
) -> Result<ImageWithThumbnails, ServiceError> {
    let mut connection = services.connection().await?;
    let image = find_owned(&mut connection, user, id).await?;
    let mut found = with_thumbnails(&mut connection, vec![image], &user.tier).await?;
    found.pop().ok_or(ServiceError::NotFound("image"))
}

pub(super) async fn find_owned(
    connection: &mut PgConnection,
    user: &User,
    id: ImageId,
) -> Result<Image, ServiceError> {
    db::images::find_owned(connection, user.id, id).await?.ok_or(ServiceError::NotFound("image"))
}

/// Those of these images that are an account's, in order of their numbers.
pub async fn find_many(
    services: &Services,
    user: &User,
    ids: &[ImageId],
) -> Result<Vec<ImageWithThumbnails>, ServiceError> {
    let mut connection = services.connection().await?;
    let images = db::images::owned(&mut connection, user.id, ids).await?;
    Ok(with_thumbnails(&mut connection, images, &user.tier).await?)
}

/// Adds the thumbnails, and inserts the rows that a tier's new height lacks.
async fn with_thumbnails(
    connection: &mut PgConnection,
    images: Vec<Image>,
    tier: &Tier,
) -> sqlx::Result<Vec<ImageWithThumbnails>> {
    let ids: Vec<ImageId> = images.iter().map(|image| image.id).collect();
    let mut thumbnails = db::thumbnails::of_images(connection, &ids).await?;
    let lacking = lacking(&ids, &thumbnails, tier);
    if !lacking.is_empty() {
        db::thumbnails::insert_missing(connection, &lacking, &tier.spec.thumbnail_heights).await?;
        thumbnails = db::thumbnails::of_images(connection, &ids).await?;
    }
    let of_image = |image: Image| {
        let start = thumbnails.partition_point(|thumbnail| thumbnail.image < image.id);
        let own = thumbnails[start..].iter().take_while(|thumbnail| thumbnail.image == image.id);
        ImageWithThumbnails { thumbnails: own.cloned().collect(), image }
    };
    Ok(images.into_iter().map(of_image).collect())
}

fn lacking(images: &[ImageId], thumbnails: &[Thumbnail], tier: &Tier) -> Vec<ImageId> {
    let wanted = tier.spec.thumbnail_heights.iter().len();
    let mut present = HashMap::<ImageId, usize>::new();
    for thumbnail in tier.visible(thumbnails) {
        *present.entry(thumbnail.image).or_default() += 1;
    }
    images
        .iter()
        .copied()
        .filter(|image| present.get(image).copied().unwrap_or_default() < wanted)
        .collect()
}

/// What a change expects of an image as it is at that moment; none: anything.
pub type Expectation<'a> = Option<&'a (dyn Fn(&ImageWithThumbnails) -> bool + Send + Sync)>;

/// Locks one of an account's images until the transaction ends, if it is as expected.
async fn lock_expected(
    connection: &mut PgConnection,
    user: &User,
    id: ImageId,
    expected: Expectation<'_>,
) -> Result<Image, ServiceError> {
    let locked = db::images::lock(connection, user.id, id).await?;
    let image = locked.ok_or(ServiceError::NotFound("image"))?;
    let Some(is_expected) = expected else {
        return Ok(image);
    };
    let found = with_thumbnails(connection, vec![image], &user.tier).await?.pop();
    let found = found.ok_or(ServiceError::NotFound("image"))?;
    if is_expected(&found) { Ok(found.image) } else { Err(ServiceError::NotAsExpected) }
}

/// Renames one of an account's images. Existing URLs keep working, as only their ids are read.
pub async fn rename(
    services: &Services,
    user: &User,
    id: ImageId,
    title: &Title,
    expected: Expectation<'_>,
) -> Result<ImageWithThumbnails, ServiceError> {
    let mut tx = services.begin().await?;
    lock_expected(&mut tx, user, id, expected).await?;
    db::images::rename(&mut tx, user.id, id, title).await?;
    tx.commit().await?;
    find(services, user, id).await
}

#[derive(Debug)]
pub struct Cascade {
    pub image: Image,
    /// Thumbnails that are ready.
    pub thumbnails: u64,
    /// Links that have not expired.
    pub live_links: u64,
}

/// What [`delete`] would delete.
pub async fn cascade(
    services: &Services,
    user: &User,
    id: ImageId,
) -> Result<Cascade, ServiceError> {
    let mut connection = services.connection().await?;
    let image = find_owned(&mut connection, user, id).await?;
    let thumbnails = db::thumbnails::of_images(&mut connection, &[id]).await?;
    let ready = thumbnails.iter().filter(|thumbnail| thumbnail.state.is_ready());
    let live_links = db::links::count_live(&mut connection, id, services.clock.now()).await?;
    Ok(Cascade { image, thumbnails: ready.count() as u64, live_links: live_links.unsigned_abs() })
}

/// Deletes one of an account's images with its thumbnails and links: the rows at once, the objects
/// by a job.
pub async fn delete(
    services: &Services,
    user: &User,
    id: ImageId,
    expected: Expectation<'_>,
) -> Result<(), ServiceError> {
    let mut tx = services.begin().await?;
    let image = lock_expected(&mut tx, user, id, expected).await?;
    delete_locked(&mut tx, &[image]).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes images of any account as [`delete`] does; returns how many there were.
pub async fn delete_of_any_owner(
    services: &Services,
    actor: Actor<'_>,
    ids: &[ImageId],
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let images = db::admin::images::lock(&mut tx, ids).await?;
    // in one order, as their counts of bytes change below, and their counters of changes at the end:
    // two such requests could wait for each other
    let owners: Vec<UserId> = images.iter().map(|image| image.owner).collect();
    db::admin::users::lock(&mut tx, &owners).await?;
    delete_locked(&mut tx, &images).await?;
    for image in &images {
        let changes = json!({"owner": image.owner, "bytes": image.bytes});
        services
            .record(&mut tx, actor, AuditAction::Delete, AuditObject::image(image), changes)
            .await?;
    }
    tx.commit().await?;
    Ok(images.len() as u64)
}

/// Deletes images that the transaction has locked: the rows now, the objects by jobs.
pub(super) async fn delete_locked(
    connection: &mut PgConnection,
    images: &[Image],
) -> sqlx::Result<()> {
    let ids: Vec<ImageId> = images.iter().map(|image| image.id).collect();
    let mut thumbnails = HashMap::<ImageId, Vec<Thumbnail>>::new();
    for thumbnail in db::thumbnails::lock_of_images(connection, &ids).await? {
        thumbnails.entry(thumbnail.image).or_default().push(thumbnail);
    }
    let mut keys = Vec::new();
    for image in images {
        keys.push(StorageKey::original(image.original, image.format).to_string());
        for thumbnail in thumbnails.get(&image.id).into_iter().flatten() {
            // every attempt: one may be under way or have left its object; deleting a missing
            // object costs nothing
            let attempts = thumbnail.attempt.up_to_this();
            keys.extend(attempts.map(|attempt| {
                StorageKey::thumbnail(thumbnail.id, attempt, image.format).to_string()
            }));
        }
    }
    db::images::delete(connection, &ids).await?;
    let mut bytes = BTreeMap::<UserId, u64>::new();
    for image in images {
        *bytes.entry(image.owner).or_default() += image.bytes;
    }
    for (owner, bytes) in bytes {
        db::users::release_bytes(connection, owner, bytes).await?;
    }
    for keys in keys.chunks(DeleteObjects::MAX_KEYS) {
        jobs::enqueue(connection, JobId::fresh(), &DeleteObjects { keys: keys.to_vec() }).await?;
    }
    Ok(())
}
