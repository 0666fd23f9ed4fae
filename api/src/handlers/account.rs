//! `/api/account`: one's own account.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use tower_sessions::Session;
use utoipa::ToSchema;

use crate::{
    AppState,
    auth::SessionUser,
    client_ip::Client,
    error::{BODY_CODES, Problem, ProblemCode, RateLimitFields, problems},
    extract::Body,
};
use shared::services::accounts;

/// The password of the account, so that nobody deletes it in a session that was left open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountDeletion {
    password: String,
}

/// Delete your account
///
/// Closes it at once and for good: its sessions end and its links stop working. Jobs then delete its
/// images, files and links. Its name is free when they have. The last active administrator cannot
/// delete their account.
#[utoipa::path(
    delete,
    path = "/api/account",
    tag = "account",
    request_body(content(
        (AccountDeletion = "application/json"),
        (AccountDeletion = "application/x-www-form-urlencoded"),
        (AccountDeletion = "multipart/form-data"),
    )),
    responses((status = 204, description = "Closed; you are logged out")),
    extensions(
        ("x-session" = json!(true)),
        ("x-problems" = json!(problems(&[
            BODY_CODES,
            &[ProblemCode::WrongCredentials, ProblemCode::TooManyLogins, ProblemCode::LastAdministrator],
        ]))),
    ),
)]
pub(crate) async fn delete_account(
    State(state): State<AppState>,
    SessionUser(user): SessionUser,
    session: Session,
    Client(from): Client,
    Body(body): Body<AccountDeletion>,
) -> Result<(RateLimitFields, StatusCode), Problem> {
    accounts::delete(&state.services, from, &user, body.password).await?;
    session.flush().await?;
    Ok((RateLimitFields(accounts::login_limit(&state.services)), StatusCode::NO_CONTENT))
}
