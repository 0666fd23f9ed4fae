//! Making, listing and revoking links that expire.

use shared::{
    db,
    domain::{ExpiringLink, ImageId, LinkId, LinkTarget, User, ValidFor},
    postgres,
};

use crate::{
    AppState,
    error::{Code, Problem},
};

/// The live links of one of the user's images, the one that lives longest first.
pub(crate) async fn list_links(
    state: &AppState,
    user: &User,
    image: ImageId,
) -> Result<Vec<ExpiringLink>, Problem> {
    user.tier.allows_expiring_links()?;
    let mut connection = state.pool.acquire().await?;
    db::images::of_owner(&mut connection, user.id, image)
        .await?
        .ok_or_else(|| Problem::not_found("image"))?;
    let limit = state.limits.links_per_image;
    Ok(db::links::live_of_image(&mut connection, image, state.clock.now(), limit).await?)
}

/// Makes a link. The tier is checked before the image: who may not make links does not learn which images exist.
pub(crate) async fn create_link(
    state: &AppState,
    user: &User,
    image: ImageId,
    target: LinkTarget,
    valid_for: ValidFor,
) -> Result<ExpiringLink, Problem> {
    user.tier.allows_expiring_links()?;
    let mut tx = postgres::begin(&state.pool).await?;
    // locked, so that links made at once are counted one after another
    db::images::lock(&mut tx, user.id, image).await?.ok_or_else(|| Problem::not_found("image"))?;
    match target {
        LinkTarget::Original => user.tier.allows_original()?,
        LinkTarget::Thumbnail(height) => {
            user.tier.allows_height(height).map_err(|denied| Problem::field("height", denied.to_string()))?;
            // a height that the tier has gained since the images were last listed has no row yet
            db::thumbnails::insert_missing(&mut tx, &[image], &user.tier.spec.thumbnail_heights).await?;
        }
    }
    let now = state.clock.now();
    let max = state.limits.links_per_image;
    if db::links::count_live(&mut tx, image, now).await? >= max {
        let detail = format!("an image has at most {max} live links; revoke one first");
        return Err(Problem::new(Code::TooManyLinks, detail));
    }
    let link = ExpiringLink::new(image, target, valid_for, now);
    db::links::insert(&mut tx, &link, valid_for).await?;
    tx.commit().await?;
    Ok(link)
}

/// Revokes a live link of one of the user's images.
pub(crate) async fn revoke_link(
    state: &AppState,
    user: &User,
    image: ImageId,
    id: LinkId,
) -> Result<(), Problem> {
    let mut connection = state.pool.acquire().await?;
    db::images::of_owner(&mut connection, user.id, image)
        .await?
        .ok_or_else(|| Problem::not_found("image"))?;
    if db::links::delete(&mut connection, image, id, state.clock.now()).await? {
        Ok(())
    } else {
        Err(Problem::not_found("link"))
    }
}
