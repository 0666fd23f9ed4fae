//! Tiers.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::undecodable;
use crate::domain::{ByteCount, Tier, TierId, TierSpec, tier::TierName};

/// A tier's columns as every query that joins `tiers` selects them.
pub(super) struct TierRow {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) is_default: bool,
    pub(super) thumbnail_heights: Vec<i32>,
    pub(super) original_access: bool,
    pub(super) expiring_links: bool,
    pub(super) max_upload_bytes: i64,
    pub(super) storage_quota_bytes: i64,
}

impl TryFrom<TierRow> for Tier {
    type Error = sqlx::Error;

    fn try_from(row: TierRow) -> sqlx::Result<Self> {
        let heights: Vec<i64> = row.thumbnail_heights.into_iter().map(i64::from).collect();
        let spec = TierSpec {
            name: TierName::try_from(row.name).map_err(undecodable)?,
            is_default: row.is_default,
            thumbnail_heights: heights.try_into().map_err(undecodable)?,
            original_access: row.original_access,
            expiring_links: row.expiring_links,
            max_upload_bytes: ByteCount::try_from(row.max_upload_bytes).map_err(undecodable)?,
            storage_quota_bytes: ByteCount::try_from(row.storage_quota_bytes)
                .map_err(undecodable)?,
        };
        Ok(Self { id: TierId(row.id), spec })
    }
}

/// A query for the rows of `tiers` that the rest of its text asks for.
macro_rules! select_tiers {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            crate::db::tiers::TierRow,
            "SELECT id, name, is_default, thumbnail_heights, original_access, expiring_links, max_upload_bytes,
                    storage_quota_bytes
             FROM tiers " + $rest
            $(, $argument)*
        )
    };
}
pub(super) use select_tiers;

/// The tier in a row whose query selects `tier_id`, `tier_name`, `is_default` and the other columns
/// by their names.
macro_rules! joined_tier {
    ($row:ident) => {
        crate::domain::Tier::try_from(crate::db::tiers::TierRow {
            id: $row.tier_id,
            name: $row.tier_name,
            is_default: $row.is_default,
            thumbnail_heights: $row.thumbnail_heights,
            original_access: $row.original_access,
            expiring_links: $row.expiring_links,
            max_upload_bytes: $row.max_upload_bytes,
            storage_quota_bytes: $row.storage_quota_bytes,
        })
    };
}
pub(super) use joined_tier;

/// Lets one transaction at a time change tiers. It comes before any lock of a row: two tiers that
/// become the default at once would each leave the other's row as it is.
pub async fn lock_changes(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('pictier tiers'))")
        .execute(connection)
        .await?;
    Ok(())
}

/// All tiers in the order of their making; locked against change until the transaction ends.
pub async fn lock_all(connection: &mut PgConnection) -> sqlx::Result<Vec<Tier>> {
    lock_changes(connection).await?;
    let rows = select_tiers!("ORDER BY id FOR UPDATE");
    rows.fetch_all(connection).await?.into_iter().map(Tier::try_from).collect()
}

/// All tiers in the order of their making.
pub async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<Tier>> {
    let rows = select_tiers!("ORDER BY id");
    rows.fetch_all(connection).await?.into_iter().map(Tier::try_from).collect()
}

/// The tier of this name.
pub async fn by_name(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<Tier>> {
    let row = select_tiers!("WHERE name = $1", name);
    row.fetch_optional(connection).await?.map(Tier::try_from).transpose()
}

/// The unique constraint that refuses a second tier of one name.
pub const NAME_KEY: &str = "tiers_name_key";

/// Adds a tier.
///
/// # Errors
/// [`NAME_KEY`] when there is one of this name, `tiers_default_key` when another is the default.
pub async fn insert(
    connection: &mut PgConnection,
    spec: &TierSpec,
    now: DateTime<Utc>,
) -> sqlx::Result<TierId> {
    let id = sqlx::query_scalar!(
        "INSERT INTO tiers (name, is_default, thumbnail_heights, original_access, expiring_links, max_upload_bytes,
                            storage_quota_bytes, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         RETURNING id",
        spec.name.as_str(),
        spec.is_default,
        &spec.thumbnail_heights.iter().map(i32::from).collect::<Vec<_>>(),
        spec.original_access,
        spec.expiring_links,
        spec.max_upload_bytes.as_i64(),
        spec.storage_quota_bytes.as_i64(),
        now,
    );
    Ok(TierId(id.fetch_one(connection).await?))
}

/// Makes a tier what `spec` says.
///
/// # Errors
/// As [`insert`].
pub async fn update(
    connection: &mut PgConnection,
    id: TierId,
    spec: &TierSpec,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tiers
         SET name = $2, is_default = $3, thumbnail_heights = $4, original_access = $5, expiring_links = $6,
             max_upload_bytes = $7, storage_quota_bytes = $8
         WHERE id = $1",
        id.0,
        spec.name.as_str(),
        spec.is_default,
        &spec.thumbnail_heights.iter().map(i32::from).collect::<Vec<_>>(),
        spec.original_access,
        spec.expiring_links,
        spec.max_upload_bytes.as_i64(),
        spec.storage_quota_bytes.as_i64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes no tier the default, so that another can become it in the same transaction.
pub async fn clear_default(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("UPDATE tiers SET is_default = false WHERE is_default")
        .execute(connection)
        .await?;
    Ok(())
}
