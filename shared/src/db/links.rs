//! Expiring links.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{digest, images::joined_image, tiers::joined_tier, undecodable};
use crate::domain::{
    ExpiringLink, FileDigest, Height, Image, ImageId, LinkId, LinkTarget, Tier, ValidFor,
};

/// A live link with what serving it needs.
#[derive(Debug)]
pub struct LiveLink {
    pub link: ExpiringLink,
    /// The image that it shows.
    pub image: Image,
    /// The original's SHA-256.
    pub digest: Option<FileDigest>,
    /// The owner's tier as it is now.
    pub tier: Tier,
}

/// Adds a link.
pub async fn insert(
    connection: &mut PgConnection,
    link: &ExpiringLink,
    valid_for: ValidFor,
) -> sqlx::Result<()> {
    let height = match link.target {
        LinkTarget::Original => None,
        LinkTarget::Thumbnail(height) => Some(i32::from(height)),
    };
    sqlx::query!(
        "INSERT INTO expiring_links (id, image_id, height, valid_for, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        link.id.0,
        link.image.0,
        height,
        valid_for.seconds(),
        link.created_at,
        link.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// At most `limit` of an image's live links, the one that lives longest first.
pub async fn live_of_image(
    connection: &mut PgConnection,
    image: ImageId,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<ExpiringLink>> {
    let rows = sqlx::query!(
        "SELECT id, height, created_at, expires_at FROM expiring_links
         WHERE image_id = $1 AND expires_at > $2 ORDER BY expires_at DESC, id LIMIT $3",
        image.0,
        now,
        limit,
    );
    let link = |row: (uuid::Uuid, Option<i32>, DateTime<Utc>, DateTime<Utc>)| {
        let (id, height, created_at, expires_at) = row;
        Ok(ExpiringLink { id: LinkId(id), image, target: target(height)?, created_at, expires_at })
    };
    let rows = rows.fetch_all(connection).await?;
    rows.into_iter().map(|row| link((row.id, row.height, row.created_at, row.expires_at))).collect()
}

/// How many live links an image has.
pub async fn count_live(
    connection: &mut PgConnection,
    image: ImageId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM expiring_links WHERE image_id = $1 AND expires_at > $2"#,
        image.0,
        now,
    )
    .fetch_one(connection)
    .await
}

/// The link of this name with what serving it needs; nothing once it has expired.
pub async fn live(
    connection: &mut PgConnection,
    id: LinkId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<LiveLink>> {
    let row = sqlx::query!(
        "SELECT l.height AS link_height, l.created_at, l.expires_at,
                i.id, i.owner_id, i.original_id, i.title, i.format, i.width, i.height, i.bytes, i.placeholder,
                i.uploaded_at, i.sha256,
                t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes
         FROM expiring_links l
         JOIN images i ON i.id = l.image_id
         JOIN users u ON u.id = i.owner_id
         JOIN tiers t ON t.id = u.tier_id
         WHERE l.id = $1 AND l.expires_at > $2 AND u.is_active",
        id.0,
        now,
    );
    let Some(row) = row.fetch_optional(connection).await? else {
        return Ok(None);
    };
    let image = joined_image!(row)?;
    let link = ExpiringLink {
        id,
        image: image.id,
        target: target(row.link_height)?,
        created_at: row.created_at,
        expires_at: row.expires_at,
    };
    let digest = digest(row.sha256)?;
    Ok(Some(LiveLink { link, image, digest, tier: joined_tier!(row)? }))
}

/// Revokes one of an image's live links; whether there was one.
pub async fn delete(
    connection: &mut PgConnection,
    image: ImageId,
    id: LinkId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let deleted = sqlx::query!(
        "DELETE FROM expiring_links WHERE id = $1 AND image_id = $2 AND expires_at > $3",
        id.0,
        image.0,
        now
    );
    Ok(deleted.execute(connection).await?.rows_affected() == 1)
}

super::delete_expired!("expiring_links", "id", "expires_at");

pub(super) fn target(height: Option<i32>) -> sqlx::Result<LinkTarget> {
    match height {
        None => Ok(LinkTarget::Original),
        Some(px) => Height::try_from(i64::from(px)).map(LinkTarget::Thumbnail).map_err(undecodable),
    }
}
