//! Images of all accounts.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use shared::{
    db::{
        self,
        admin::{
            Count,
            images::{ImageCursor, ImageFilter, ImageSort, ListedImage},
        },
    },
    domain::{ImageId, Thumbnail, ThumbnailState},
    services::images,
};

use super::{Administrator, Owner, PAGE_ROWS, Rows, begin_read, choice, number, one_of, selected};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, ImagePath, Path, Query},
    file_response::{Cache, FileResponse},
    pages::{Layout, format, forms::Choice, page, picture::placeholder},
    urls::page_paths,
};

const SORTS: [(&str, &str, ImageSort); 3] = [
    ("", "newest first", ImageSort::Newest),
    ("oldest", "oldest first", ImageSort::Oldest),
    ("largest", "largest first", ImageSort::Largest),
];

/// An image as a row of a table.
struct Row {
    listed: ListedImage,
    placeholder: Option<String>,
    /// Whether one of its thumbnails can be shown.
    has_preview: bool,
}

impl Row {
    fn new(listed: ListedImage, thumbnails: &[Thumbnail]) -> Self {
        let is_ready =
            |thumbnail: &Thumbnail| matches!(thumbnail.state, ThumbnailState::Ready { .. });
        Self {
            placeholder: placeholder(&listed.image),
            has_preview: thumbnails
                .iter()
                .any(|thumbnail| thumbnail.image == listed.image.id && is_ready(thumbnail)),
            listed,
        }
    }
}

#[derive(Template)]
#[template(path = "admin/images.html")]
struct ImagesPage {
    layout: Layout,
    query: ImagesQuery,
    failed: Vec<Choice>,
    sorts: Vec<Choice>,
    rows: Vec<Row>,
    total: Count,
    next: Option<String>,
}

/// Which part of the list, and in which order.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ImagesQuery {
    owner: String,
    title: String,
    id: String,
    failed: String,
    sort: String,
    /// The bytes and the number of the last image of the page before.
    cursor: String,
}

impl ImagesQuery {
    fn sort(&self) -> Result<ImageSort, Problem> {
        one_of(&SORTS, "sort", "order", &self.sort)
    }

    fn after(&self) -> Result<Option<ImageCursor>, Problem> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let parsed = self.cursor.split_once('-').and_then(|(bytes, id)| {
            Some(ImageCursor { bytes: bytes.parse().ok()?, id: ImageId(id.parse().ok()?) })
        });
        parsed.map(Some).ok_or_else(|| Problem::field("cursor", "there is no such page"))
    }

    fn continued(&self, last: &ListedImage) -> Self {
        Self { cursor: format!("{}-{}", last.image.bytes, last.image.id), ..self.clone() }
    }
}

/// `GET /admin/images`
pub(crate) async fn list_images(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Query(query): Query<ImagesQuery>,
) -> Result<Response, Problem> {
    let (sort, after) = (query.sort()?, query.after()?);
    let title = query.title.trim();
    let mut filter = ImageFilter {
        owner: None,
        title: Some(title.to_owned()).filter(|title| !title.is_empty()),
        id: number("id", &query.id)?.map(ImageId),
        has_failed_thumbnail: choice("failed", &query.failed)?.filter(|is_wanted| *is_wanted),
    };
    let mut tx = begin_read(&state.services.pool).await?;
    let owner = Owner::named(&mut tx, &query.owner).await?;
    let rows = if let Owner::Nobody = owner {
        Vec::new()
    } else {
        filter.owner = owner.id();
        let now = state.services.clock.now();
        db::admin::images::page(&mut tx, &filter, sort, after, PAGE_ROWS + 1, now).await?
    };
    let rows = Rows::of(rows);
    let ids: Vec<ImageId> = rows.rows.iter().map(|listed| listed.image.id).collect();
    let thumbnails = db::thumbnails::of_images(&mut tx, &ids).await?;
    let total = db::admin::images::count(&mut tx).await?;
    drop(tx);
    let next = rows.continues_after().map(|last| query.continued(last));
    let images_page = ImagesPage {
        layout: visitor.layout().await?,
        failed: Choice::list([("", "any"), ("yes", "with one that failed")], &query.failed),
        sorts: Choice::list(SORTS.map(|(name, label, _)| (name, label)), &query.sort),
        query,
        rows: rows.rows.into_iter().map(|listed| Row::new(listed, &thumbnails)).collect(),
        total,
        next: next.map(|next| page_paths::query(&next)),
    };
    Ok(page(StatusCode::OK, &images_page))
}

/// `GET /admin/images/{pk}/preview`: the lowest thumbnail that is there, whatever the owner's tier
/// includes.
pub(crate) async fn show_preview(
    State(state): State<AppState>,
    Administrator(_): Administrator,
    headers: HeaderMap,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Response, Problem> {
    let mut connection = state.services.connection().await?;
    let thumbnails = db::thumbnails::of_images(&mut connection, &[id]).await?;
    let lowest = thumbnails.iter().find_map(|thumbnail| match thumbnail.state {
        ThumbnailState::Ready { bytes, .. } => Some((thumbnail, bytes)),
        _ => None,
    });
    let no_preview = || Problem::not_found("preview");
    let (lowest, bytes) = lowest.ok_or_else(no_preview)?;
    let served =
        db::thumbnails::find_with_tier(&mut connection, lowest.id).await?.ok_or_else(no_preview)?;
    drop(connection);
    let file = FileResponse::thumbnail(
        lowest.id,
        lowest.attempt,
        served.format,
        bytes,
        Cache::TierGated,
        None,
    );
    file.respond(&state.services.storage, &headers).await?.ok_or_else(no_preview)
}

#[derive(Template)]
#[template(path = "admin/images_delete.html")]
struct DeletePage {
    layout: Layout,
    images: Vec<ListedImage>,
    bytes: u64,
    thumbnails: u64,
    live_links: u64,
}

/// Which images.
#[derive(Deserialize)]
pub(crate) struct Selected {
    #[serde(default)]
    ids: Vec<i64>,
}

impl Selected {
    fn ids(self) -> Result<Vec<ImageId>, Problem> {
        Ok(selected(self.ids, "image")?.into_iter().map(ImageId).collect())
    }
}

/// `GET /admin/images/delete`: asks, and lists all that goes.
pub(crate) async fn confirm_deletion(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Query(selected): Query<Selected>,
) -> Result<Response, Problem> {
    let ids = selected.ids()?;
    let images = db::admin::images::find(
        &mut *state.services.connection().await?,
        &ids,
        state.services.clock.now(),
    )
    .await?;
    let sum = |of: fn(&ListedImage) -> u64| images.iter().map(of).sum();
    let delete_page = DeletePage {
        layout: visitor.layout().await?,
        bytes: sum(|listed| listed.image.bytes),
        thumbnails: sum(|listed| listed.thumbnails),
        live_links: sum(|listed| listed.live_links),
        images,
    };
    Ok(page(StatusCode::OK, &delete_page))
}

/// `POST /admin/images/delete`
pub(crate) async fn delete_images(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(selected): Form<Selected>,
) -> Result<Response, Problem> {
    let deleted =
        images::delete_of_any_owner(&state.services, visitor.actor(), &selected.ids()?).await?;
    let notice = format!("Deleted {}.", format::plural(deleted, "image"));
    visitor.go(page_paths::ADMIN_IMAGES, &notice).await
}
