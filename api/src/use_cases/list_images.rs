//! A page of somebody's images with their thumbnails' states. Never touches the storage.

use shared::{
    db,
    domain::{Image, ImageId, Thumbnail, Tier, User},
};
use sqlx::PgConnection;

use crate::error::Problem;

/// An image and its thumbnails.
#[derive(Debug)]
pub(crate) struct ImageWithThumbnails {
    pub(crate) image: Image,
    pub(crate) thumbnails: Vec<Thumbnail>,
}

/// A page of the list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) images: Vec<ImageWithThumbnails>,
    /// The last image of the page, when others follow.
    pub(crate) continues_after: Option<ImageId>,
}

/// At most `limit` of the user's images, newest first, from the one after `before` on.
pub(crate) async fn list_images(
    connection: &mut PgConnection,
    user: &User,
    before: Option<ImageId>,
    limit: i64,
) -> Result<Page, Problem> {
    let mut images = db::images::page(connection, user.id, before, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = images.len() > limit;
    images.truncate(limit);
    let continues_after = images.last().filter(|_| has_more).map(|image| image.id);
    let images = with_thumbnails(connection, images, &user.tier).await?;
    Ok(Page { images, continues_after })
}

/// One of the user's images.
pub(crate) async fn find_image(
    connection: &mut PgConnection,
    user: &User,
    id: ImageId,
) -> Result<ImageWithThumbnails, Problem> {
    let found = db::images::of_owner(connection, user.id, id).await?;
    let image = found.ok_or_else(|| Problem::not_found("image"))?;
    with_thumbnails(connection, vec![image], &user.tier)
        .await?
        .pop()
        .ok_or_else(|| Problem::not_found("image"))
}

/// Adds the thumbnails' rows, and makes those rows that a tier's new height lacks.
async fn with_thumbnails(
    connection: &mut PgConnection,
    images: Vec<Image>,
    tier: &Tier,
) -> Result<Vec<ImageWithThumbnails>, Problem> {
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
    let mut present = std::collections::HashMap::<ImageId, usize>::new();
    for thumbnail in thumbnails.iter().filter(|thumbnail| tier.allows_height(thumbnail.height).is_ok()) {
        *present.entry(thumbnail.image).or_default() += 1;
    }
    images.iter().copied().filter(|image| present.get(image).copied().unwrap_or_default() < wanted).collect()
}
