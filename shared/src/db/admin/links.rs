//! Expiring links of all accounts as administrators see them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Count, NO_SUCH_PAGE, count_rows};
use crate::{
    db::{links::target, undecodable},
    domain::{ExpiringLink, ImageId, LinkId, Title, UserId, Username},
};

#[derive(Clone, Debug)]
pub struct ListedLink {
    pub link: ExpiringLink,
    /// The title of the image that it shows.
    pub title: Title,
    pub owner_id: UserId,
    pub owner: Username,
}

struct LinkRow {
    id: Uuid,
    image_id: i64,
    height: Option<i32>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    title: String,
    owner_id: i64,
    owner: String,
}

impl TryFrom<LinkRow> for ListedLink {
    type Error = sqlx::Error;

    fn try_from(row: LinkRow) -> sqlx::Result<Self> {
        Ok(Self {
            link: ExpiringLink {
                id: LinkId(row.id),
                image: ImageId(row.image_id),
                target: target(row.height)?,
                created_at: row.created_at,
                expires_at: row.expires_at,
            },
            title: Title::try_from(row.title).map_err(undecodable)?,
            owner_id: UserId(row.owner_id),
            owner: Username::try_from(row.owner).map_err(undecodable)?,
        })
    }
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkCursor {
    /// The end of its last link.
    pub expires_at: DateTime<Utc>,
    /// Its last link.
    pub id: LinkId,
}

impl From<LinkCursor> for String {
    fn from(cursor: LinkCursor) -> Self {
        format!("{}-{}", cursor.expires_at.timestamp_micros(), cursor.id)
    }
}

impl TryFrom<String> for LinkCursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let cursor = text.split_once('-').and_then(|(micros, id)| {
            let expires_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            Some(Self { expires_at, id: LinkId(id.parse().ok()?) })
        });
        cursor.ok_or(NO_SUCH_PAGE)
    }
}

/// At most `limit` live links, of one account or all that are not being deleted, the one that ends
/// soonest first, from the one after `after` on.
pub async fn page(
    connection: &mut PgConnection,
    owner: Option<UserId>,
    after: Option<LinkCursor>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ListedLink>> {
    let rows = sqlx::query_as!(
        LinkRow,
        "SELECT l.id, l.image_id, l.height, l.created_at, l.expires_at, i.title, i.owner_id, u.username AS owner
         FROM expiring_links l JOIN images i ON i.id = l.image_id JOIN users u ON u.id = i.owner_id
         WHERE l.expires_at > $1 AND u.closed_at IS NULL
           AND ($2::bigint IS NULL OR i.owner_id = $2)
           AND ($3::timestamptz IS NULL OR (l.expires_at, l.id) > ($3, $4::uuid))
         ORDER BY l.expires_at, l.id LIMIT $5",
        now,
        owner.map(|owner| owner.0),
        after.map(|after| after.expires_at),
        after.map(|after| after.id.0),
        limit,
    );
    rows.fetch_all(connection).await?.into_iter().map(ListedLink::try_from).collect()
}

/// How many links there are, with those that have expired since the last cleanup.
pub async fn count(connection: &mut PgConnection) -> sqlx::Result<Count> {
    count_rows!(connection, "expiring_links", "true")
}

/// Revokes a link; what it was.
pub async fn delete(connection: &mut PgConnection, id: LinkId) -> sqlx::Result<Option<ListedLink>> {
    let row = sqlx::query_as!(
        LinkRow,
        "DELETE FROM expiring_links l USING images i, users u
         WHERE l.id = $1 AND i.id = l.image_id AND u.id = i.owner_id
         RETURNING l.id, l.image_id, l.height, l.created_at, l.expires_at, i.title, i.owner_id, u.username AS owner",
        id.0,
    );
    row.fetch_optional(connection).await?.map(ListedLink::try_from).transpose()
}
