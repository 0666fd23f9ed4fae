//! Logging in and out.

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use tower_sessions::Session;

use super::{Layout, forms::FormErrors, page};
use crate::{
    AppState,
    auth::{self, SessionUser},
    client_ip::Client,
    error::Problem,
    extract::{Form, Query},
    urls::page_paths,
};
use shared::services::accounts;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    layout: Layout,
    errors: FormErrors,
    username: String,
    next: String,
}

/// Where to go after the login.
#[derive(Deserialize)]
pub(crate) struct Destination {
    #[serde(default)]
    next: String,
}

/// `GET /login`
pub(crate) async fn show_login(
    user: Result<SessionUser, Problem>,
    Query(Destination { next }): Query<Destination>,
) -> Response {
    if user.is_ok() {
        return Redirect::to(page_paths::within(&next)).into_response();
    }
    let page_of_login = LoginPage {
        layout: Layout::anonymous(),
        errors: FormErrors::default(),
        username: String::new(),
        next,
    };
    page(StatusCode::OK, &page_of_login)
}

/// Who logs in, and where to go then.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct LoginForm {
    username: String,
    password: String,
    next: String,
}

/// `POST /login`
pub(crate) async fn log_in(
    State(state): State<AppState>,
    session: Session,
    Client(from): Client,
    Form(form): Form<LoginForm>,
) -> Result<Response, Problem> {
    let LoginForm { username, password, next } = form;
    match accounts::log_in(&state.services, from, username.clone(), password).await {
        Ok(login) => {
            auth::log_in(&session, login, state.services.clock.now()).await?;
            Ok(Redirect::to(page_paths::within(&next)).into_response())
        }
        Err(error) => {
            let problem = Problem::from(error);
            let retry_after = problem.retry_after;
            let errors = FormErrors::of(problem)?;
            let status = errors.status();
            let shown =
                page(status, &LoginPage { layout: Layout::anonymous(), errors, username, next });
            let wait =
                retry_after.map(|seconds| [(axum::http::header::RETRY_AFTER, seconds.to_string())]);
            Ok((wait, shown).into_response())
        }
    }
}

/// `POST /logout`
pub(crate) async fn log_out(session: Session) -> Result<Redirect, Problem> {
    session.flush().await?;
    Ok(Redirect::to(&page_paths::log_in(None)))
}
