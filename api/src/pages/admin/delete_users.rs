//! Deleting accounts, after a page that lists what goes with them.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use shared::{
    db::admin::users::CascadeFigures,
    domain::UserId,
    services::users::{self, Cascade},
};

use super::{Administrator, selected_up_to};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, FormQuery},
    pages::{Layout, Visitor, format, forms::FormErrors, page},
    urls::page_paths,
};

/// The most accounts that one request deletes: what goes with each of them is counted.
const MAX_USERS: usize = 100;

#[derive(Template)]
#[template(path = "admin/users_delete.html")]
struct DeletePage {
    layout: Layout,
    errors: FormErrors,
    cascades: Vec<Cascade>,
    /// What all of them have together.
    total: CascadeFigures,
    /// What their originals take together.
    bytes: u64,
}

#[derive(Deserialize)]
pub(crate) struct Selected {
    #[serde(default)]
    ids: Vec<UserId>,
}

/// `GET /admin/users/delete`: asks, and lists all that goes.
pub(crate) async fn confirm_deletion(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(form): FormQuery<Selected>,
) -> Result<Response, Problem> {
    let ids = selected_up_to(MAX_USERS, form.ids, "user")?;
    show(&state, &visitor, &ids, FormErrors::default()).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    ids: &[UserId],
    errors: FormErrors,
) -> Result<Response, Problem> {
    let cascades = users::cascades(&state.services, ids).await?;
    let status = errors.status();
    let delete_page = DeletePage {
        layout: visitor.layout().await?,
        errors,
        total: cascades.iter().map(|cascade| cascade.figures).sum(),
        bytes: cascades.iter().map(|cascade| cascade.user.used_bytes).sum(),
        cascades,
    };
    Ok(page(status, &delete_page))
}

/// `POST /admin/users/delete`
pub(crate) async fn delete_users(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Form(form): Form<Selected>,
) -> Result<Response, Problem> {
    let ids = selected_up_to(MAX_USERS, form.ids, "user")?;
    match users::delete(&state.services, visitor.actor(), &ids).await {
        Ok(closed) => {
            let accounts = format::plural(closed, "account");
            let notice = format!("Closed {accounts}. Jobs delete what is theirs.");
            visitor.go(page_paths::ADMIN_USERS, &notice).await
        }
        Err(error) => show(&state, &visitor, &ids, FormErrors::of(error)?).await,
    }
}
