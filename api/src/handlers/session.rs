//! `/api/session`: logging in and out.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use tower_sessions::Session;
use utoipa::ToSchema;

use crate::{
    AppState, auth,
    auth::{Access, AnyScope, CurrentUser, SessionUser},
    client_ip::Client,
    error::{BODY_CODES, Problem, ProblemCode, RateLimitFields, problems},
    extract::Body,
    json::SessionJson,
};
use shared::services::accounts;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIn {
    #[schema(example = "admin")]
    username: String,
    #[schema(example = "admin")]
    password: String,
}

/// Log in
///
/// Answers with the session cookie. Ten failed logins within 15 minutes close the account to the
/// address.
#[utoipa::path(
    post,
    path = "/api/session",
    tag = "session",
    request_body(content(
        (LogIn = "application/json"),
        (LogIn = "application/x-www-form-urlencoded"),
        (LogIn = "multipart/form-data"),
    )),
    responses((status = 200, description = "Logged in; the cookie is set", body = SessionJson)),
    extensions(("x-problems" = json!(problems(&[
        BODY_CODES,
        &[ProblemCode::WrongCredentials, ProblemCode::TooManyLogins],
    ])))),
)]
pub(crate) async fn log_in(
    State(state): State<AppState>,
    session: Session,
    Client(from): Client,
    Body(body): Body<LogIn>,
) -> Result<(RateLimitFields, Json<SessionJson>), Problem> {
    let login = accounts::log_in(&state.services, from, body.username, body.password).await?;
    auth::log_in(&session, login, state.services.clock.now()).await?;
    let user = shared::db::users::active(&mut *state.services.connection().await?, login).await?;
    let detail = "The account was deactivated or got another password just now.";
    let user = user.ok_or_else(|| Problem::new(ProblemCode::WrongCredentials, detail))?;
    let limit = RateLimitFields(accounts::login_limit(&state.services));
    Ok((limit, Json(SessionJson::new(&user))))
}

/// Who is logged in
#[utoipa::path(
    get,
    path = "/api/session",
    tag = "session",
    responses((status = 200, description = "The account, and what its tier includes", body = SessionJson)),
    extensions(("x-scope" = json!(AnyScope::SCOPE))),
)]
pub(crate) async fn show_session(CurrentUser(user, _): CurrentUser<AnyScope>) -> Json<SessionJson> {
    Json(SessionJson::new(&user))
}

/// Log out
///
/// Ends the session on the server. Without a session there is nothing to do, and nothing goes
/// wrong.
#[utoipa::path(
    delete,
    path = "/api/session",
    tag = "session",
    responses((status = 204, description = "Logged out")),
)]
pub(crate) async fn log_out(session: Session) -> Result<StatusCode, Problem> {
    session.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    current_password: String,
    /// At least 8 characters.
    #[schema(min_length = 8, max_length = 1024)]
    new_password: String,
}

/// Change your password
///
/// Ends all your other sessions.
#[utoipa::path(
    post,
    path = "/api/session/password",
    tag = "session",
    request_body(content(
        (NewPassword = "application/json"),
        (NewPassword = "application/x-www-form-urlencoded"),
        (NewPassword = "multipart/form-data"),
    )),
    responses((status = 204, description = "Changed; the cookie is new")),
    extensions(
        ("x-session" = json!(true)),
        ("x-problems" = json!(problems(&[
        BODY_CODES,
        &[ProblemCode::WrongCredentials, ProblemCode::TooManyLogins],
    ])))),
)]
pub(crate) async fn change_password(
    State(state): State<AppState>,
    SessionUser(user): SessionUser,
    session: Session,
    Client(from): Client,
    Body(body): Body<NewPassword>,
) -> Result<(RateLimitFields, StatusCode), Problem> {
    let NewPassword { current_password, new_password } = body;
    let changing =
        accounts::change_password(&state.services, from, &user, current_password, new_password);
    auth::log_in(&session, changing.await?, state.services.clock.now()).await?;
    Ok((RateLimitFields(accounts::login_limit(&state.services)), StatusCode::NO_CONTENT))
}
