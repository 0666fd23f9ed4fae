//! Expiring links: creating, listing and revoking them.

use serde_json::json;

use super::{ServiceError, Services, idempotency::Once, images::find_owned};
use crate::{
    db,
    domain::{
        Actor, AuditAction, AuditObject, ExpiringLink, ImageId, LinkId, LinkTarget, User, ValidFor,
        ValidationError,
    },
};

/// The live links of one of an account's images, the one that expires last first.
pub async fn list(
    services: &Services,
    user: &User,
    image: ImageId,
) -> Result<Vec<ExpiringLink>, ServiceError> {
    user.tier.allows_expiring_links()?;
    let mut connection = services.connection().await?;
    find_owned(&mut connection, user, image).await?;
    let limit = services.limits.links_per_image;
    Ok(db::links::live_of_image(&mut connection, image, services.clock.now(), limit).await?)
}

/// A live link of one of an account's images.
pub async fn find(
    services: &Services,
    user: &User,
    image: ImageId,
    id: LinkId,
) -> Result<ExpiringLink, ServiceError> {
    let live = list(services, user, image).await?;
    live.into_iter().find(|link| link.id == id).ok_or(ServiceError::NotFound("link"))
}

/// Creates a link. The tier is checked before the image: without the right one does not learn which
/// images exist.
pub async fn create(
    services: &Services,
    user: &User,
    image: ImageId,
    target: LinkTarget,
    valid_for: ValidFor,
    once: Option<Once<'_>>,
) -> Result<ExpiringLink, ServiceError> {
    user.tier.allows_expiring_links()?;
    let mut tx = services.begin().await?;
    // locked, so that simultaneous creations are counted one after another
    db::images::lock(&mut tx, user.id, image).await?.ok_or(ServiceError::NotFound("image"))?;
    match target {
        LinkTarget::Original => user.tier.allows_original()?,
        LinkTarget::Thumbnail(height) => {
            user.tier
                .allows_height(height)
                .map_err(|denied| ValidationError::new("height", denied.to_string()))?;
            // a height that is new in the tier has no row until the images are listed
            db::thumbnails::insert_missing(&mut tx, &[image], &user.tier.spec.thumbnail_heights)
                .await?;
        }
    }
    let now = services.clock.now();
    let max = services.limits.links_per_image;
    if db::links::count_live(&mut tx, image, now).await? >= max {
        return Err(ServiceError::TooManyLinks { max });
    }
    let link = ExpiringLink::new(image, target, valid_for, now);
    db::links::insert(&mut tx, &link, valid_for).await?;
    if let Some(once) = once {
        once.complete(&mut tx, &link.id.to_string()).await?;
    }
    tx.commit().await?;
    Ok(link)
}

/// Revokes a live link of one of an account's images.
pub async fn revoke(
    services: &Services,
    user: &User,
    image: ImageId,
    id: LinkId,
) -> Result<(), ServiceError> {
    let mut connection = services.connection().await?;
    find_owned(&mut connection, user, image).await?;
    let revoked = db::links::delete(&mut connection, image, id, services.clock.now()).await?;
    revoked.then_some(()).ok_or(ServiceError::NotFound("link"))
}

/// Revokes a link of any account.
pub async fn revoke_of_any_owner(
    services: &Services,
    actor: Actor<'_>,
    id: LinkId,
) -> Result<(), ServiceError> {
    let mut tx = services.begin().await?;
    let revoked =
        db::admin::links::delete(&mut tx, id).await?.ok_or(ServiceError::NotFound("link"))?;
    let changes = json!({
        "image": revoked.link.image, "owner": revoked.owner, "expires_at": revoked.link.expires_at,
    });
    let object = AuditObject::link(id, &revoked.title);
    services.record(&mut tx, actor, AuditAction::Revoke, object, changes).await?;
    tx.commit().await?;
    Ok(())
}
