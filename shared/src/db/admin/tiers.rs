//! Tiers as administrators see them.

use sqlx::PgConnection;

use crate::{
    db::{
        tiers::{joined_tier, select_tiers},
        undecodable, unsigned,
    },
    domain::{Tier, TierId, UserId, Username},
};

/// The foreign key that keeps a tier while accounts have it.
pub const IN_USE: &str = "users_tier_id_fkey";

#[derive(Clone, Debug)]
pub struct ListedTier {
    pub tier: Tier,
    pub users: u64,
}

/// All tiers in the order of their making.
pub async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<ListedTier>> {
    let rows = sqlx::query!(
        r#"SELECT t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                  t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes, coalesce(u.users, 0) AS "users!"
           FROM tiers t
           LEFT JOIN (SELECT tier_id, count(*) AS users FROM users GROUP BY tier_id) u ON u.tier_id = t.id
           ORDER BY t.id"#
    );
    let rows = rows.fetch_all(connection).await?;
    rows.into_iter()
        .map(|row| Ok(ListedTier { users: unsigned(row.users)?, tier: joined_tier!(row)? }))
        .collect()
}

pub async fn find(connection: &mut PgConnection, id: TierId) -> sqlx::Result<Option<Tier>> {
    let row = select_tiers!("WHERE id = $1", id.0);
    row.fetch_optional(connection).await?.map(Tier::try_from).transpose()
}

/// A tier, locked until the transaction ends.
pub async fn lock(connection: &mut PgConnection, id: TierId) -> sqlx::Result<Option<Tier>> {
    let row = select_tiers!("WHERE id = $1 FOR UPDATE", id.0);
    row.fetch_optional(connection).await?.map(Tier::try_from).transpose()
}

/// Deletes a tier that no account has.
///
/// # Errors
/// [`IN_USE`] when an account has it.
pub async fn delete(connection: &mut PgConnection, id: TierId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM tiers WHERE id = $1", id.0).execute(connection).await?;
    Ok(())
}

/// At most `limit` of the accounts that have a tier, in the order of their making.
pub async fn users_of(
    connection: &mut PgConnection,
    id: TierId,
    limit: i64,
) -> sqlx::Result<Vec<(UserId, Username)>> {
    let rows = sqlx::query!(
        "SELECT id, username FROM users WHERE tier_id = $1 ORDER BY id LIMIT $2",
        id.0,
        limit
    );
    let rows = rows.fetch_all(connection).await?;
    let user = |id, name| Ok((UserId(id), Username::try_from(name).map_err(undecodable)?));
    rows.into_iter().map(|row| user(row.id, row.username)).collect()
}
