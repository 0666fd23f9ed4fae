//! `/api/images/{pk}/expiring_links`: making, listing and revoking links that expire.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use serde::Deserialize;
use shared::{
    domain::{ExpiringLink, Height, IdempotencyKey, ImageId, LinkId, LinkTarget, User, ValidFor},
    services::{
        idempotency::{self, Known, Once},
        links,
    },
};
use utoipa::ToSchema;

use crate::{
    AppState,
    auth::{Access, CurrentUser, ImagesRead, LinksWrite},
    error::{BODY_CODES, IDEMPOTENCY_CODES, Problem, ProblemCode, problems},
    extract::{Body, Idempotency, ImagePath, LinkPath, Path, WholeNumber, fingerprint},
    json::LinkJson,
    urls::{Urls, header_value},
};

/// Which link to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// How long it lives, in seconds.
    #[schema(value_type = i64, minimum = 300, maximum = 30000, example = 300)]
    valid_for: WholeNumber,
    /// The height in px of the thumbnail to show; without it, the original.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 4000)]
    height: Option<WholeNumber>,
}

/// The live links of an image
///
/// The one that lives longest first.
#[utoipa::path(
    get,
    path = "/api/images/{pk}/expiring_links",
    tag = "expiring links",
    params(ImagePath),
    responses((status = 200, description = "The live links", body = [LinkJson])),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[
        &[ProblemCode::LinksNotInTier, ProblemCode::NotFound],
    ])))),
)]
pub(crate) async fn list_expiring_links(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<ImagesRead>,
    urls: Urls,
    Path(ImagePath { pk: image }): Path<ImagePath>,
) -> Result<Json<Vec<LinkJson>>, Problem> {
    let found = links::list(&state.services, &user, image).await?;
    Ok(Json(found.iter().map(|link| LinkJson::new(link, &urls)).collect()))
}

/// Make a link that expires
///
/// Anybody who has it sees the file until then, without a login.
#[utoipa::path(
    post,
    path = "/api/images/{pk}/expiring_links",
    tag = "expiring links",
    params(ImagePath, ("Idempotency-Key" = Option<String>, Header, description = "Sent again within 24 hours with the same body, the answer is the link that was created")),
    request_body(content(
        (NewLink = "application/json"),
        (NewLink = "application/x-www-form-urlencoded"),
        (NewLink = "multipart/form-data"),
    )),
    responses((status = 201, description = "Made; Location is the link", body = LinkJson,
               headers(("Location" = String, description = "The link")))),
    extensions(
        ("x-scope" = json!(LinksWrite::SCOPE)),
        ("x-problems" = json!(problems(&[
        BODY_CODES, IDEMPOTENCY_CODES,
        &[
            ProblemCode::LinksNotInTier, ProblemCode::OriginalNotInTier, ProblemCode::NotFound,
            ProblemCode::TooManyLinks,
        ],
    ])))),
)]
pub(crate) async fn create_expiring_link(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<LinksWrite>,
    urls: Urls,
    Path(ImagePath { pk: image }): Path<ImagePath>,
    Idempotency(key): Idempotency,
    body: Result<Body<NewLink>, Problem>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<LinkJson>), Problem> {
    // before the body as well as before the image: without the right nothing else is of interest
    user.tier.allows_expiring_links()?;
    let Body(body) = body?;
    let valid_for = ValidFor::try_from(body.valid_for.0)?;
    let target = match body.height {
        None => LinkTarget::Original,
        Some(px) => LinkTarget::Thumbnail(Height::try_from(px.0)?),
    };
    let link = match key {
        None => links::create(&state.services, &user, image, target, valid_for, None).await?,
        Some(key) => create_once(&state, &user, image, target, valid_for, key).await?,
    };
    let location = header_value(&urls.expiring(link.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(LinkJson::new(&link, &urls))))
}

async fn create_once(
    state: &AppState,
    user: &User,
    image: ImageId,
    target: LinkTarget,
    valid_for: ValidFor,
    key: IdempotencyKey,
) -> Result<ExpiringLink, Problem> {
    let asked = format!("{image} {target:?} {}", valid_for.seconds());
    let fingerprint = fingerprint("link", &[asked.as_bytes()]);
    match idempotency::begin(&state.services, user, key).await? {
        Known::New(key) => {
            let once = Some(Once { key: &key, fingerprint });
            Ok(links::create(&state.services, user, image, target, valid_for, once).await?)
        }
        Known::Outcome(outcome) => {
            let id = outcome.created(fingerprint)?.parse().map(LinkId);
            let id = id.map_err(|error: uuid::Error| Problem::internal(&error))?;
            Ok(links::find(&state.services, user, image, id).await?)
        }
    }
}

/// Revoke a link
#[utoipa::path(
    delete,
    path = "/api/images/{pk}/expiring_links/{id}",
    tag = "expiring links",
    params(LinkPath),
    responses((status = 204, description = "Revoked")),
    extensions(
        ("x-scope" = json!(LinksWrite::SCOPE)),
        ("x-problems" = json!(problems(&[&[ProblemCode::NotFound]])))),
)]
pub(crate) async fn revoke_expiring_link(
    State(state): State<AppState>,
    CurrentUser(user, _): CurrentUser<LinksWrite>,
    Path(LinkPath { pk: image, id }): Path<LinkPath>,
) -> Result<StatusCode, Problem> {
    links::revoke(&state.services, &user, image, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
