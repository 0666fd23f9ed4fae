//! Images of all accounts as administrators see them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};

use super::{Count, NO_SUCH_PAGE, containing, count_rows, escaped, fetch};
use crate::{
    db::{
        images::{joined_image, select_images},
        signed, undecodable, unsigned,
    },
    domain::{Image, ImageId, UserId, Username},
};

#[derive(Clone, Debug)]
pub struct ListedImage {
    pub image: Image,
    pub owner: Username,
    /// How many of its thumbnails were made.
    pub thumbnails: u64,
    /// How many of its thumbnails cannot be made.
    pub failed_thumbnails: u64,
    /// How many live links show it.
    pub live_links: u64,
}

#[derive(FromRow)]
struct ListedRow {
    id: i64,
    owner_id: i64,
    original_id: uuid::Uuid,
    title: String,
    format: String,
    width: i32,
    height: i32,
    bytes: i64,
    placeholder: Option<Vec<u8>>,
    uploaded_at: DateTime<Utc>,
    owner: String,
    thumbnails: i64,
    failed_thumbnails: i64,
    live_links: i64,
}

impl TryFrom<ListedRow> for ListedImage {
    type Error = sqlx::Error;

    fn try_from(row: ListedRow) -> sqlx::Result<Self> {
        Ok(Self {
            owner: Username::try_from(row.owner).map_err(undecodable)?,
            thumbnails: unsigned(row.thumbnails)?,
            failed_thumbnails: unsigned(row.failed_thumbnails)?,
            live_links: unsigned(row.live_links)?,
            image: joined_image!(row)?,
        })
    }
}

/// Which images: those that meet everything that is set.
#[derive(Clone, Debug, Default)]
pub struct ImageFilter {
    /// This account's.
    pub owner: Option<UserId>,
    /// Their titles contain this, whatever the case; of fewer than three characters, a word of them
    /// starts so.
    pub title: Option<String>,
    pub id: Option<ImageId>,
    /// Only those of which a thumbnail cannot be made.
    pub failed_only: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSort {
    /// The one that was uploaded last first.
    #[default]
    Newest,
    /// The one that was uploaded first first.
    Oldest,
    /// The one whose original takes most first.
    Largest,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageCursor {
    /// The size of its last image's original in bytes.
    pub bytes: u64,
    /// Its last image.
    pub id: ImageId,
}

impl From<ImageCursor> for String {
    fn from(cursor: ImageCursor) -> Self {
        format!("{}-{}", cursor.bytes, cursor.id)
    }
}

impl TryFrom<String> for ImageCursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let cursor = text.split_once('-').and_then(|(bytes, id)| {
            Some(Self { bytes: bytes.parse().ok()?, id: ImageId(id.parse().ok()?) })
        });
        cursor.ok_or(NO_SUCH_PAGE)
    }
}

/// The index on titles knows groups of three letters, and of fewer those at the start of a word.
const INDEXED_CHARS: usize = 3;

/// Two patterns, one of which the titles match.
fn title_patterns(text: &str) -> (String, String) {
    if text.chars().count() >= INDEXED_CHARS {
        return (containing(text), containing(text));
    }
    let start = escaped(text);
    (format!("{start}%"), format!("% {start}%"))
}

/// What the images of a page are chosen from. The planner only guesses how many images a condition
/// matches, and a wrong guess makes it read all of them.
#[derive(Clone, Copy)]
enum Source {
    /// All images.
    All,
    /// Those with a failed thumbnail.
    Failed,
    /// The next 10,000 in order.
    Next,
    /// All matches of the title, which its index gives.
    Matches,
}

/// A page of images.
struct Page<'a> {
    filter: &'a ImageFilter,
    /// Two patterns, one of which the title matches.
    title: Option<(String, String)>,
    sort: ImageSort,
    /// Bytes and id of the last image of the page before.
    after: Option<(i64, i64)>,
    limit: i64,
    now: DateTime<Utc>,
}

impl Page<'_> {
    async fn fetch(
        &self,
        connection: &mut PgConnection,
        source: Source,
    ) -> sqlx::Result<Vec<ListedImage>> {
        let mut query = select(self.now);
        query.push("(SELECT i.* FROM ");
        self.push_source(&mut query, source);
        query.push(" WHERE true");
        self.push_owner(&mut query);
        self.push_title(&mut query);
        if let Some(id) = self.filter.id {
            query.push(" AND i.id = ").push_bind(id.0);
        }
        self.push_after(&mut query);
        self.push_order(&mut query);
        query.push(" LIMIT ").push_bind(self.limit).push(") i JOIN users u ON u.id = i.owner_id");
        self.push_order(&mut query);
        fetch::<ListedRow, _>(query, connection).await
    }

    fn push_source(&self, query: &mut QueryBuilder<Postgres>, source: Source) {
        match source {
            Source::All => {
                query.push("images i");
            }
            Source::Failed => {
                query.push(
                    "(SELECT * FROM images i
                      WHERE EXISTS (SELECT FROM thumbnails f WHERE f.image_id = i.id AND f.state = 'failed')) i",
                );
            }
            Source::Next => {
                query.push("(SELECT * FROM images i WHERE true");
                self.push_owner(query);
                self.push_after(query);
                self.push_order(query);
                query.push(" LIMIT 10000) i");
            }
            Source::Matches => {
                query.push("(SELECT * FROM images i WHERE true");
                self.push_owner(query);
                self.push_title(query);
                // OFFSET keeps the planner from reading in order instead
                query.push(" OFFSET 0) i");
            }
        }
    }

    fn push_owner(&self, query: &mut QueryBuilder<Postgres>) {
        if let Some(owner) = self.filter.owner {
            query.push(" AND i.owner_id = ").push_bind(owner.0);
        }
    }

    fn push_title(&self, query: &mut QueryBuilder<Postgres>) {
        if let Some((one, other)) = &self.title {
            query.push(" AND (i.title ILIKE ").push_bind(one.clone());
            query.push(" OR i.title ILIKE ").push_bind(other.clone()).push(")");
        }
    }

    fn push_after(&self, query: &mut QueryBuilder<Postgres>) {
        let Some((bytes, id)) = self.after else {
            return;
        };
        match self.sort {
            ImageSort::Newest => query.push(" AND i.id < ").push_bind(id),
            ImageSort::Oldest => query.push(" AND i.id > ").push_bind(id),
            ImageSort::Largest => query
                .push(" AND (i.bytes, i.id) < (")
                .push_bind(bytes)
                .push(", ")
                .push_bind(id)
                .push(")"),
        };
    }

    fn push_order(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(match self.sort {
            ImageSort::Newest => " ORDER BY i.id DESC",
            ImageSort::Oldest => " ORDER BY i.id",
            ImageSort::Largest => " ORDER BY i.bytes DESC, i.id DESC",
        });
    }
}

/// Images with what is shown of each; the source `i`, joined with the owner `u`, follows.
fn select(now: DateTime<Utc>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "SELECT i.id, i.owner_id, i.original_id, i.title, i.format, i.width, i.height, i.bytes, i.placeholder,
                i.uploaded_at, u.username AS owner,
                (SELECT count(*) FROM thumbnails th WHERE th.image_id = i.id AND th.state = 'ready') AS thumbnails,
                (SELECT count(*) FROM thumbnails th WHERE th.image_id = i.id AND th.state = 'failed')
                    AS failed_thumbnails,
                (SELECT count(*) FROM expiring_links l WHERE l.image_id = i.id AND l.expires_at > ",
    );
    query.push_bind(now).push(") AS live_links FROM ");
    query
}

/// At most `limit` of the images that the filter lets through, in this order, from the one after
/// `after` on.
pub async fn page(
    connection: &mut PgConnection,
    filter: &ImageFilter,
    sort: ImageSort,
    after: Option<ImageCursor>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ListedImage>> {
    let after =
        after.map(|after| Ok::<_, sqlx::Error>((signed(after.bytes)?, after.id.0))).transpose()?;
    let title = filter.title.as_deref().map(title_patterns);
    let page = Page { filter, title, sort, after, limit, now };
    if filter.failed_only {
        return page.fetch(connection, Source::Failed).await;
    }
    if page.title.is_none() {
        return page.fetch(connection, Source::All).await;
    }
    // a frequent title fills the page from the next images; a rare one has few matches to put in
    // order
    let next = page.fetch(connection, Source::Next).await?;
    if i64::try_from(next.len()).is_ok_and(|found| found >= limit) {
        return Ok(next);
    }
    page.fetch(connection, Source::Matches).await
}

pub async fn count(connection: &mut PgConnection) -> sqlx::Result<Count> {
    count_rows!(connection, "images", "true")
}

/// Those of the images that are there, by their numbers.
pub async fn find(
    connection: &mut PgConnection,
    ids: &[ImageId],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ListedImage>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut query = select(now);
    query.push("images i JOIN users u ON u.id = i.owner_id WHERE i.id = ANY (").push_bind(ids);
    query.push(") ORDER BY i.id");
    fetch::<ListedRow, _>(query, connection).await
}

/// Those of the images that are there, by their numbers; locked until the transaction ends.
pub async fn lock(connection: &mut PgConnection, ids: &[ImageId]) -> sqlx::Result<Vec<Image>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = select_images!("WHERE id = ANY ($1) ORDER BY id FOR UPDATE", &ids);
    rows.fetch_all(connection).await?.into_iter().map(Image::try_from).collect()
}

/// The account of this name, whatever the case.
pub async fn owner_by_name(
    connection: &mut PgConnection,
    username: &str,
) -> sqlx::Result<Option<UserId>> {
    let id =
        sqlx::query_scalar!("SELECT id FROM users WHERE lower(username) = lower($1)", username);
    Ok(id.fetch_optional(connection).await?.map(UserId))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_searched_anywhere_and_for_a_short_term_at_the_start_of_words() {
        assert_eq!(title_patterns("rom"), ("%rom%".to_owned(), "%rom%".to_owned()));
        assert_eq!(title_patterns("ro"), ("ro%".to_owned(), "% ro%".to_owned()));
    }
}
