//! Forms with files: each file is streamed to a temporary one while it is counted, so that no
//! upload is held in memory.

use std::time::Duration;

use axum::{
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{StatusCode, header},
};
use shared::{
    domain::{Title, User, byte_count::human_bytes},
    services::{Services, uploads},
    storage::{Spooled, Storage},
};

use crate::{
    AppState,
    content_digest::AnnouncedDigest,
    error::{Problem, ProblemCode},
};

/// Bytes that a form may have besides its file: boundaries, headers and the title.
const FORM_OVERHEAD_BYTES: u64 = 64 << 10;
/// Longest title field in bytes; a title's own limit is in characters.
const TITLE_MAX_BYTES: usize = 4 << 10;
/// A form with one file.
pub(crate) struct FileForm {
    pub(crate) file: Spooled,
    pub(crate) file_name: String,
    pub(crate) title: Option<String>,
}

/// A form whose files are read one after another.
pub(crate) struct FilesForm {
    multipart: Multipart,
    max_bytes: u64,
}

/// A field of a form, which has not been read.
pub(crate) struct FormFile<'f> {
    /// The file's name; `None` for another field, and for the nameless file that a browser sends
    /// where none was chosen.
    pub(crate) name: Option<String>,
    field: Field<'f>,
    max_bytes: u64,
}

impl FilesForm {
    /// Files larger than `max_bytes` are refused.
    pub(crate) async fn open(
        state: &AppState,
        request: Request,
        max_bytes: u64,
    ) -> Result<Self, Problem> {
        Ok(Self { multipart: multipart(request, state).await?, max_bytes })
    }

    /// The next field.
    pub(crate) async fn next(&mut self) -> Result<Option<FormFile<'_>>, Problem> {
        let max_bytes = self.max_bytes;
        let field = self.multipart.next_field().await.map_err(|error| unread(&error, max_bytes))?;
        Ok(field.map(|field| {
            let name =
                field.file_name().filter(|name| field.name() == Some("file") && !name.is_empty());
            FormFile { name: name.map(str::to_owned), field, max_bytes }
        }))
    }
}

impl FormFile<'_> {
    /// Reads the file to a temporary one.
    pub(crate) async fn spool(self, storage: &Storage) -> Result<Spooled, Problem> {
        spool(storage, self.field, self.max_bytes).await
    }
}

/// Reads a form with one file.
pub(crate) async fn receive_file(
    state: &AppState,
    user: &User,
    request: Request,
) -> Result<FileForm, Problem> {
    refuse_announced(&state.services, user, &request)?;
    let (digest, request) = AnnouncedDigest::take(request)?;
    let max = uploads::max_bytes(&state.services, user);
    let receiving = async {
        let form = read_form(&state.services.storage, request, state, max).await?;
        if let Some(digest) = digest {
            digest.check().await?;
        }
        Ok(form)
    };
    in_time(state, receiving).await
}

/// Limits how long the body of an upload is read.
pub(crate) async fn in_time<T>(
    state: &AppState,
    reading: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let limit = Duration::from_secs(state.services.limits.request_body_max_seconds);
    tokio::time::timeout(limit, reading).await.map_err(|_| {
        let detail = format!("The body did not arrive within {} seconds.", limit.as_secs());
        Problem::new(ProblemCode::RequestTimeout, detail)
    })?
}

/// What the announced length already rules out is refused before the body is read.
fn refuse_announced(services: &Services, user: &User, request: &Request) -> Result<(), Problem> {
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced: u64 = announced.and_then(|length| length.parse().ok()).unwrap_or_default();
    let least = announced.saturating_sub(FORM_OVERHEAD_BYTES);
    let max = uploads::max_bytes(services, user);
    if least > max {
        return Err(too_large(max));
    }
    let left = user.bytes_left();
    if left == 0 || least > left {
        return Err(uploads::over_quota(user).into());
    }
    Ok(())
}

fn too_large(max: u64) -> Problem {
    Problem::new(ProblemCode::TooLarge, format!("A file can have at most {}.", human_bytes(max)))
}

async fn multipart(request: Request, state: &AppState) -> Result<Multipart, Problem> {
    Multipart::from_request(request, state).await.map_err(|rejection| {
        Problem::new(
            ProblemCode::UnsupportedMediaType,
            format!("Send the body as multipart/form-data: {rejection}."),
        )
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
                return Err(Problem::new(ProblemCode::SeveralFiles, "Upload one file at a time."));
            }
            Some("file") => {
                let name = field.file_name().unwrap_or_default().to_owned();
                file = Some((spool(storage, field, max).await?, name));
            }
            Some("title") => title = Some(read_title(field, max).await?),
            _ => {}
        }
    }
    let missing = || Problem::new(ProblemCode::MissingFile, "The form has no field named file.");
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
                format!("A title can have at most {} characters.", Title::MAX_CHARS),
            ));
        }
    }
    String::from_utf8(title).map_err(|_| Problem::field("title", "Send the title in UTF-8."))
}

fn unread(error: &MultipartError, max: u64) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(max),
        _ => Problem::new(ProblemCode::MalformedMultipart, error.body_text()),
    }
}
