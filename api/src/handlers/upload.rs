//! `POST /api/images`: an upload, streamed to a temporary file while it is counted.

use std::time::Duration;

use axum::{
    Json,
    extract::{
        FromRequest, Multipart, Request, State,
        multipart::{Field, MultipartError},
    },
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use shared::{
    domain::{Title, User},
    storage::{Spooled, Storage},
};
use utoipa::ToSchema;

use crate::{
    AppState,
    auth::CurrentUser,
    error::{Code, Problem},
    representations::ImageJson,
    urls::{Urls, header_value},
    use_cases::upload_image::{self, bytes_left, count_upload, max_upload_bytes, over_quota},
};

/// Bytes that a form may have besides its file: boundaries, headers and the title.
pub(crate) const FORM_OVERHEAD_BYTES: u64 = 64 << 10;
/// Longest title field in bytes; a title's own limit is in characters.
const TITLE_MAX_BYTES: usize = 4 << 10;

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
/// The limits are checked from the file's header; nothing is decoded. The thumbnails of the account's tier are made
/// when they are first asked for.
#[utoipa::path(
    post,
    path = "/api/images",
    tag = "images",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "Kept; Location is the image", body = ImageJson,
               headers(("Location" = String, description = "The image's URL")))),
    extensions(("x-problems" = json!([
        "not-logged-in", "too-many-uploads", "unsupported-media-type", "malformed-multipart", "too-large",
        "request-timeout", "missing-file", "several-files", "invalid-field", "empty-file", "not-an-image",
        "unsupported-image", "truncated-image", "corrupt-image", "too-many-pixels", "too-many-scans", "over-quota"
    ]))),
)]
pub(crate) async fn upload_image(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    urls: Urls,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    count_upload(&state, &user).await?;
    refuse_announced(&state, &user, &request)?;
    let limit = Duration::from_secs(state.limits.request_body_max_seconds);
    let reading = read_form(&state.storage, request, &state, max_upload_bytes(&state, &user));
    let form = tokio::time::timeout(limit, reading).await.map_err(|_| {
        let detail = format!("the body did not arrive within {} seconds", limit.as_secs());
        Problem::new(Code::RequestTimeout, detail)
    })??;
    let title = match form.title {
        Some(title) => Title::try_from(title)?,
        None => Title::from_file_name(&form.file_name),
    };
    let kept = upload_image::upload_image(&state, &user, form.file, &title).await?;
    let location: HeaderValue = header_value(&urls.image(kept.image.id));
    let body = ImageJson::new(&kept.image, &kept.thumbnails, &user.tier, &urls);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)))
}

/// What the announced length already rules out is refused before the body is read.
fn refuse_announced(state: &AppState, user: &User, request: &Request) -> Result<(), Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced: u64 = announced.and_then(|length| length.parse().ok()).unwrap_or_default();
    let least = announced.saturating_sub(FORM_OVERHEAD_BYTES);
    let max = max_upload_bytes(state, user);
    if least > max {
        return Err(too_large(max));
    }
    let left = bytes_left(user);
    if left == 0 || least > left {
        return Err(over_quota(user));
    }
    Ok(())
}

fn too_large(max: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("a file has at most {max} bytes"))
}

struct Form {
    file: Spooled,
    file_name: String,
    title: Option<String>,
}

async fn read_form(storage: &Storage, request: Request, state: &AppState, max: u64) -> Result<Form, Problem> {
    let mut multipart = Multipart::from_request(request, state).await.map_err(|rejection| {
        Problem::new(Code::UnsupportedMediaType, format!("the body is multipart/form-data: {rejection}"))
    })?;
    let (mut file, mut title) = (None, None);
    while let Some(field) = multipart.next_field().await.map_err(|error| unread(&error, max))? {
        match field.name() {
            Some("file") if file.is_some() => {
                return Err(Problem::new(Code::SeveralFiles, "upload one file at a time"));
            }
            Some("file") => {
                let name = field.file_name().unwrap_or_default().to_owned();
                file = Some((spool(storage, field, max).await?, name));
            }
            Some("title") => title = Some(read_title(field, max).await?),
            _ => {}
        }
    }
    let missing = || Problem::new(Code::MissingFile, "the form has no field named file");
    let (file, file_name) = file.ok_or_else(missing)?;
    Ok(Form { file, file_name, title })
}

async fn spool(storage: &Storage, mut field: Field<'_>, max: u64) -> Result<Spooled, Problem> {
    let mut file = storage.spool()?;
    while let Some(piece) = field.chunk().await.map_err(|error| unread(&error, max))? {
        if file.bytes() + piece.len() as u64 > max {
            return Err(too_large(max));
        }
        file.write(&piece).await?;
    }
    file.finish().await?;
    Ok(file)
}

async fn read_title(mut field: Field<'_>, max: u64) -> Result<String, Problem> {
    let mut title = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| unread(&error, max))? {
        title.extend_from_slice(&piece);
        if title.len() > TITLE_MAX_BYTES {
            return Err(Problem::field(
                "title",
                format!("a title has at most {} characters", Title::MAX_CHARS),
            ));
        }
    }
    String::from_utf8(title).map_err(|_| Problem::field("title", "a title is text in UTF-8"))
}

fn unread(error: &MultipartError, max: u64) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(max),
        _ => Problem::new(Code::MalformedMultipart, error.body_text()),
    }
}
