//! `/api/tokens`: creating, listing and revoking API tokens.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use shared::{
    domain::{Scopes, TokenLifetime, TokenName},
    services::tokens,
};
use utoipa::ToSchema;

use crate::{
    AppState,
    auth::SessionUser,
    error::{BODY_CODES, Problem, ProblemCode, problems},
    extract::{Body, Path, TokenPath, WholeNumber},
    json::{NewTokenJson, TokenJson},
};

/// Which token to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is for, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "backup script")]
    name: String,
    /// What it allows: `images:read`, `images:write`, `links:write`, and for administrators
    /// `admin:read` and `admin:write`.
    #[schema(min_items = 1, example = json!(["images:read", "images:write"]))]
    scopes: Vec<String>,
    /// How long it can be used, in days; without it, for ever.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3650, example = 90)]
    expires_in_days: Option<WholeNumber>,
}

/// Your tokens
///
/// Newest first, without their texts. Expired ones are kept for 30 days.
#[utoipa::path(
    get,
    path = "/api/tokens",
    tag = "tokens",
    responses((status = 200, description = "The tokens", body = [TokenJson])),
    extensions(("x-session" = json!(true))),
)]
pub(crate) async fn list_tokens(
    State(state): State<AppState>,
    SessionUser(user): SessionUser,
) -> Result<Json<Vec<TokenJson>>, Problem> {
    let found = tokens::list(&state.services, &user).await?;
    Ok(Json(found.iter().map(TokenJson::new).collect()))
}

/// Create a token
///
/// The answer has its text, which cannot be shown again. Send it as `Authorization: Bearer pic_…`.
/// A token never allows more than its account: it ends with the account, and what the tier
/// excludes it does not include.
#[utoipa::path(
    post,
    path = "/api/tokens",
    tag = "tokens",
    request_body = NewToken,
    responses((status = 201, description = "Created", body = NewTokenJson)),
    extensions(
        ("x-session" = json!(true)),
        ("x-problems" = json!(problems(&[BODY_CODES, &[ProblemCode::TooManyTokens]]))),
    ),
)]
pub(crate) async fn create_token(
    State(state): State<AppState>,
    SessionUser(user): SessionUser,
    Body(body): Body<NewToken>,
) -> Result<(StatusCode, Json<NewTokenJson>), Problem> {
    let lifetime = body.expires_in_days.map(|days| TokenLifetime::try_from(days.0)).transpose()?;
    let request = tokens::Request {
        name: TokenName::try_from(body.name)?,
        scopes: Scopes::try_from(body.scopes)?,
        lifetime,
    };
    let (token, secret) = tokens::create(&state.services, &user, &request).await?;
    Ok((StatusCode::CREATED, Json(NewTokenJson::new(&token, &secret))))
}

/// Revoke a token
///
/// It is refused from the next request on; event streams that it opened end within seconds.
#[utoipa::path(
    delete,
    path = "/api/tokens/{id}",
    tag = "tokens",
    params(TokenPath),
    responses((status = 204, description = "Revoked")),
    extensions(
        ("x-session" = json!(true)),
        ("x-problems" = json!(problems(&[&[ProblemCode::NotFound]]))),
    ),
)]
pub(crate) async fn revoke_token(
    State(state): State<AppState>,
    SessionUser(user): SessionUser,
    Path(TokenPath { id }): Path<TokenPath>,
) -> Result<StatusCode, Problem> {
    tokens::revoke(&state.services, &user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
