//! Accounts as administrators see them.

use std::iter::Sum;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};

use super::{Count, Keyset, containing, count_rows, fetch};
use crate::{
    db::{undecodable, unsigned},
    domain::{TierId, UserId, Username, tier::TierName},
};

#[derive(Clone, Debug)]
pub struct ListedUser {
    pub id: UserId,
    pub username: Username,
    pub tier_id: TierId,
    pub tier_name: TierName,
    pub is_admin: bool,
    pub is_active: bool,
    /// Bytes that its originals take.
    pub used_bytes: u64,
    /// How many they may take, by its tier.
    pub storage_quota_bytes: u64,
    pub created_at: DateTime<Utc>,
    /// When it was closed; a job is deleting it.
    pub closed_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct UserRow {
    id: i64,
    username: String,
    tier_id: i64,
    tier_name: String,
    is_admin: bool,
    is_active: bool,
    used_bytes: i64,
    storage_quota_bytes: i64,
    created_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

impl TryFrom<UserRow> for ListedUser {
    type Error = sqlx::Error;

    fn try_from(row: UserRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: UserId(row.id),
            username: Username::try_from(row.username).map_err(undecodable)?,
            tier_id: TierId(row.tier_id),
            tier_name: TierName::try_from(row.tier_name).map_err(undecodable)?,
            is_admin: row.is_admin,
            is_active: row.is_active,
            used_bytes: unsigned(row.used_bytes)?,
            storage_quota_bytes: unsigned(row.storage_quota_bytes)?,
            created_at: row.created_at,
            closed_at: row.closed_at,
        })
    }
}

/// Which accounts: those that meet everything that is set.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Their names contain this, whatever the case.
    pub search: Option<String>,
    pub tier: Option<TierId>,
    pub is_active: Option<bool>,
    pub is_admin: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserSort {
    /// The one that was made last first.
    #[default]
    Newest,
    /// The one that was made first first.
    Oldest,
    /// By name, whatever the case.
    #[serde(rename = "name")]
    NameAscending,
    /// By name from the end of the alphabet on.
    NameDescending,
    /// The one whose originals take most first.
    MostUsed,
    /// The one whose originals take least first.
    LeastUsed,
}

impl UserSort {
    fn keyset(self) -> Keyset {
        const ID: (&str, &str) = ("u.id", "");
        const NAME: (&str, &str) =
            ("lower(u.username)", "SELECT lower(username) FROM users WHERE id = ");
        const USED: (&str, &str) = ("u.used_bytes", "SELECT used_bytes FROM users WHERE id = ");
        match self {
            Self::Newest => Keyset::descending(&[ID]),
            Self::Oldest => Keyset::ascending(&[ID]),
            Self::NameAscending => Keyset::ascending(&[NAME]),
            Self::NameDescending => Keyset::descending(&[NAME]),
            Self::MostUsed => Keyset::descending(&[USED, ID]),
            Self::LeastUsed => Keyset::ascending(&[USED, ID]),
        }
    }
}

fn select() -> QueryBuilder<Postgres> {
    QueryBuilder::new(
        "SELECT u.id, u.username, u.tier_id, t.name AS tier_name, u.is_admin, u.is_active, u.used_bytes,
                t.storage_quota_bytes, u.created_at, u.closed_at
         FROM users u JOIN tiers t ON t.id = u.tier_id
         WHERE true",
    )
}

/// At most `limit` of the accounts that the filter lets through, in this order, from the one after
/// `after` on.
pub async fn page(
    connection: &mut PgConnection,
    filter: &UserFilter,
    sort: UserSort,
    after: Option<UserId>,
    limit: i64,
) -> sqlx::Result<Vec<ListedUser>> {
    let mut query = select();
    if let Some(search) = &filter.search {
        query.push(" AND lower(u.username) LIKE lower(").push_bind(containing(search)).push(")");
    }
    if let Some(tier) = filter.tier {
        query.push(" AND u.tier_id = ").push_bind(tier.0);
    }
    if let Some(is_active) = filter.is_active {
        query.push(" AND u.is_active = ").push_bind(is_active);
    }
    if let Some(is_admin) = filter.is_admin {
        query.push(" AND u.is_admin = ").push_bind(is_admin);
    }
    let keyset = sort.keyset();
    if let Some(after) = after {
        keyset.push_after(&mut query, after.0);
    }
    keyset.push_order(&mut query);
    query.push(" LIMIT ").push_bind(limit);
    fetch::<UserRow, _>(query, connection).await
}

pub async fn count(connection: &mut PgConnection) -> sqlx::Result<Count> {
    count_rows!(connection, "users", "true")
}

/// An account, whether or not it may log in.
pub async fn find(connection: &mut PgConnection, id: UserId) -> sqlx::Result<Option<ListedUser>> {
    let mut query = select();
    query.push(" AND u.id = ").push_bind(id.0);
    Ok(fetch::<UserRow, _>(query, connection).await?.pop())
}

/// Those of the accounts that are there, by their numbers.
pub async fn find_all(
    connection: &mut PgConnection,
    ids: &[UserId],
) -> sqlx::Result<Vec<ListedUser>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut query = select();
    query.push(" AND u.id = ANY (").push_bind(ids).push(") ORDER BY u.id");
    fetch::<UserRow, _>(query, connection).await
}

/// As [`find_all`], locked until the transaction ends. The lock lets others refer to the accounts,
/// as entries of the audit log do: two administrators who change each other do not wait for each
/// other.
pub async fn lock(connection: &mut PgConnection, ids: &[UserId]) -> sqlx::Result<Vec<ListedUser>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut query = select();
    query.push(" AND u.id = ANY (").push_bind(ids).push(") ORDER BY u.id FOR NO KEY UPDATE OF u");
    fetch::<UserRow, _>(query, connection).await
}

/// What an account becomes.
#[derive(Debug)]
pub struct UserChange<'a> {
    pub username: &'a Username,
    pub tier: TierId,
    pub is_admin: bool,
    pub is_active: bool,
}

/// Changes an account.
///
/// # Errors
/// [`USERNAME_KEY`](crate::db::users::USERNAME_KEY) when another has this name.
pub async fn update(
    connection: &mut PgConnection,
    id: UserId,
    change: &UserChange<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users
         SET username = $2, tier_id = $3, is_admin = $4, is_active = $5,
             credential_version = credential_version + (is_active AND NOT $5)::int
         WHERE id = $1 AND closed_at IS NULL",
        id.0,
        change.username.as_str(),
        change.tier.0,
        change.is_admin,
        change.is_active,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves accounts to another tier, effective on their next requests.
pub async fn set_tier(
    connection: &mut PgConnection,
    ids: &[UserId],
    tier: TierId,
) -> sqlx::Result<()> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("UPDATE users SET tier_id = $2 WHERE id = ANY ($1)", &ids, tier.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Lets one transaction at a time take administrators away, until it ends: two could each leave the
/// other's as the last.
pub async fn lock_administrators(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('pictier administrators'))")
        .execute(connection)
        .await?;
    Ok(())
}

/// How many administrators may log in.
pub async fn count_active_admins(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM users WHERE is_admin AND is_active"#)
        .fetch_one(connection)
        .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFigures {
    pub images: u64,
    /// Its sessions that have not ended.
    pub live_sessions: u64,
    /// Its API tokens that have not expired.
    pub tokens: u64,
}

/// What an account has now.
pub async fn figures(
    connection: &mut PgConnection,
    id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<UserFigures> {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM images WHERE owner_id = $1) AS "images!",
                  (SELECT count(*) FROM sessions WHERE user_id = $1 AND expires_at > $2) AS "live_sessions!",
                  (SELECT count(*) FROM tokens
                   WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > $2)) AS "tokens!""#,
        id.0,
        now,
    );
    let row = row.fetch_one(connection).await?;
    Ok(UserFigures {
        images: unsigned(row.images)?,
        live_sessions: unsigned(row.live_sessions)?,
        tokens: unsigned(row.tokens)?,
    })
}

/// What goes with an account when it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CascadeFigures {
    pub images: u64,
    /// Thumbnails that are ready.
    pub thumbnails: u64,
    /// Links that have not expired.
    pub live_links: u64,
    /// Sessions that have not ended.
    pub live_sessions: u64,
}

impl Sum for CascadeFigures {
    fn sum<I: Iterator<Item = Self>>(figures: I) -> Self {
        figures.fold(Self::default(), |sum, of_one| Self {
            images: sum.images + of_one.images,
            thumbnails: sum.thumbnails + of_one.thumbnails,
            live_links: sum.live_links + of_one.live_links,
            live_sessions: sum.live_sessions + of_one.live_sessions,
        })
    }
}

/// What would go with each of the accounts, in their order.
pub async fn cascade_figures(
    connection: &mut PgConnection,
    ids: &[UserId],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<CascadeFigures>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM images WHERE owner_id = asked.id) AS "images!",
                  (SELECT count(*) FROM images i JOIN thumbnails th ON th.image_id = i.id
                   WHERE i.owner_id = asked.id AND th.state = 'ready') AS "thumbnails!",
                  (SELECT count(*) FROM images i JOIN expiring_links l ON l.image_id = i.id
                   WHERE i.owner_id = asked.id AND l.expires_at > $2) AS "live_links!",
                  (SELECT count(*) FROM sessions WHERE user_id = asked.id AND expires_at > $2) AS "live_sessions!"
           FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (id, position) ORDER BY position"#,
        &ids,
        now,
    );
    let rows = rows.fetch_all(connection).await?.into_iter().map(|row| {
        Ok(CascadeFigures {
            images: unsigned(row.images)?,
            thumbnails: unsigned(row.thumbnails)?,
            live_links: unsigned(row.live_links)?,
            live_sessions: unsigned(row.live_sessions)?,
        })
    });
    rows.collect()
}
