//! One's own account: what its tier includes, and its password.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use shared::{
    domain::User,
    services::{ServiceError, accounts, uploads},
};

use super::{Layout, Visitor, format, forms::FormErrors, page};
use crate::{AppState, auth, client_ip::Client, error::Problem, extract::Form, urls::page_paths};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    layout: Layout,
    user: &'a User,
    max_upload_bytes: u64,
    errors: FormErrors,
}

/// `GET /account`
pub(crate) async fn show_account(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    show(&state, &visitor, FormErrors::default()).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    errors: FormErrors,
) -> Result<Response, Problem> {
    let user = &visitor.user;
    let max_upload_bytes = uploads::max_bytes(&state.services, user);
    let status = errors.status();
    Ok(page(
        status,
        &AccountPage { layout: visitor.layout().await?, user, max_upload_bytes, errors },
    ))
}

/// A new password, typed twice as nobody sees it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PasswordForm {
    #[serde(rename = "current_password")]
    current: String,
    #[serde(rename = "new_password")]
    new: String,
    #[serde(rename = "repeated_password")]
    repeated: String,
}

/// `POST /account/password`
pub(crate) async fn change(
    State(state): State<AppState>,
    visitor: Visitor,
    Client(from): Client,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Problem> {
    let PasswordForm { current, new, repeated } = form;
    let changed = if new == repeated {
        let changing =
            accounts::change_password(&state.services, from, &visitor.user, current, new);
        changing.await.map_err(|error| match error {
            ServiceError::WrongCredentials { .. } => {
                Problem::field("current_password", "This is not your current password.")
            }
            error => error.into(),
        })
    } else {
        Err(Problem::field("repeated_password", "The two new passwords differ."))
    };
    match changed {
        Ok(login) => {
            auth::log_in(&visitor.session, login, state.services.clock.now()).await?;
            visitor
                .go(page_paths::ACCOUNT, "Password changed. All your other sessions have ended.")
                .await
        }
        Err(problem) => show(&state, &visitor, FormErrors::of(problem)?).await,
    }
}
