//! Giving an image another title. Links made with the old one go on working: only their ids are read.

use shared::{
    db,
    domain::{ImageId, Title, User},
};
use sqlx::PgConnection;

use super::list_images::{ImageWithThumbnails, find_image};
use crate::error::Problem;

/// Renames one of the user's images.
pub(crate) async fn rename_image(
    connection: &mut PgConnection,
    user: &User,
    id: ImageId,
    title: &Title,
) -> Result<ImageWithThumbnails, Problem> {
    db::images::rename(connection, user.id, id, title).await?.ok_or_else(|| Problem::not_found("image"))?;
    find_image(connection, user, id).await
}
