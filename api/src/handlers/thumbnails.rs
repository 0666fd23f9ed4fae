//! `/api/images/{pk}/thumbnails/{height}`: how far a thumbnail is.

use axum::{Json, extract::State, http::StatusCode};

use crate::{
    AppState,
    auth::{Access, CurrentUser, ImagesRead, ImagesWrite},
    error::{Problem, ProblemCode, problems},
    extract::{Path, ThumbnailPath},
    json::ThumbnailJson,
    urls::Urls,
};
use shared::services::thumbnails;

/// How far a thumbnail is
///
/// Asking does not have it made; requesting its `url` does.
#[utoipa::path(
    get,
    path = "/api/images/{pk}/thumbnails/{height}",
    tag = "images",
    params(ThumbnailPath),
    responses((status = 200, description = "The thumbnail's state", body = ThumbnailJson)),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[
        &[ProblemCode::NotFound, ProblemCode::HeightNotInTier],
    ])))),
)]
pub(crate) async fn show_thumbnail(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesRead>,
    urls: Urls,
    Path(ThumbnailPath { pk: image, height }): Path<ThumbnailPath>,
) -> Result<Json<ThumbnailJson>, Problem> {
    let (image, thumbnail) = thumbnails::find(&state.services, &user, image, height).await?;
    Ok(Json(ThumbnailJson::new(&image, &thumbnail, &urls)))
}

/// Try a failed thumbnail again
#[utoipa::path(
    post,
    path = "/api/images/{pk}/thumbnails/{height}/retry",
    tag = "images",
    params(ThumbnailPath),
    responses((status = 202, description = "Pending again", body = ThumbnailJson)),
    extensions(
        ("x-scope" = json!(ImagesWrite::SCOPE)),
        ("x-problems" = json!(problems(&[
        &[ProblemCode::NotFound, ProblemCode::HeightNotInTier, ProblemCode::NotFailed],
    ])))),
)]
pub(crate) async fn retry_thumbnail(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesWrite>,
    urls: Urls,
    Path(ThumbnailPath { pk: image, height }): Path<ThumbnailPath>,
) -> Result<(StatusCode, Json<ThumbnailJson>), Problem> {
    let (image, thumbnail) = thumbnails::retry(&state.services, &user, image, height).await?;
    Ok((StatusCode::ACCEPTED, Json(ThumbnailJson::new(&image, &thumbnail, &urls))))
}
