//! One's own account: what its tier includes, its password, and its end.

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::{
    db::admin::users::CascadeFigures,
    domain::User,
    services::{
        ServiceError, accounts, uploads,
        users::{self, Cascade},
    },
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

#[derive(Template)]
#[template(path = "account_delete.html")]
struct DeletePage<'a> {
    layout: Layout,
    user: &'a User,
    total: CascadeFigures,
    bytes: u64,
    errors: FormErrors,
}

#[derive(Template)]
#[template(path = "account_deleted.html")]
struct DeletedPage {
    layout: Layout,
}

/// `GET /account/delete`: asks, and lists all that goes.
pub(crate) async fn confirm_deletion(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    show_deletion(&state, &visitor, FormErrors::default()).await
}

async fn show_deletion(
    state: &AppState,
    visitor: &Visitor,
    errors: FormErrors,
) -> Result<Response, Problem> {
    let cascade = users::cascades(&state.services, &[visitor.user.id]).await?.pop();
    let Cascade { user, figures: total } = cascade.ok_or_else(auth::not_logged_in)?;
    let status = errors.status();
    let delete_page = DeletePage {
        layout: visitor.layout().await?,
        user: &visitor.user,
        total,
        bytes: user.used_bytes,
        errors,
    };
    Ok(page(status, &delete_page))
}

#[derive(Deserialize)]
pub(crate) struct DeletionForm {
    #[serde(default)]
    password: String,
}

/// `POST /account/delete`
pub(crate) async fn delete_account(
    State(state): State<AppState>,
    visitor: Visitor,
    Client(from): Client,
    Form(form): Form<DeletionForm>,
) -> Result<Response, Problem> {
    let deleting = accounts::delete(&state.services, from, &visitor.user, form.password);
    let deleted = deleting.await.map_err(|error| match error {
        ServiceError::WrongCredentials { .. } => {
            Problem::field("password", "This is not your password.")
        }
        error => error.into(),
    });
    match deleted {
        Ok(()) => {
            visitor.session.flush().await?;
            Ok(page(StatusCode::OK, &DeletedPage { layout: Layout::anonymous() }))
        }
        Err(problem) => {
            let retry_after = problem.retry_after;
            let shown = show_deletion(&state, &visitor, FormErrors::of(problem)?).await?;
            let wait = retry_after.map(|seconds| [(RETRY_AFTER, seconds.to_string())]);
            Ok((wait, shown).into_response())
        }
    }
}
