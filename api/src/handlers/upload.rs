//! `POST /api/images`: an upload.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use shared::{
    domain::{Title, User},
    services::uploads,
};
use utoipa::ToSchema;

use crate::{
    AppState,
    auth::{Access, CurrentUser, ImagesWrite},
    error::{Problem, RateLimitFields, UPLOAD_CODES, problems},
    json::ImageJson,
    upload_form,
    urls::{Urls, header_value},
};

/// A multipart form with the file.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form; the fields are read as they arrive")]
pub(crate) struct UploadForm {
    /// A PNG or JPEG; what it is is told by its content, not by its name.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// What to call the image; without it, the file's name.
    title: Option<String>,
}

/// Upload an image
///
/// The limits are checked from the file's header; nothing is decoded. The thumbnails of the
/// account's tier are made when they are first asked for.
#[utoipa::path(
    post,
    path = "/api/images",
    tag = "images",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "Kept; Location is the image", body = ImageJson,
               headers(("Location" = String, description = "The image's URL")))),
    extensions(
        ("x-scope" = json!(ImagesWrite::SCOPE)),
        ("x-problems" = json!(problems(&[UPLOAD_CODES])))),
)]
pub(crate) async fn upload_image(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesWrite>,
    urls: Urls,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let limit = uploads::count(&state.services, &user).await?;
    let stored = receive_and_store(&state, &user, &urls, request).await;
    Ok((RateLimitFields(limit), stored))
}

async fn receive_and_store(
    state: &AppState,
    user: &User,
    urls: &Urls,
    request: Request,
) -> Result<impl IntoResponse + use<>, Problem> {
    let form = upload_form::receive_file(state, user, request).await?;
    let title = match form.title {
        Some(title) => Title::try_from(title)?,
        None => Title::from_file_name(&form.file_name),
    };
    let kept = uploads::store(&state.services, user, form.file, &title).await?;
    let location: HeaderValue = header_value(&urls.image(kept.image.id));
    let body = ImageJson::new(&kept.image, &kept.thumbnails, &user.tier, urls);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)))
}
