//! One's images, and uploading more.

use askama::Template;
use axum::{
    extract::{Request, State},
    response::{Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;
use shared::{
    domain::{ImageId, Title, User},
    services::{images, uploads},
};

use super::{
    Layout, Visitor, format, page,
    picture::{Picture, Shown, Size},
};
use crate::{
    AppState, auth,
    error::{Problem, ProblemCode},
    extract::{FormQuery, ImagePath, Path},
    upload_form::{self, FilesForm, FormFile},
    urls::{Urls, page_paths},
};

/// The most files that one form may have.
const FORM_MAX_FILES: u64 = 100;
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

#[derive(Deserialize)]
pub(crate) struct GalleryQuery {
    cursor: Option<ImageId>,
}

/// `GET /`
pub(crate) async fn show_gallery(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    FormQuery(query): FormQuery<GalleryQuery>,
) -> Result<Response, Problem> {
    show(&state, &visitor, &urls, query.cursor, Vec::new()).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    urls: &Urls,
    cursor: Option<ImageId>,
    refused: Vec<RefusedFile>,
) -> Result<Response, Problem> {
    let user = &visitor.user;
    let listed = images::list(&state.services, user, cursor, PAGE_IMAGES).await?;
    let pictures =
        listed.images.iter().map(|found| Picture::new(found, &user.tier, urls, Size::Tile));
    let status = if refused.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let gallery = GalleryPage {
        layout: visitor.layout().await?,
        user,
        max_upload_bytes: uploads::max_bytes(&state.services, user),
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
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Response, Problem> {
    let found = images::find(&state.services, &visitor.user, id).await?;
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
    let storing = store_files(&state, &visitor.user, request);
    let (stored, refused) = upload_form::in_time(&state, storing).await?;
    if stored == 0 && refused.is_empty() {
        return Err(Problem::new(ProblemCode::MissingFile, "Choose at least one file."));
    }
    if refused.is_empty() {
        let notice = format!("Uploaded {}.", format::plural(stored, "image"));
        return visitor.go(page_paths::GALLERY, &notice).await;
    }
    // what was taken counts towards the quota that the page shows
    let user = auth::current_user(&state, &visitor.session).await?;
    let visitor = Visitor { user, session: visitor.session };
    show(&state, &visitor, &urls, None, refused).await
}

/// Stores the files of a form; returns how many, and those that were refused.
async fn store_files(
    state: &AppState,
    user: &User,
    request: Request,
) -> Result<(u64, Vec<RefusedFile>), Problem> {
    let max_bytes = uploads::max_bytes(&state.services, user);
    let mut form = FilesForm::open(state, request, max_bytes).await?;
    let (mut stored, mut refused) = (0, Vec::new());
    while let Some(file) = form.next().await? {
        let Some(name) = file.name.clone() else {
            continue;
        };
        if stored + refused.len() as u64 == FORM_MAX_FILES {
            let reason = format!(
                "A form can have at most {FORM_MAX_FILES} files. Upload the others separately."
            );
            refused.push(RefusedFile { name, reason });
            break;
        }
        match store_file(state, user, file, &name).await {
            Ok(()) => stored += 1,
            Err(problem) => refused.push(RefusedFile { name, reason: problem.detail }),
        }
    }
    Ok((stored, refused))
}

async fn store_file(
    state: &AppState,
    user: &User,
    file: FormFile<'_>,
    name: &str,
) -> Result<(), Problem> {
    uploads::count(&state.services, user).await?;
    let title = Title::from_file_name(name);
    let file = file.spool(&state.services.storage).await?;
    uploads::store(&state.services, user, file, &title, None).await?;
    Ok(())
}
