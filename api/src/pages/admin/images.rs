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

use super::{Administrator, Answer, Owner, PAGE_ROWS, Rows, begin_read, selected};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, FormQuery, ImagePath, Path},
    file_response::{Cache, FileResponse},
    pages::{
        Layout, format,
        forms::{self, Choice},
        page,
        picture::placeholder,
    },
    urls::page_paths,
};

const SORTS: [(ImageSort, &str); 3] = [
    (ImageSort::Newest, "newest first"),
    (ImageSort::Oldest, "oldest first"),
    (ImageSort::Largest, "largest first"),
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
        Self {
            placeholder: placeholder(&listed.image),
            has_preview: thumbnails
                .iter()
                .any(|thumbnail| thumbnail.image == listed.image.id && thumbnail.state.is_ready()),
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

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ImagesQuery {
    owner: Option<String>,
    title: Option<String>,
    id: Option<ImageId>,
    failed: Option<Answer>,
    sort: ImageSort,
    cursor: Option<ImageCursor>,
}

/// `GET /admin/images`
pub(crate) async fn list_images(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(query): FormQuery<ImagesQuery>,
) -> Result<Response, Problem> {
    let mut tx = begin_read(&state.services.pool).await?;
    let owner = Owner::named(&mut tx, query.owner.as_deref()).await?;
    let filter = ImageFilter {
        owner: owner.id(),
        title: query.title.clone(),
        id: query.id,
        failed_only: query.failed.is_some_and(Answer::is_yes),
    };
    let rows = if let Owner::Nobody = owner {
        Vec::new()
    } else {
        let now = state.services.clock.now();
        let (sort, after) = (query.sort, query.cursor);
        db::admin::images::page(&mut tx, &filter, sort, after, PAGE_ROWS + 1, now).await?
    };
    let rows = Rows::of(rows);
    let ids: Vec<ImageId> = rows.rows.iter().map(|listed| listed.image.id).collect();
    let thumbnails = db::thumbnails::of_images(&mut tx, &ids).await?;
    let total = db::admin::images::count(&mut tx).await?;
    drop(tx);
    let images_page = ImagesPage {
        layout: visitor.layout().await?,
        failed: Choice::optional(
            "any",
            [(Answer::Yes, "with one that failed")],
            query.failed.as_ref(),
        ),
        sorts: Choice::list(SORTS, query.sort),
        next: rows.next(|last| {
            let cursor = ImageCursor { bytes: last.image.bytes, id: last.image.id };
            ImagesQuery { cursor: Some(cursor), ..query.clone() }
        }),
        query,
        rows: rows.rows.into_iter().map(|listed| Row::new(listed, &thumbnails)).collect(),
        total,
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

#[derive(Deserialize)]
pub(crate) struct Selected {
    #[serde(default)]
    ids: Vec<ImageId>,
}

/// `GET /admin/images/delete`: asks, and lists all that goes.
pub(crate) async fn confirm_deletion(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(form): FormQuery<Selected>,
) -> Result<Response, Problem> {
    let ids = selected(form.ids, "image")?;
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
    Form(form): Form<Selected>,
) -> Result<Response, Problem> {
    let ids = selected(form.ids, "image")?;
    let deleted = images::delete_of_any_owner(&state.services, visitor.actor(), &ids).await?;
    let notice = format!("Deleted {}.", format::plural(deleted, "image"));
    visitor.go(page_paths::ADMIN_IMAGES, &notice).await
}
