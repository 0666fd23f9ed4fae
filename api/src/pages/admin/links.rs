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
    domain::LinkId,
    services::links,
};
use uuid::Uuid;

use super::{Administrator, Owner, PAGE_ROWS, Rows, begin_read};
use crate::{
    AppState,
    error::Problem,
    extract::{AnyLinkPath, Path, Query},
    pages::{self, Layout, format, page},
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

/// Which part of the list.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LinksQuery {
    owner: String,
    /// The end, in microseconds since 1970, and the id of the last link of the page before.
    cursor: String,
}

impl LinksQuery {
    fn after(&self) -> Result<Option<LinkCursor>, Problem> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let parsed = self.cursor.split_once('-').and_then(|(at, id)| {
            let expires_at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
            Some(LinkCursor { expires_at, id: LinkId(Uuid::try_parse(id).ok()?) })
        });
        parsed.map(Some).ok_or_else(|| Problem::field("cursor", "there is no such page"))
    }

    fn continued(&self, last: &ListedLink) -> Self {
        let at = last.link.expires_at.timestamp_micros();
        Self { cursor: format!("{at}-{}", last.link.id), ..self.clone() }
    }
}

/// `GET /admin/links`
pub(crate) async fn list_links(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    Query(query): Query<LinksQuery>,
) -> Result<Response, Problem> {
    let after = query.after()?;
    let now = state.services.clock.now();
    let mut tx = begin_read(&state.services.pool).await?;
    let owner = Owner::named(&mut tx, &query.owner).await?;
    let rows = if let Owner::Nobody = owner {
        Vec::new()
    } else {
        db::admin::links::page(&mut tx, owner.id(), after, PAGE_ROWS + 1, now).await?
    };
    let total = db::admin::links::count(&mut tx).await?;
    drop(tx);
    let rows = Rows::of(rows);
    let next = rows.continues_after().map(|last| query.continued(last));
    let links_page = LinksPage {
        layout: visitor.layout().await?,
        query,
        links: rows.rows,
        now,
        total,
        next: next.map(|next| page_paths::query(&next)),
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
