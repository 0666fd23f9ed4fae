//! Forms with files: each file is streamed to a temporary one while it is counted, so that no upload is held in memory.

use std::time::Duration;

use axum::{
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{StatusCode, header},
};
use shared::{
    domain::{Title, User},
    storage::{Spooled, Storage},
};

use crate::{
    AppState,
    error::{Code, Problem},
    use_cases::{
        list_images::ImageWithThumbnails,
        upload_image::{bytes_left, count_upload, max_upload_bytes, over_quota, upload_image},
    },
};

/// Bytes that a form may have besides its file: boundaries, headers and the title.
const FORM_OVERHEAD_BYTES: u64 = 64 << 10;
/// Longest title field in bytes; a title's own limit is in characters.
const TITLE_MAX_BYTES: usize = 4 << 10;
/// The most files that a form may have.
const FORM_MAX_FILES: usize = 100;

/// A form with one file.
pub(crate) struct FileForm {
    pub(crate) file: Spooled,
    pub(crate) file_name: String,
    pub(crate) title: Option<String>,
}

/// A file of a form with any number of them, and what became of it.
pub(crate) struct ReceivedFile {
    pub(crate) name: String,
    pub(crate) kept: Result<ImageWithThumbnails, Problem>,
}

/// Reads a form with one file.
pub(crate) async fn receive_file(
    state: &AppState,
    user: &User,
    request: Request,
) -> Result<FileForm, Problem> {
    refuse_announced(state, user, &request)?;
    in_time(state, read_form(&state.storage, request, state, max_upload_bytes(state, user))).await
}

/// Reads a form's files one after another and keeps those that can be kept.
pub(crate) async fn receive_files(
    state: &AppState,
    user: &User,
    request: Request,
) -> Result<Vec<ReceivedFile>, Problem> {
    let mut multipart = multipart(request, state).await?;
    let max = max_upload_bytes(state, user);
    let reading = async {
        let mut received = Vec::new();
        while let Some(field) = multipart.next_field().await.map_err(|error| unread(&error, max))? {
            let name = field.file_name().unwrap_or_default().to_owned();
            // a browser sends a nameless, empty file where none was chosen
            if field.name() != Some("file") || name.is_empty() {
                continue;
            }
            if received.len() == FORM_MAX_FILES {
                let detail = format!("a form has at most {FORM_MAX_FILES} files; upload the others apart");
                received.push(ReceivedFile { name, kept: Err(Problem::new(Code::SeveralFiles, detail)) });
                break;
            }
            let kept = keep(state, user, field, max, &name).await;
            received.push(ReceivedFile { name, kept });
        }
        Ok(received)
    };
    let received = in_time(state, reading).await?;
    if received.is_empty() {
        return Err(Problem::new(Code::MissingFile, "choose at least one file"));
    }
    Ok(received)
}

async fn keep(
    state: &AppState,
    user: &User,
    field: Field<'_>,
    max: u64,
    name: &str,
) -> Result<ImageWithThumbnails, Problem> {
    count_upload(state, user).await?;
    let file = spool(&state.storage, field, max).await?;
    upload_image(state, user, file, &Title::from_file_name(name)).await
}

async fn in_time<T>(
    state: &AppState,
    reading: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let limit = Duration::from_secs(state.limits.request_body_max_seconds);
    tokio::time::timeout(limit, reading).await.map_err(|_| {
        let detail = format!("the body did not arrive within {} seconds", limit.as_secs());
        Problem::new(Code::RequestTimeout, detail)
    })?
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

async fn multipart(request: Request, state: &AppState) -> Result<Multipart, Problem> {
    Multipart::from_request(request, state).await.map_err(|rejection| {
        Problem::new(Code::UnsupportedMediaType, format!("the body is multipart/form-data: {rejection}"))
    })
}

async fn read_form(
    storage: &Storage,
    request: Request,
    state: &AppState,
    max: u64,
) -> Result<FileForm, Problem> {
    let mut multipart = multipart(request, state).await?;
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
    Ok(FileForm { file, file_name, title })
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
