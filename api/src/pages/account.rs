//! One's own account: what its tier includes, and its password.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{Layout, Visitor, format, forms::FormErrors, page};
use crate::{
    AppState, auth,
    client::ClientAddress,
    error::{Code, Problem},
    extract::Form,
    urls::page_paths,
    use_cases::change_password::change_password,
};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    layout: Layout,
    user: &'a shared::domain::User,
    errors: FormErrors,
}

/// `GET /account`
pub(crate) async fn show_account(visitor: Visitor) -> Result<Response, Problem> {
    show(&visitor, FormErrors::default()).await
}

async fn show(visitor: &Visitor, errors: FormErrors) -> Result<Response, Problem> {
    let status = errors.status();
    Ok(page(status, &AccountPage { layout: visitor.layout().await?, user: &visitor.user, errors }))
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
    ClientAddress(from): ClientAddress,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Problem> {
    let PasswordForm { current, new, repeated } = form;
    let changed = if new == repeated {
        let changing = change_password(&state, from, &visitor.user, current, new);
        changing.await.map_err(|problem| match problem.code {
            Code::WrongCredentials => Problem::field("current_password", "this is not your current password"),
            _ => problem,
        })
    } else {
        Err(Problem::field("repeated_password", "the two new passwords differ"))
    };
    match changed {
        Ok(()) => {
            auth::log_in(&visitor.session, visitor.user.id, state.clock.now()).await?;
            visitor
                .go(page_paths::ACCOUNT, "Your password is changed. All your other sessions have ended.")
                .await
        }
        Err(problem) => show(&visitor, FormErrors::of(problem)?).await,
    }
}
