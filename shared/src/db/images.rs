//! Images.

use chrono::{DateTime, Utc};
use imaging::Format;
use sqlx::PgConnection;

use super::{digest, signed, tiers::joined_tier, undecodable, unsigned};
use crate::domain::{FileDigest, Image, ImageId, OriginalId, Tier, Title, UserId};

/// An image's columns as every query that joins `images` selects them.
pub(super) struct ImageRow {
    pub(super) id: i64,
    pub(super) owner_id: i64,
    pub(super) original_id: uuid::Uuid,
    pub(super) title: String,
    pub(super) format: String,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) bytes: i64,
    pub(super) placeholder: Option<Vec<u8>>,
    pub(super) uploaded_at: DateTime<Utc>,
}

impl TryFrom<ImageRow> for Image {
    type Error = sqlx::Error;

    fn try_from(row: ImageRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ImageId(row.id),
            owner: UserId(row.owner_id),
            original: OriginalId(row.original_id),
            title: Title::try_from(row.title).map_err(undecodable)?,
            format: format(&row.format)?,
            width: unsigned(row.width)?,
            height: unsigned(row.height)?,
            bytes: unsigned(row.bytes)?,
            placeholder: row.placeholder,
            uploaded_at: row.uploaded_at,
        })
    }
}

/// A query for the rows of `images` that the rest of its text asks for.
macro_rules! select_images {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            crate::db::images::ImageRow,
            "SELECT id, owner_id, original_id, title, format, width, height, bytes, placeholder, uploaded_at
             FROM images " + $rest
            $(, $argument)*
        )
    };
}
pub(super) use select_images;

/// The image in a row whose query selects the columns of `images` by their names.
macro_rules! joined_image {
    ($row:ident) => {
        crate::domain::Image::try_from(crate::db::images::ImageRow {
            id: $row.id,
            owner_id: $row.owner_id,
            original_id: $row.original_id,
            title: $row.title,
            format: $row.format,
            width: $row.width,
            height: $row.height,
            bytes: $row.bytes,
            placeholder: $row.placeholder,
            uploaded_at: $row.uploaded_at,
        })
    };
}
pub(super) use joined_image;

/// A format column.
pub(super) fn format(name: &str) -> sqlx::Result<Format> {
    name.parse::<Format>().map_err(undecodable)
}

/// An image to be kept.
#[derive(Debug)]
pub struct NewImage<'a> {
    pub owner: UserId,
    /// Names the original's file.
    pub original: OriginalId,
    /// What its owner calls it.
    pub title: &'a Title,
    /// By its content.
    pub format: Format,
    /// As displayed, in px.
    pub width: u32,
    /// As displayed, in px.
    pub height: u32,
    /// The original's size in bytes.
    pub bytes: u64,
    pub digest: FileDigest,
}

/// Adds an image.
pub async fn insert(
    connection: &mut PgConnection,
    image: &NewImage<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Image> {
    let row = sqlx::query_as!(
        ImageRow,
        "INSERT INTO images (owner_id, original_id, title, format, width, height, bytes, uploaded_at, sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         RETURNING id, owner_id, original_id, title, format, width, height, bytes, placeholder, uploaded_at",
        image.owner.0,
        image.original.0,
        image.title.as_str(),
        image.format.name(),
        signed::<_, i32>(image.width)?,
        signed::<_, i32>(image.height)?,
        signed::<_, i64>(image.bytes)?,
        now,
        &image.digest.0,
    );
    row.fetch_one(connection).await?.try_into()
}

/// Those of the images that are there, with their owners' tiers.
pub async fn of_ids(
    connection: &mut PgConnection,
    ids: &[ImageId],
) -> sqlx::Result<Vec<(Image, Tier)>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT i.id, i.owner_id, i.original_id, i.title, i.format, i.width, i.height, i.bytes, i.placeholder,
                i.uploaded_at,
                t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes
         FROM images i JOIN users u ON u.id = i.owner_id JOIN tiers t ON t.id = u.tier_id
         WHERE i.id = ANY ($1)",
        &ids,
    );
    let rows = rows.fetch_all(connection).await?;
    rows.into_iter().map(|row| Ok((joined_image!(row)?, joined_tier!(row)?))).collect()
}

/// At most `limit` of an account's images, newest first, from the one after `before` on.
pub async fn page(
    connection: &mut PgConnection,
    owner: UserId,
    before: Option<ImageId>,
    limit: i64,
) -> sqlx::Result<Vec<Image>> {
    let rows = select_images!(
        "WHERE owner_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        owner.0,
        before.map_or(i64::MAX, |id| id.0),
        limit
    );
    rows.fetch_all(connection).await?.into_iter().map(Image::try_from).collect()
}

/// One of an account's images; another account's is not found.
pub async fn find_owned(
    connection: &mut PgConnection,
    owner: UserId,
    id: ImageId,
) -> sqlx::Result<Option<Image>> {
    let row = select_images!("WHERE id = $1 AND owner_id = $2", id.0, owner.0);
    row.fetch_optional(connection).await?.map(Image::try_from).transpose()
}

/// Those of these images that are an account's, in order of their numbers.
pub async fn owned(
    connection: &mut PgConnection,
    owner: UserId,
    ids: &[ImageId],
) -> sqlx::Result<Vec<Image>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = select_images!("WHERE id = ANY ($1) AND owner_id = $2 ORDER BY id", &ids, owner.0);
    rows.fetch_all(connection).await?.into_iter().map(Image::try_from).collect()
}

/// The image whose original has this name, its owner's tier as it is now, and the file's SHA-256.
pub async fn by_original(
    connection: &mut PgConnection,
    original: OriginalId,
) -> sqlx::Result<Option<(Image, Tier, Option<FileDigest>)>> {
    let row = sqlx::query!(
        "SELECT i.id, i.owner_id, i.original_id, i.title, i.format, i.width, i.height, i.bytes, i.placeholder,
                i.uploaded_at, i.sha256,
                t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes
         FROM images i JOIN users u ON u.id = i.owner_id JOIN tiers t ON t.id = u.tier_id
         WHERE i.original_id = $1 AND u.is_active",
        original.0
    );
    let Some(row) = row.fetch_optional(connection).await? else {
        return Ok(None);
    };
    let digest = digest(row.sha256.clone())?;
    Ok(Some((joined_image!(row)?, joined_tier!(row)?, digest)))
}

/// Gives one of an account's images another title; the image, unless it is not found.
pub async fn rename(
    connection: &mut PgConnection,
    owner: UserId,
    id: ImageId,
    title: &Title,
) -> sqlx::Result<Option<Image>> {
    let row = sqlx::query_as!(
        ImageRow,
        "UPDATE images SET title = $3 WHERE id = $1 AND owner_id = $2
         RETURNING id, owner_id, original_id, title, format, width, height, bytes, placeholder, uploaded_at",
        id.0,
        owner.0,
        title.as_str(),
    );
    row.fetch_optional(connection).await?.map(Image::try_from).transpose()
}

/// One of an account's images, locked until the transaction ends.
pub async fn lock(
    connection: &mut PgConnection,
    owner: UserId,
    id: ImageId,
) -> sqlx::Result<Option<Image>> {
    let row = select_images!("WHERE id = $1 AND owner_id = $2 FOR UPDATE", id.0, owner.0);
    row.fetch_optional(connection).await?.map(Image::try_from).transpose()
}

/// At most `limit` images of a closed account, by their numbers, from the one after `after` on;
/// locked until the transaction ends. An open account's are left alone.
pub async fn lock_of_closed(
    connection: &mut PgConnection,
    owner: UserId,
    after: Option<ImageId>,
    limit: i64,
) -> sqlx::Result<Vec<Image>> {
    let rows = select_images!(
        "WHERE owner_id = $1 AND id > $2
           AND EXISTS (SELECT FROM users u WHERE u.id = $1 AND u.closed_at IS NOT NULL)
         ORDER BY id LIMIT $3 FOR UPDATE OF images",
        owner.0,
        after.map_or(i64::MIN, |id| id.0),
        limit
    );
    rows.fetch_all(connection).await?.into_iter().map(Image::try_from).collect()
}

/// Deletes images, and with them their thumbnails and links.
pub async fn delete(connection: &mut PgConnection, ids: &[ImageId]) -> sqlx::Result<()> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("DELETE FROM images WHERE id = ANY ($1)", &ids).execute(connection).await?;
    Ok(())
}

/// Keeps the image's thumbhash.
pub async fn set_placeholder(
    connection: &mut PgConnection,
    id: ImageId,
    thumbhash: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE images SET placeholder = $2 WHERE id = $1 AND placeholder IS NULL",
        id.0,
        thumbhash
    )
    .execute(connection)
    .await?;
    Ok(())
}
