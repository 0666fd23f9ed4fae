//! `/api/images/{pk}/thumbnails/{height}`: how far a thumbnail is; `/api/thumbnails`: how far many
//! are.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    domain::{Height, ImageId, User},
    services::{
        images::{self, ImageWithThumbnails},
        thumbnails,
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    auth::{Access, CurrentUser, ImagesRead, ImagesWrite},
    error::{BODY_CODES, Problem, ProblemCode, problems},
    extract::{Body, Path, Query, ThumbnailPath},
    json::{ImageThumbnailJson, StateJson, ThumbnailJson},
    urls::Urls,
};

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

/// Thumbnails in one request.
const THUMBNAILS_MAX: usize = 1000;

/// Which thumbnails.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThumbnailsQuery {
    /// The images' numbers, separated by commas; at most 1,000.
    #[param(example = "1,2,3")]
    pk: String,
    /// Only thumbnails in this state.
    state: Option<StateJson>,
}

/// How far many thumbnails are
///
/// Those of the images and of the tier's heights. Images that are not yours or do not exist are
/// left out. Asking does not have them made.
#[utoipa::path(
    get,
    path = "/api/thumbnails",
    tag = "images",
    params(ThumbnailsQuery),
    responses((status = 200, description = "The thumbnails by image and height", body = [ImageThumbnailJson])),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[&[ProblemCode::InvalidField]]))),
    ),
)]
pub(crate) async fn list_thumbnails(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesRead>,
    urls: Urls,
    Query(query): Query<ThumbnailsQuery>,
) -> Result<Json<Vec<ImageThumbnailJson>>, Problem> {
    let number = |text: &str| {
        let rule = || Problem::field("pk", format!("{text:?} is not an image's number."));
        text.trim().parse().map(ImageId).map_err(|_| rule())
    };
    let images = query.pk.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
    refuse_too_many("pk", images.len())?;
    let found = images::find_many(&state.services, &user, &images).await?;
    let is_wanted = |json: &ImageThumbnailJson| query.state.is_none_or(|state| json.is(state));
    Ok(Json(represent(&found, &user, &urls).filter(is_wanted).collect()))
}

/// Which thumbnails to prepare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preparation {
    /// The images' numbers; times the heights, at most 1,000.
    #[schema(value_type = Vec<i64>, min_items = 1, max_items = 1000, example = json!([1, 2, 3]))]
    pks: Vec<ImageId>,
    /// Heights of the tier in px.
    #[schema(min_items = 1, max_items = 16, example = json!([200]))]
    heights: Vec<i64>,
}

/// Thumbnails that are being prepared.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreparedJson {
    /// By image and height, as they are now.
    thumbnails: Vec<ImageThumbnailJson>,
    /// Numbers of which you have no image.
    not_found: Vec<i64>,
}

/// Have many thumbnails made
///
/// Those that nobody has requested yet are made after the ones that somebody waits for; the first
/// request of a file moves its thumbnail ahead.
#[utoipa::path(
    post,
    path = "/api/thumbnails/prepare",
    tag = "images",
    request_body = Preparation,
    responses((status = 202, description = "Pending, ready or failed", body = PreparedJson)),
    extensions(
        ("x-scope" = json!(ImagesWrite::SCOPE)),
        ("x-problems" = json!(problems(&[BODY_CODES, &[
            ProblemCode::HeightNotInTier, ProblemCode::QueueFull,
        ]]))),
    ),
)]
pub(crate) async fn prepare_thumbnails(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesWrite>,
    urls: Urls,
    Body(body): Body<Preparation>,
) -> Result<(StatusCode, Json<PreparedJson>), Problem> {
    let Preparation { mut pks, heights } = body;
    pks.sort_unstable();
    pks.dedup();
    let heights = heights.into_iter().map(Height::try_from).collect::<Result<Vec<_>, _>>()?;
    if pks.is_empty() {
        return Err(Problem::field("pks", "Name at least one image."));
    }
    if heights.is_empty() {
        return Err(Problem::field("heights", "Name at least one height."));
    }
    refuse_too_many("pks", pks.len().saturating_mul(heights.len()))?;
    let prepared = thumbnails::prepare(&state.services, &user, &pks, &heights).await?;
    let not_found = pks.iter().filter(|pk| prepared.iter().all(|found| found.image.id != **pk));
    let not_found = not_found.map(|pk| pk.0).collect();
    let is_wanted =
        |json: &ImageThumbnailJson| heights.iter().any(|height| height.px() == json.height());
    let thumbnails = represent(&prepared, &user, &urls).filter(is_wanted).collect();
    Ok((StatusCode::ACCEPTED, Json(PreparedJson { thumbnails, not_found })))
}

fn represent<'a>(
    found: &'a [ImageWithThumbnails],
    user: &'a User,
    urls: &'a Urls,
) -> impl Iterator<Item = ImageThumbnailJson> + 'a {
    found.iter().flat_map(|ImageWithThumbnails { image, thumbnails }| {
        let visible = user.tier.visible(thumbnails);
        visible.map(|thumbnail| ImageThumbnailJson::new(image, thumbnail, urls))
    })
}

fn refuse_too_many(field: &str, count: usize) -> Result<(), Problem> {
    if count <= THUMBNAILS_MAX {
        return Ok(());
    }
    let rule = format!("A request names at most {THUMBNAILS_MAX} thumbnails, not {count}.");
    Err(Problem::field(field, rule))
}
