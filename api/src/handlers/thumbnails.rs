//! `/api/images/{pk}/thumbnails/{height}`: how far a thumbnail is.

use axum::{Json, extract::State, http::StatusCode};

use crate::{
    AppState, auth::CurrentUser, error::Problem, extract::PkAndHeight, json::ThumbnailJson, urls::Urls,
};
use shared::services::thumbnails;

/// How far a thumbnail is
///
/// Asking does not have it made; requesting its `url` does.
#[utoipa::path(
    get,
    path = "/api/images/{pk}/thumbnails/{height}",
    tag = "images",
    params(
        ("pk" = i64, Path, description = "The image's number"),
        ("height" = u32, Path, description = "The height that the tier names, in px"),
    ),
    responses((status = 200, description = "The thumbnail's state", body = ThumbnailJson)),
    extensions(("x-problems" = json!(["not-logged-in", "not-found", "height-not-in-tier"]))),
)]
pub(crate) async fn show_thumbnail(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    urls: Urls,
    PkAndHeight(image, height): PkAndHeight,
) -> Result<Json<ThumbnailJson>, Problem> {
    let (image, thumbnail) = thumbnails::find(&state.services, &user, image, height).await?;
    Ok(Json(ThumbnailJson::new(&image, &thumbnail, &urls)))
}

/// Try a failed thumbnail again
#[utoipa::path(
    post,
    path = "/api/images/{pk}/thumbnails/{height}/retry",
    tag = "images",
    params(
        ("pk" = i64, Path, description = "The image's number"),
        ("height" = u32, Path, description = "The height that the tier names, in px"),
    ),
    responses((status = 202, description = "Pending again", body = ThumbnailJson)),
    extensions(("x-problems" = json!(["not-logged-in", "not-found", "height-not-in-tier", "thumbnail-not-failed"]))),
)]
pub(crate) async fn retry_thumbnail(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    urls: Urls,
    PkAndHeight(image, height): PkAndHeight,
) -> Result<(StatusCode, Json<ThumbnailJson>), Problem> {
    let (image, thumbnail) = thumbnails::retry(&state.services, &user, image, height).await?;
    Ok((StatusCode::ACCEPTED, Json(ThumbnailJson::new(&image, &thumbnail, &urls))))
}
