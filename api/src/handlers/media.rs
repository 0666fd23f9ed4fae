//! `/user_content`: files, for whoever has their unguessable URL.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use imaging::Format;
use shared::{
    db::{self, links::LiveLink, thumbnails::ServedThumbnail},
    domain::{
        Image, LinkId, LinkTarget, OriginalId, Thumbnail, ThumbnailId, ThumbnailState, Title,
    },
    services::{accounts::ClientAddress, thumbnails},
};
use uuid::Uuid;

use super::wait::Wait;
use crate::{
    AppState,
    client_ip::Client,
    error::{Problem, ProblemCode, problems},
    extract::{FilePath, Path},
    file_response::{Cache, FileResponse},
    json::PendingJson,
    thumbnail_events::wait_for_thumbnail,
    urls::{Urls, header_value, parse_file_name},
};

fn no_such_file() -> Problem {
    Problem::not_found("file")
}

/// An original
///
/// Public to whoever has the URL, while the owner's tier includes originals.
#[utoipa::path(
    get,
    path = "/user_content/original/{file}",
    tag = "files",
    params(FilePath),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "image/*"),
        (status = 206, description = "The range of the file that was asked for", body = Vec<u8>,
         content_type = "image/*"),
        (status = 304, description = "The copy that the client has is still right"),
    ),
    extensions(("x-problems" = json!(problems(&[
        &[ProblemCode::NotFound, ProblemCode::OriginalNotInTier, ProblemCode::RangeNotSatisfiable],
    ])))),
)]
pub(crate) async fn download_original(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(FilePath { file: name }): Path<FilePath>,
) -> Result<Response, Problem> {
    let (id, format) = parse_file_name(&name).ok_or_else(no_such_file)?;
    let id = OriginalId(id);
    let found = db::images::by_original(&mut *state.services.connection().await?, id).await?;
    let (image, tier, digest) =
        found.filter(|(image, ..)| image.format == format).ok_or_else(no_such_file)?;
    tier.allows_original()?;
    let file = FileResponse::original(&image, digest, Cache::TierGated, None);
    respond_with_original(&state, &image, file, &headers).await
}

/// A thumbnail
///
/// Public to whoever has the URL, while the owner's tier includes this height. The first request
/// has it made and answers 202; with `Prefer: wait=N` (RFC 7240, at most 30 seconds), and by itself
/// for a browser's `<img>`, the request waits for the bytes.
#[utoipa::path(
    get,
    path = "/user_content/resized/{file}",
    tag = "files",
    params(
        FilePath,
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds for the bytes"),
    ),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "image/*"),
        (status = 202, description = "Being made; ask again after Retry-After seconds", body = PendingJson,
         headers(("Location" = String, description = "Where its state can be asked for"),
                 ("Retry-After" = u32, description = "Seconds"))),
        (status = 206, description = "The range of the file that was asked for", body = Vec<u8>,
         content_type = "image/*"),
        (status = 304, description = "The copy that the client has is still right"),
    ),
    extensions(("x-problems" = json!(problems(&[
        &[
            ProblemCode::NotFound, ProblemCode::HeightNotInTier, ProblemCode::ThumbnailFailed,
            ProblemCode::RangeNotSatisfiable, ProblemCode::Backlog, ProblemCode::QueueFull,
        ],
    ])))),
)]
pub(crate) async fn download_thumbnail(
    State(state): State<AppState>,
    urls: Urls,
    Client(from): Client,
    headers: HeaderMap,
    Path(FilePath { file: name }): Path<FilePath>,
) -> Result<Response, Problem> {
    let (id, format) = parse_file_name(&name).ok_or_else(no_such_file)?;
    let request = Request { headers: &headers, from };
    respond_with_thumbnail(&state, &urls, request, &Link::Lasting(ThumbnailId(id), format)).await
}

/// The file behind a link that expires
///
/// Public to whoever has the URL, until it expires or is revoked, while the owner's tier includes
/// such links and what the link shows.
#[utoipa::path(
    get,
    path = "/user_content/expiring/{file}",
    tag = "files",
    params(
        FilePath,
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds for a thumbnail's bytes"),
    ),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "image/*"),
        (status = 202, description = "The thumbnail is being made", body = PendingJson,
         headers(("Location" = String, description = "Where its state can be asked for"),
                 ("Retry-After" = u32, description = "Seconds"))),
        (status = 206, description = "The range of the file that was asked for", body = Vec<u8>,
         content_type = "image/*"),
        (status = 304, description = "The copy that the client has is still right"),
    ),
    extensions(("x-problems" = json!(problems(&[
        &[
            ProblemCode::NotFound, ProblemCode::LinksNotInTier, ProblemCode::OriginalNotInTier,
            ProblemCode::HeightNotInTier, ProblemCode::ThumbnailFailed,
            ProblemCode::RangeNotSatisfiable, ProblemCode::Backlog, ProblemCode::QueueFull,
        ],
    ])))),
)]
pub(crate) async fn download_expiring(
    State(state): State<AppState>,
    urls: Urls,
    Client(from): Client,
    headers: HeaderMap,
    Path(FilePath { file: name }): Path<FilePath>,
) -> Result<Response, Problem> {
    let id = LinkId(Uuid::try_parse(&name).map_err(|_| no_such_file())?);
    let (live, cache) = live_link(&state, id).await?;
    match live.link.target {
        LinkTarget::Original => {
            let file_name = Some(save_as(&live.image.title, live.image.format));
            let file = FileResponse::original(&live.image, live.digest, cache, file_name);
            respond_with_original(&state, &live.image, file, &headers).await
        }
        LinkTarget::Thumbnail(_) => {
            let request = Request { headers: &headers, from };
            respond_with_thumbnail(&state, &urls, request, &Link::Expiring(id)).await
        }
    }
}

/// A link that has not expired and that the tier allows, and how long copies may be kept.
async fn live_link(state: &AppState, id: LinkId) -> Result<(LiveLink, Cache), Problem> {
    let now = state.services.clock.now();
    let found = db::links::live(&mut *state.services.connection().await?, id, now).await?;
    let live = found.ok_or_else(no_such_file)?;
    live.tier.allows_expiring_links()?;
    live.tier.allows_target(live.link.target)?;
    let remaining = live.link.remaining(now).ok_or_else(no_such_file)?.num_seconds();
    Ok((live, Cache::Expiring { remaining }))
}

/// Who asks for a file, and how.
#[derive(Clone, Copy)]
struct Request<'a> {
    headers: &'a HeaderMap,
    from: ClientAddress,
}

/// How a request names a thumbnail.
enum Link {
    Lasting(ThumbnailId, Format),
    Expiring(LinkId),
}

/// A thumbnail that may be sent.
struct Permitted {
    served: ServedThumbnail,
    cache: Cache,
    /// For saving what has no name in its URL.
    file_name: Option<String>,
}

impl Link {
    /// The thumbnail, if at this moment its owner's tier allows it and the link has not expired.
    async fn look_up(&self, state: &AppState) -> Result<Permitted, Problem> {
        match *self {
            Self::Lasting(id, format) => {
                let found =
                    db::thumbnails::find_with_tier(&mut *state.services.connection().await?, id)
                        .await?;
                let served =
                    found.filter(|served| served.format == format).ok_or_else(no_such_file)?;
                served.tier.allows_height(served.thumbnail.height)?;
                Ok(Permitted { served, cache: Cache::TierGated, file_name: None })
            }
            Self::Expiring(id) => {
                let (live, cache) = live_link(state, id).await?;
                let LinkTarget::Thumbnail(height) = live.link.target else {
                    return Err(no_such_file());
                };
                let mut connection = state.services.connection().await?;
                let thumbnail =
                    db::thumbnails::of_height(&mut connection, live.link.image, height).await?;
                let id = thumbnail.ok_or_else(no_such_file)?.id;
                let served = db::thumbnails::find_with_tier(&mut connection, id)
                    .await?
                    .ok_or_else(no_such_file)?;
                let file_name = Some(save_as(&live.image.title, live.image.format));
                Ok(Permitted { served, cache, file_name })
            }
        }
    }
}

async fn respond_with_original(
    state: &AppState,
    image: &Image,
    file: FileResponse,
    request: &HeaderMap,
) -> Result<Response, Problem> {
    if let Some(response) = file.respond(&state.services.storage, request).await? {
        return Ok(response);
    }
    // a store that is away has no objects at all; only one that is there can have lost this one
    state.services.storage.verify_now().await?;
    if db::images::by_original(&mut *state.services.connection().await?, image.original)
        .await?
        .is_none()
    {
        // the image was deleted since its row was read
        return Err(no_such_file());
    }
    tracing::error!(image = %image.id, original = %image.original, "an original is missing from the storage");
    Err(Problem::new(ProblemCode::Internal, "The file is missing from the storage."))
}

async fn respond_with_thumbnail(
    state: &AppState,
    urls: &Urls,
    request: Request<'_>,
    link: &Link,
) -> Result<Response, Problem> {
    let wait = Wait::of(request.headers);
    let mut response = match ready_file(state, request, link, wait).await? {
        Made::File(response) => response,
        Made::NotYet(thumbnail) => {
            pending(&urls.thumbnail_status(thumbnail.image, thumbnail.height))
        }
    };
    wait.record(response.headers_mut());
    Ok(response)
}

/// Whether a thumbnail's file can be sent.
enum Made {
    File(Response),
    NotYet(Thumbnail),
}

/// The thumbnail's file. If it or its object is absent, requests it and waits.
async fn ready_file(
    state: &AppState,
    request: Request<'_>,
    link: &Link,
    wait: Wait,
) -> Result<Made, Problem> {
    let deadline = wait.patience().map(|patience| Instant::now() + patience);
    loop {
        let Permitted { served, cache, file_name } = link.look_up(state).await?;
        let thumbnail = served.thumbnail;
        let (id, attempt) = (thumbnail.id, thumbnail.attempt);
        let current = match thumbnail.state {
            ThumbnailState::Failed { reason } => {
                return Err(Problem::new(ProblemCode::ThumbnailFailed, reason));
            }
            ThumbnailState::Ready { bytes, .. } => {
                let file =
                    FileResponse::thumbnail(id, attempt, served.format, bytes, cache, file_name);
                match file.respond(&state.services.storage, request.headers).await? {
                    Some(response) => return Ok(Made::File(response)),
                    None => thumbnails::remake(&state.services, id, attempt).await?,
                }
            }
            ThumbnailState::Absent => thumbnails::request(&state.services, id).await?,
            ThumbnailState::Pending => {
                thumbnails::promote(&state.services, id).await?;
                ThumbnailState::Pending
            }
        };
        let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let ended = match remaining.filter(|remaining| current.is_pending() && !remaining.is_zero())
        {
            Some(remaining) => {
                wait_for_thumbnail(state, id, served.owner, request.from, remaining).await?
            }
            None => current,
        };
        if ended.is_pending() || matches!(ended, ThumbnailState::Absent) {
            return Ok(Made::NotYet(Thumbnail { state: ended, ..thumbnail }));
        }
        // the attempt that ended names the object, and the tier may have changed meanwhile
    }
}

fn pending(status_url: &str) -> Response {
    let headers = [
        (header::LOCATION, header_value(status_url)),
        (header::RETRY_AFTER, HeaderValue::from_static("1")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::ACCEPTED, headers, Json(PendingJson::new(status_url.to_owned()))).into_response()
}

/// A name for saving what a link without a name shows.
fn save_as(title: &Title, format: imaging::Format) -> String {
    let slug = title.slug();
    let name = if slug.is_empty() { "image" } else { &slug };
    format!("{name}.{}", format.extension())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_has_a_plain_name() {
        let title = |text: &str| Title::try_from(text.to_owned()).expect("a title");
        assert_eq!(save_as(&title("a\"; x=y"), imaging::Format::Jpeg), "a-x-y.jpg");
        assert_eq!(save_as(&title("!!!"), imaging::Format::Png), "image.png");
    }
}
