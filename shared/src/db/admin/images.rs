//! Images of all accounts as administrators see them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Count, containing, count_rows, escaped};
use crate::{
    db::{
        images::{ImageRow, joined_image},
        signed, undecodable, unsigned,
    },
    domain::{Image, ImageId, UserId, Username},
};

/// An image in a list.
#[derive(Clone, Debug)]
pub struct ListedImage {
    /// The image.
    pub image: Image,
    /// Its owner's name.
    pub owner: Username,
    /// How many of its thumbnails were made.
    pub thumbnails: u64,
    /// How many of its thumbnails cannot be made.
    pub failed_thumbnails: u64,
    /// How many live links show it.
    pub live_links: u64,
}

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
    /// Their titles contain this, whatever the case; of fewer than three characters, a word of them starts so.
    pub title: Option<String>,
    /// This one.
    pub id: Option<ImageId>,
    /// If set and true: one of their thumbnails cannot be made.
    pub has_failed_thumbnail: Option<bool>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug)]
pub struct ImageCursor {
    /// The size of its last image's original in bytes.
    pub bytes: u64,
    /// Its last image.
    pub id: ImageId,
}

/// The index on titles knows groups of three letters, and of fewer those at the start of a word.
const INDEXED_CHARS: usize = 3;

/// Two patterns, one of which the titles match.
fn title_patterns(text: &str) -> (String, Option<String>) {
    if text.chars().count() >= INDEXED_CHARS {
        return (containing(text), None);
    }
    let start = escaped(text);
    (format!("{start}%"), Some(format!("% {start}%")))
}

/// The parameters of a page.
struct Page {
    now: DateTime<Utc>,
    owner: Option<i64>,
    title: Option<String>,
    other_title: Option<String>,
    id: Option<i64>,
    after: Option<i64>,
    limit: i64,
    after_bytes: Option<i64>,
}

/// One query for each order, as an order cannot be a parameter, of the images that a FROM clause gives. Everything
/// beside the image is looked up for the page's rows only.
macro_rules! page_query {
    (
        $connection:ident, $page:ident, [$($source:tt)+], $condition:tt, $order:tt, [$($bytes:expr)?]
    ) => {
        sqlx::query_as!(
            ListedRow,
            "SELECT i.id, i.owner_id, i.original_id, i.title, i.format, i.width, i.height, i.bytes, i.placeholder,
                    i.uploaded_at, u.username AS owner,
                    (SELECT count(*) FROM thumbnails th WHERE th.image_id = i.id AND th.state = 'ready') AS \"thumbnails!\",
                    (SELECT count(*) FROM thumbnails th WHERE th.image_id = i.id AND th.state = 'failed')
                        AS \"failed_thumbnails!\",
                    (SELECT count(*) FROM expiring_links l WHERE l.image_id = i.id AND l.expires_at > $1)
                        AS \"live_links!\"
             FROM (SELECT i.*
                   FROM " + $($source)+ + "
                   WHERE ($2::bigint IS NULL OR i.owner_id = $2)
                     AND ($3::text IS NULL OR i.title ILIKE $3 OR i.title ILIKE $4)
                     AND ($5::bigint IS NULL OR i.id = $5)
                     AND ($6::bigint IS NULL OR " + $condition + ")
                   ORDER BY " + $order + " LIMIT $7) i
             JOIN users u ON u.id = i.owner_id
             ORDER BY " + $order,
            $page.now,
            $page.owner,
            $page.title,
            $page.other_title,
            $page.id,
            $page.after,
            $page.limit,
            $($bytes,)?
        )
        .fetch_all(&mut *$connection)
        .await?
    };
}

/// The queries of all orders.
macro_rules! page_queries {
    ($connection:ident, $page:ident, $sort:ident, $query:ident) => {
        match $sort {
            ImageSort::Newest => $query!($connection, $page, "i.id < $6", "i.id DESC", []),
            ImageSort::Oldest => $query!($connection, $page, "i.id > $6", "i.id", []),
            ImageSort::Largest => $query!(
                $connection,
                $page,
                "(i.bytes, i.id) < ($8, $6)",
                "i.bytes DESC, i.id DESC",
                [$page.after_bytes]
            ),
        }
    };
}

macro_rules! query_of_all {
    ($connection:ident, $page:ident, $condition:tt, $order:tt, $bytes:tt) => {
        page_query!($connection, $page, ["images i"], $condition, $order, $bytes)
    };
}

/// The planner starts from the failed thumbnails only where they are no option.
macro_rules! query_of_failed {
    ($connection:ident, $page:ident, $condition:tt, $order:tt, $bytes:tt) => {
        page_query!(
            $connection,
            $page,
            [
                "(SELECT * FROM images i
               WHERE EXISTS (SELECT FROM thumbnails f WHERE f.image_id = i.id AND f.state = 'failed')) i"
            ],
            $condition,
            $order,
            $bytes
        )
    };
}

/// Among the next 10,000 images.
macro_rules! query_of_next {
    ($connection:ident, $page:ident, $condition:tt, $order:tt, $bytes:tt) => {
        page_query!(
            $connection,
            $page,
            ["(SELECT * FROM images i
               WHERE ($2::bigint IS NULL OR i.owner_id = $2) AND ($6::bigint IS NULL OR "
                + $condition
                + ")
               ORDER BY "
                + $order
                + " LIMIT 10000) i"],
            $condition,
            $order,
            $bytes
        )
    };
}

/// All matches first, which the index on titles gives, and then their order: OFFSET keeps the planner from turning this
/// round.
macro_rules! query_of_matches {
    ($connection:ident, $page:ident, $condition:tt, $order:tt, $bytes:tt) => {
        page_query!(
            $connection,
            $page,
            ["(SELECT * FROM images i
               WHERE ($2::bigint IS NULL OR i.owner_id = $2) AND (i.title ILIKE $3 OR i.title ILIKE $4)
               OFFSET 0) i"],
            $condition,
            $order,
            $bytes
        )
    };
}

/// At most `limit` of the images that the filter lets through, in this order, from the one after `after` on.
pub async fn page(
    connection: &mut PgConnection,
    filter: &ImageFilter,
    sort: ImageSort,
    after: Option<ImageCursor>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ListedImage>> {
    let (title, other_title) = filter.title.as_deref().map(title_patterns).unzip();
    let page = Page {
        now,
        owner: filter.owner.map(|owner| owner.0),
        title,
        other_title: other_title.flatten(),
        id: filter.id.map(|id| id.0),
        after: after.map(|after| after.id.0),
        limit,
        after_bytes: after.map(|after| signed(after.bytes)).transpose()?,
    };
    let rows = if filter.has_failed_thumbnail == Some(true) {
        page_queries!(connection, page, sort, query_of_failed)
    } else if page.title.is_some() {
        titled_page(connection, &page, sort).await?
    } else {
        page_queries!(connection, page, sort, query_of_all)
    };
    rows.into_iter().map(ListedImage::try_from).collect()
}

/// How many images a title matches the planner only guesses, and a wrong guess makes it read all of them. A title that
/// is frequent fills the page from the next images; one that is rare has few matches to put in order.
async fn titled_page(
    connection: &mut PgConnection,
    page: &Page,
    sort: ImageSort,
) -> sqlx::Result<Vec<ListedRow>> {
    let next = page_queries!(connection, page, sort, query_of_next);
    if i64::try_from(next.len()).is_ok_and(|found| found >= page.limit) {
        return Ok(next);
    }
    Ok(page_queries!(connection, page, sort, query_of_matches))
}

/// How many images there are.
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
    let rows = sqlx::query_as!(
        ListedRow,
        r#"SELECT i.id, i.owner_id, i.original_id, i.title, i.format, i.width, i.height, i.bytes, i.placeholder,
                  i.uploaded_at, u.username AS owner,
                  (SELECT count(*) FROM thumbnails th WHERE th.image_id = i.id AND th.state = 'ready') AS "thumbnails!",
                  (SELECT count(*) FROM thumbnails th WHERE th.image_id = i.id AND th.state = 'failed')
                      AS "failed_thumbnails!",
                  (SELECT count(*) FROM expiring_links l WHERE l.image_id = i.id AND l.expires_at > $2)
                      AS "live_links!"
           FROM images i JOIN users u ON u.id = i.owner_id
           WHERE i.id = ANY ($1) ORDER BY i.id"#,
        &ids,
        now,
    );
    rows.fetch_all(connection).await?.into_iter().map(ListedImage::try_from).collect()
}

/// Those of the images that are there, by their numbers; locked until the transaction ends.
pub async fn lock(connection: &mut PgConnection, ids: &[ImageId]) -> sqlx::Result<Vec<Image>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        ImageRow,
        "SELECT id, owner_id, original_id, title, format, width, height, bytes, placeholder, uploaded_at
         FROM images WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
        &ids,
    );
    rows.fetch_all(connection).await?.into_iter().map(Image::try_from).collect()
}

/// The account of this name, whatever the case.
pub async fn owner_by_name(connection: &mut PgConnection, username: &str) -> sqlx::Result<Option<UserId>> {
    let id = sqlx::query_scalar!("SELECT id FROM users WHERE lower(username) = lower($1)", username);
    Ok(id.fetch_optional(connection).await?.map(UserId))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_searched_anywhere_and_for_a_short_term_at_the_start_of_words() {
        assert_eq!(title_patterns("rom"), ("%rom%".to_owned(), None));
        assert_eq!(title_patterns("ro"), ("ro%".to_owned(), Some("% ro%".to_owned())));
    }
}
