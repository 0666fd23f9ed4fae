//! Expiring links of all accounts.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::{
        self,
        admin::{
            Count,
            links::{LinkCursor, ListedLink},
        },
    },
    services::links,
};

use super::{Administrator, Owner, PAGE_ROWS, Rows, begin_read};
use crate::{
    AppState,
    error::Problem,
    extract::{AnyLinkPath, FormQuery, Path},
    pages::{self, Layout, format, forms, page},
    urls::page_paths,
};

#[derive(Template)]
#[template(path = "admin/links.html")]
struct LinksPage {
    layout: Layout,
    query: LinksQuery,
    links: Vec<ListedLink>,
    now: DateTime<Utc>,
    total: Count,
    next: Option<String>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LinksQuery {
    owner: Option<String>,
    cursor: Option<LinkCursor>,
}

/// `GET /admin/links`
pub(crate) async fn list_links(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(query): FormQuery<LinksQuery>,
) -> Result<Response, Problem> {
    let now = state.services.clock.now();
    let mut tx = begin_read(&state.services.pool).await?;
    let owner = Owner::named(&mut tx, query.owner.as_deref()).await?;
    let rows = if let Owner::Nobody = owner {
        Vec::new()
    } else {
        db::admin::links::page(&mut tx, owner.id(), query.cursor, PAGE_ROWS + 1, now).await?
    };
    let total = db::admin::links::count(&mut tx).await?;
    drop(tx);
    let rows = Rows::of(rows);
    let links_page = LinksPage {
        layout: visitor.layout().await?,
        next: rows.next(|last| {
            let cursor = LinkCursor { expires_at: last.link.expires_at, id: last.link.id };
            LinksQuery { cursor: Some(cursor), ..query.clone() }
        }),
        query,
        links: rows.rows,
        now,
        total,
    };
    Ok(page(StatusCode::OK, &links_page))
}

/// `POST /admin/links/{id}/revoke`
pub(crate) async fn revoke_link(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Path(AnyLinkPath { id }): Path<AnyLinkPath>,
) -> Result<Response, Problem> {
    links::revoke_of_any_owner(&state.services, visitor.actor(), id).await?;
    visitor.go(page_paths::ADMIN_LINKS, "Link revoked.").await
}
