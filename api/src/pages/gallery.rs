//! One's images, and uploading more.

use askama::Template;
use axum::{
    extract::{Request, State},
    response::{Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;
use shared::domain::{ImageId, User};

use super::{
    Layout, Visitor, format, page,
    picture::{Picture, Shown, Size},
};
use crate::{
    AppState, auth,
    error::Problem,
    extract::{Pk, Query},
    upload_form::{self, ReceivedFile},
    urls::{Urls, page_paths},
    use_cases::{list_images, upload_image::max_upload_bytes},
};

/// Images on a page; scrolling loads the next.
const PAGE_IMAGES: i64 = 48;

#[derive(Template)]
#[template(path = "gallery.html")]
struct GalleryPage<'a> {
    layout: Layout,
    user: &'a User,
    max_upload_bytes: u64,
    pictures: Vec<Picture>,
    /// Where older images are.
    next: Option<String>,
    is_first_page: bool,
    /// What became of the files that a browser without scripts sent.
    refused: Vec<RefusedFile>,
}

struct RefusedFile {
    name: String,
    reason: String,
}

/// One image of the list by itself, for the script that adds what was just uploaded.
#[derive(Template)]
#[template(path = "tile.html")]
struct Tile {
    picture: Picture,
}

/// Which part of the list.
#[derive(Deserialize)]
pub(crate) struct GalleryQuery {
    cursor: Option<i64>,
}

/// `GET /`
pub(crate) async fn show_gallery(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    Query(query): Query<GalleryQuery>,
) -> Result<Response, Problem> {
    show(&state, &visitor, &urls, query.cursor.map(ImageId), Vec::new()).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    urls: &Urls,
    cursor: Option<ImageId>,
    refused: Vec<RefusedFile>,
) -> Result<Response, Problem> {
    let user = &visitor.user;
    let listed = {
        let mut connection = state.pool.acquire().await?;
        list_images::list_images(&mut connection, user, cursor, PAGE_IMAGES).await?
    };
    let pictures = listed.images.iter().map(|found| Picture::new(found, &user.tier, urls, Size::Tile));
    let status = if refused.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let gallery = GalleryPage {
        layout: visitor.layout().await?,
        user,
        max_upload_bytes: max_upload_bytes(state, user),
        pictures: pictures.collect(),
        next: listed.continues_after.map(page_paths::gallery_after),
        is_first_page: cursor.is_none(),
        refused,
    };
    Ok(page(status, &gallery))
}

/// `GET /images/{pk}/tile`
pub(crate) async fn show_tile(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    Pk(id): Pk,
) -> Result<Response, Problem> {
    let found = list_images::find_image(&mut *state.pool.acquire().await?, &visitor.user, id).await?;
    let picture = Picture::new(&found, &visitor.user.tier, &urls, Size::Tile);
    Ok(page(StatusCode::OK, &Tile { picture }))
}

/// `GET /images`: whoever comes back to where a form was refused goes on from the gallery.
pub(crate) async fn leave_upload() -> Redirect {
    Redirect::to(page_paths::GALLERY)
}

/// `POST /images`: a form with any number of files. Each is taken or refused for itself.
pub(crate) async fn upload_images(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    request: Request,
) -> Result<Response, Problem> {
    let received = upload_form::receive_files(&state, &visitor.user, request).await?;
    let kept = received.iter().filter(|file| file.kept.is_ok()).count() as u64;
    let refusal = |file: ReceivedFile| {
        file.kept.err().map(|problem| RefusedFile { name: file.name, reason: problem.detail })
    };
    let refused: Vec<_> = received.into_iter().filter_map(refusal).collect();
    if refused.is_empty() {
        let notice = format!("Uploaded {}.", format::plural(kept, "image"));
        return visitor.go(page_paths::GALLERY, &notice).await;
    }
    // what was taken counts towards the quota that the page shows
    let user = auth::current_user(&state, &visitor.session).await?;
    let visitor = Visitor { user, session: visitor.session };
    show(&state, &visitor, &urls, None, refused).await
}
