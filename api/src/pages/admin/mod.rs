//! The administrators' pages. Tables are read a page at a time, from after the last row of the page
//! before; what is shown of them stands in the URL: filters, order and page.

pub(crate) mod dashboard;
pub(crate) mod delete_users;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod jobs;
pub(crate) mod links;
pub(crate) mod tiers;
pub(crate) mod users;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Serialize};
use shared::{
    db,
    domain::{Tier, TierId, TierName, UserId, Username},
    postgres,
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::{Visitor, forms::Choice};
use crate::{
    AppState,
    error::{Problem, ProblemCode},
    urls::page_paths,
};

const PAGE_ROWS: i64 = 50;
/// The most rows that one request changes.
const MAX_ROWS: usize = 1000;

/// An administrator who looks at a page; anybody else gets no further.
pub(crate) struct Administrator(Visitor);

impl FromRequestParts<AppState> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        if visitor.user.is_admin {
            Ok(Self(visitor))
        } else {
            Err(Problem::new(
                ProblemCode::AdministratorsOnly,
                "Only administrators can see this page.",
            ))
        }
    }
}

/// A transaction for reading tables.
async fn begin_read(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Problem> {
    let mut tx = postgres::begin(pool).await?;
    db::admin::plan_for_values(&mut tx).await?;
    Ok(tx)
}

/// A page of rows, and whether others follow; one row more than a page has was read to know.
struct Rows<T> {
    rows: Vec<T>,
    has_more: bool,
}

impl<T> Rows<T> {
    fn of(mut rows: Vec<T>) -> Self {
        let page = usize::try_from(PAGE_ROWS).unwrap_or(usize::MAX);
        let has_more = rows.len() > page;
        rows.truncate(page);
        Self { rows, has_more }
    }

    /// The query string of the next page, when there is one; `query` makes it of the last row.
    fn next<Q: Serialize>(&self, query: impl FnOnce(&T) -> Q) -> Option<String> {
        let last = self.rows.last().filter(|_| self.has_more)?;
        Some(page_paths::query(&query(last)))
    }
}

/// The rows of a table that were selected: at least one, and no more than a request may change.
fn selected<T>(ids: Vec<T>, noun: &str) -> Result<Vec<T>, Problem> {
    selected_up_to(MAX_ROWS, ids, noun)
}

/// As [`selected`], where a request may change fewer.
fn selected_up_to<T>(max: usize, ids: Vec<T>, noun: &str) -> Result<Vec<T>, Problem> {
    match ids.len() {
        0 => Err(Problem::field("ids", format!("Select at least one {noun}."))),
        count if count > max => {
            Err(Problem::field("ids", format!("Select at most {max} {noun}s, not {count}.")))
        }
        _ => Ok(ids),
    }
}

/// What a filter asks of a fact; a filter that is left open asks nothing.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Yes,
    No,
}

impl Answer {
    fn is_yes(self) -> bool {
        self == Self::Yes
    }

    fn choices(selected: Option<Self>) -> Vec<Choice> {
        Choice::optional("any", [(Self::Yes, "yes"), (Self::No, "no")], selected.as_ref())
    }
}

/// The account that a filter names; a name that nobody has matches nothing.
enum Owner {
    Any,
    Is(UserId),
    Nobody,
}

impl Owner {
    async fn named(connection: &mut PgConnection, name: Option<&str>) -> Result<Self, Problem> {
        let Some(name) = name else {
            return Ok(Self::Any);
        };
        if name.parse::<Username>().is_err() {
            return Ok(Self::Nobody);
        }
        let found = db::admin::images::owner_by_name(connection, name).await?;
        Ok(found.map_or(Self::Nobody, Self::Is))
    }

    fn id(&self) -> Option<UserId> {
        match self {
            Self::Is(id) => Some(*id),
            Self::Any | Self::Nobody => None,
        }
    }
}

fn tier_options(tiers: &[Tier]) -> impl Iterator<Item = (TierId, &TierName)> {
    tiers.iter().map(|tier| (tier.id, &tier.spec.name))
}
