//! `POST /api/images`: an upload.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use shared::{
    domain::{IdempotencyKey, ImageId, Title, User},
    services::{
        idempotency::{self, Known, Once},
        images, uploads,
    },
};
use utoipa::ToSchema;

use crate::{
    AppState,
    auth::{Access, CurrentUser, ImagesWrite},
    error::{IDEMPOTENCY_CODES, Problem, RateLimitFields, UPLOAD_CODES, problems},
    extract::{Idempotency, fingerprint},
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
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again within 24 hours with the same file and \
            title, the answer is the image that was created"),
        ("Content-Digest" = Option<String>, Header, description = "`sha-256=:BASE64:` of the whole body (RFC 9530); a \
            body that does not have it is refused"),
    ),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "Kept; Location is the image", body = ImageJson,
               headers(("Location" = String, description = "The image's URL")))),
    extensions(
        ("x-scope" = json!(ImagesWrite::SCOPE)),
        ("x-problems" = json!(problems(&[UPLOAD_CODES, IDEMPOTENCY_CODES])))),
)]
pub(crate) async fn upload_image(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesWrite>,
    urls: Urls,
    Idempotency(key): Idempotency,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let limit = uploads::count(&state.services, &user).await?;
    let stored = receive_and_store(&state, &user, &urls, key, request).await;
    Ok((RateLimitFields(limit), stored))
}

async fn receive_and_store(
    state: &AppState,
    user: &User,
    urls: &Urls,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<impl IntoResponse + use<>, Problem> {
    let known = match key {
        Some(key) => Some(idempotency::begin(&state.services, user, key).await?),
        None => None,
    };
    let form = upload_form::receive_file(state, user, request).await?;
    let title = match form.title {
        Some(title) => Title::try_from(title)?,
        None => Title::from_file_name(&form.file_name),
    };
    let fingerprint = fingerprint("upload", &[&form.file.digest().0, title.as_str().as_bytes()]);
    let stored = match &known {
        Some(Known::Outcome(outcome)) => {
            let id = outcome.created(fingerprint)?.parse().map(ImageId);
            let id = id.map_err(|error| Problem::internal(&error))?;
            images::find(&state.services, user, id).await?
        }
        Some(Known::New(key)) => {
            let once = Some(Once { key, fingerprint });
            uploads::store(&state.services, user, form.file, &title, once).await?
        }
        None => uploads::store(&state.services, user, form.file, &title, None).await?,
    };
    let location: HeaderValue = header_value(&urls.image(stored.image.id));
    let body = ImageJson::new(&stored.image, &stored.thumbnails, &user.tier, urls);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)))
}
