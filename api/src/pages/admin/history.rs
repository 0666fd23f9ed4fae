//! What administrators did, all of it or to one thing.

use std::collections::BTreeSet;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    db::{
        self,
        admin::history::{HistoryFilter, PastAction},
    },
    domain::AuditKind,
};
use sqlx::PgConnection;

use super::{Administrator, PAGE_ROWS, Rows, begin_read};
use crate::{
    AppState,
    error::Problem,
    extract::FormQuery,
    pages::{
        Layout, format,
        forms::{self, Choice},
        page,
    },
};

/// Actions of one thing's history that its page shows.
const OF_ONE_THING: i64 = 20;

/// An action as a line of a table.
pub(super) struct Line {
    pub(super) action: PastAction,
    pub(super) changes: Vec<String>,
}

impl Line {
    pub(super) fn new(action: PastAction) -> Self {
        Self { changes: described(&action.changes), action }
    }
}

/// The latest entries for an object.
pub(super) async fn of_object(
    connection: &mut PgConnection,
    kind: AuditKind,
    object_id: impl ToString,
) -> Result<Vec<Line>, Problem> {
    let filter = HistoryFilter { kind: Some(kind), id: Some(object_id.to_string()) };
    let actions = db::admin::history::page(connection, &filter, None, OF_ONE_THING).await?;
    Ok(actions.into_iter().map(Line::new).collect())
}

/// Changes field by field: what was, and what came to be.
fn described(changes: &Value) -> Vec<String> {
    let none = Map::new();
    let object = |value: &Value| value.as_object().cloned();
    let Some(fields) = object(changes) else {
        return Vec::new();
    };
    let (before, after) =
        (fields.get("before").and_then(object), fields.get("after").and_then(object));
    match (before, after) {
        (None, None) => differences(&none, &fields),
        (before, after) => differences(&before.unwrap_or_default(), &after.unwrap_or_default()),
    }
}

fn differences(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let line = |name: &String| match (before.get(name), after.get(name)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("{name}: {} → {}", plain(old), plain(new))),
        (Some(only), None) | (None, Some(only)) => Some(format!("{name}: {}", plain(only))),
        (None, None) => None,
    };
    names.into_iter().filter_map(line).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[derive(Template)]
#[template(path = "admin/history.html")]
struct HistoryPage {
    layout: Layout,
    query: HistoryQuery,
    kinds: Vec<Choice>,
    lines: Vec<Line>,
    next: Option<String>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct HistoryQuery {
    kind: Option<AuditKind>,
    /// Of one thing of this kind.
    id: Option<String>,
    cursor: Option<i64>,
}

/// `GET /admin/history`
pub(crate) async fn show_history(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
    FormQuery(query): FormQuery<HistoryQuery>,
) -> Result<Response, Problem> {
    let filter = HistoryFilter { kind: query.kind, id: query.id.clone() };
    let mut tx = begin_read(&state.services.pool).await?;
    let rows = db::admin::history::page(&mut tx, &filter, query.cursor, PAGE_ROWS + 1).await?;
    drop(tx);
    let rows = Rows::of(rows);
    let kinds = AuditKind::ALL.map(|kind| (kind, kind.name()));
    let history = HistoryPage {
        layout: visitor.layout().await?,
        kinds: Choice::optional("any", kinds, query.kind.as_ref()),
        next: rows.next(|last| HistoryQuery { cursor: Some(last.id), ..query.clone() }),
        query,
        lines: rows.rows.into_iter().map(Line::new).collect(),
    };
    Ok(page(StatusCode::OK, &history))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_names_only_what_differs() {
        let changes = json!({
            "before": {"name": "Pro", "thumbnail_heights": [200], "default": false},
            "after": {"name": "Pro", "thumbnail_heights": [200, 400], "default": true},
        });
        assert_eq!(described(&changes), ["default: no → yes", "thumbnail_heights: 200 → 200, 400"]);
    }

    #[test]
    fn what_was_made_or_deleted_is_told_whole() {
        assert_eq!(described(&json!({"after": {"name": "Pro"}})), ["name: Pro"]);
        assert_eq!(described(&json!({"before": {"name": "Pro"}})), ["name: Pro"]);
        assert_eq!(described(&json!({"ended_sessions": 2})), ["ended_sessions: 2"]);
        assert_eq!(described(&json!({})), Vec::<String>::new());
    }
}
