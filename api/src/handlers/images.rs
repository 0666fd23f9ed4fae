//! `/api/images`: the list, and single images.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use axum_extra::headers::IfMatch;
use serde::Deserialize;
use shared::{
    domain::{ImageId, Title, User},
    services::images::{self, Expectation, ImageWithThumbnails},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    auth::{Access, CurrentUser, ImagesRead, ImagesWrite},
    error::{BODY_CODES, Problem, ProblemCode, problems},
    extract::{Body, ImagePath, Path, Query},
    json::{ImageJson, tagged},
    urls::{Urls, header_value},
};

const LIST_DEFAULT: i64 = 50;
const LIST_MAX: i64 = 200;

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Images on a page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// Where the page starts, as the `Link` header of the page before says.
    cursor: Option<i64>,
    /// The format of the answer, of which there is one. Clients of other systems name it.
    #[serde(rename = "format")]
    #[param(rename = "format")]
    _format: Option<ListFormat>,
}

/// What a list can be answered as.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListFormat {
    Json,
}

/// Your images
///
/// Newest first. When there are more, the `Link` header has the next page's URL (`rel="next"`).
#[utoipa::path(
    get,
    path = "/api/images",
    tag = "images",
    params(ListQuery, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer before")),
    responses(
        (status = 200, description = "A page of the list", body = [ImageJson], headers(
            ("Link" = String, description = "The next page, when there is one"),
            ("ETag" = String, description = "Changes with the page"),
        )),
        (status = 304, description = "The page is as the client has it"),
    ),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[&[ProblemCode::InvalidField]])))),
)]
pub(crate) async fn list_images(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesRead>,
    urls: Urls,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(Problem::field(
            "limit",
            format!("A page has 1 to {LIST_MAX} images, not {limit}."),
        ));
    }
    let page = images::list(&state.services, &user, query.cursor.map(ImageId), limit).await?;
    let images: Vec<_> = page.images.iter().map(|found| represent(found, &user, &urls)).collect();
    let mut response = tagged::respond(&headers, &images)?;
    if let Some(last) = page.continues_after {
        let next = format!("<{}>; rel=\"next\"", urls.images_after(last, limit));
        response.headers_mut().insert(header::LINK, header_value(&next));
    }
    Ok(response)
}

/// One of your images
#[utoipa::path(
    get,
    path = "/api/images/{pk}",
    tag = "images",
    params(ImagePath, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer before")),
    responses(
        (status = 200, description = "The image", body = ImageJson,
         headers(("ETag" = String, description = "Changes with the image; for If-Match"))),
        (status = 304, description = "The image is as the client has it"),
    ),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[&[ProblemCode::NotFound]])))),
)]
pub(crate) async fn show_image(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesRead>,
    urls: Urls,
    headers: HeaderMap,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Response, Problem> {
    let found = images::find(&state.services, &user, id).await?;
    tagged::respond(&headers, &represent(&found, &user, &urls))
}

/// What to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    /// The new title, 1 to 255 characters.
    #[schema(value_type = String, min_length = 1, max_length = 255)]
    title: String,
}

/// Rename an image
///
/// Existing links keep working.
#[utoipa::path(
    patch,
    path = "/api/images/{pk}",
    tag = "images",
    params(ImagePath, ("If-Match" = Option<String>, Header, description = "The `ETag` of the image as it was read")),
    request_body(content(
        (Rename = "application/json"),
        (Rename = "application/x-www-form-urlencoded"),
        (Rename = "multipart/form-data"),
    )),
    responses((status = 200, description = "Renamed", body = ImageJson)),
    extensions(
        ("x-scope" = json!(ImagesWrite::SCOPE)),
        ("x-problems" = json!(problems(&[BODY_CODES, &[ProblemCode::NotFound, ProblemCode::PreconditionFailed]])))),
)]
pub(crate) async fn rename_image(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesWrite>,
    urls: Urls,
    headers: HeaderMap,
    Path(ImagePath { pk: id }): Path<ImagePath>,
    Body(body): Body<Rename>,
) -> Result<Json<ImageJson>, Problem> {
    let title = Title::try_from(body.title)?;
    let condition = tagged::if_match(&headers)?;
    let is_expected = |found: &_| expects(condition.as_ref(), found, &user, &urls);
    let expected: Expectation<'_> = if condition.is_some() { Some(&is_expected) } else { None };
    let renamed = images::rename(&state.services, &user, id, &title, expected).await?;
    Ok(Json(represent(&renamed, &user, &urls)))
}

/// Delete an image
///
/// Its thumbnails and links go with it at once; its files are deleted by a worker.
#[utoipa::path(
    delete,
    path = "/api/images/{pk}",
    tag = "images",
    params(ImagePath, ("If-Match" = Option<String>, Header, description = "The `ETag` of the image as it was read")),
    responses((status = 204, description = "Deleted")),
    extensions(
        ("x-scope" = json!(ImagesWrite::SCOPE)),
        ("x-problems" = json!(problems(&[&[
            ProblemCode::MalformedRequest, ProblemCode::NotFound, ProblemCode::PreconditionFailed,
        ]])))),
)]
pub(crate) async fn delete_image(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesWrite>,
    urls: Urls,
    headers: HeaderMap,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<StatusCode, Problem> {
    let condition = tagged::if_match(&headers)?;
    let is_expected = |found: &_| expects(condition.as_ref(), found, &user, &urls);
    let expected: Expectation<'_> = if condition.is_some() { Some(&is_expected) } else { None };
    images::delete(&state.services, &user, id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn represent(found: &ImageWithThumbnails, user: &User, urls: &Urls) -> ImageJson {
    ImageJson::new(&found.image, &found.thumbnails, &user.tier, urls)
}

fn expects(
    condition: Option<&IfMatch>,
    found: &ImageWithThumbnails,
    user: &User,
    urls: &Urls,
) -> bool {
    condition.is_none_or(|condition| tagged::is_expected(condition, &represent(found, user, urls)))
}
