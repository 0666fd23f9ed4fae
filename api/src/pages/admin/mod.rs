//! The administrators' pages. Tables are read a page at a time, from after the last row of the page
//! before; what is shown of them stands in the URL: filters, order and page.

pub(crate) mod dashboard;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod jobs;
pub(crate) mod links;
pub(crate) mod tiers;
pub(crate) mod users;

use axum::{extract::FromRequestParts, http::request::Parts};
use shared::{
    db,
    domain::{Tier, UserId, Username},
    postgres,
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::{Visitor, forms::Choice};
use crate::{
    AppState,
    error::{Problem, ProblemCode},
};

/// Rows of a page.
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

    /// The last row, when others follow.
    fn continues_after(&self) -> Option<&T> {
        self.rows.last().filter(|_| self.has_more)
    }
}

/// The rows of a table that were selected: at least one, and no more than a request may change.
fn selected<T>(ids: Vec<T>, noun: &str) -> Result<Vec<T>, Problem> {
    match ids.len() {
        0 => Err(Problem::field("ids", format!("Select at least one {noun}."))),
        count if count > MAX_ROWS => {
            Err(Problem::field("ids", format!("Select at most {MAX_ROWS} {noun}s, not {count}.")))
        }
        _ => Ok(ids),
    }
}

/// A part of a query string that has to be a number where it is there.
fn number(field: &str, text: &str) -> Result<Option<i64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    text.trim()
        .parse()
        .map(Some)
        .map_err(|_| Problem::field(field, format!("{text:?} is not a number.")))
}

/// A part of a query string that names one of these, which pages know by labels.
fn one_of<T: Copy>(
    known: &[(&str, &str, T)],
    field: &str,
    noun: &str,
    name: &str,
) -> Result<T, Problem> {
    let found = known.iter().find(|(known, _, _)| *known == name).map(|(_, _, meant)| *meant);
    found.ok_or_else(|| Problem::field(field, format!("There is no such {noun}.")))
}

/// A part of a query string that is yes, no, or left open.
fn choice(field: &str, text: &str) -> Result<Option<bool>, Problem> {
    match text {
        "" => Ok(None),
        "yes" => Ok(Some(true)),
        "no" => Ok(Some(false)),
        _ => Err(Problem::field(field, format!("{text:?} is neither yes nor no."))),
    }
}

/// The account that a filter names; a name that nobody has matches nothing.
enum Owner {
    Any,
    Is(UserId),
    Nobody,
}

impl Owner {
    async fn named(connection: &mut PgConnection, name: &str) -> Result<Self, Problem> {
        let name = name.trim();
        if name.is_empty() {
            return Ok(Self::Any);
        }
        if Username::try_from(name.to_owned()).is_err() {
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

/// Yes, no, or left open.
fn yes_or_no(selected: &str) -> Vec<Choice> {
    Choice::list([("", "any"), ("yes", "yes"), ("no", "no")], selected)
}

/// Every tier.
fn tier_choices(tiers: &[Tier], selected: &str) -> Vec<Choice> {
    Choice::list(tiers.iter().map(|tier| (tier.id, &tier.spec.name)), selected)
}
