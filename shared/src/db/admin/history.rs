//! The audit trail as administrators read it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::UserId;

/// Something that an administrator did.
#[derive(Clone, Debug)]
pub struct PastAction {
    pub id: i64,
    pub at: DateTime<Utc>,
    /// Who did it; nobody's number for the command line.
    pub actor_id: Option<UserId>,
    /// The actor's name at the time.
    pub actor_name: String,
    /// What, as a verb.
    pub action: String,
    pub object_type: String,
    pub object_id: String,
    /// Its name at the time.
    pub object_label: String,
    /// What changed, field by field.
    pub changes: Value,
}

/// Which actions: those that meet everything that is set.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// To this thing: its kind and its number or id.
    pub object: Option<(String, String)>,
    /// By this administrator.
    pub actor: Option<UserId>,
    /// To things of this kind.
    pub object_type: Option<String>,
}

/// At most `limit` of the actions that the filter lets through, the last first, from the one before
/// `before` on.
pub async fn page(
    connection: &mut PgConnection,
    filter: &HistoryFilter,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<PastAction>> {
    let (object_type, object_id) = filter.object.as_ref().map(|(kind, id)| (kind, id)).unzip();
    let rows = sqlx::query!(
        "SELECT id, at, actor_id, actor_name, action, object_type, object_id, object_label, changes
         FROM admin_actions
         WHERE ($1::text IS NULL OR (object_type = $1 AND object_id = $2::text))
           AND ($3::bigint IS NULL OR actor_id = $3)
           AND ($4::text IS NULL OR object_type = $4)
           AND id < $5
         ORDER BY id DESC LIMIT $6",
        object_type,
        object_id,
        filter.actor.map(|actor| actor.0),
        filter.object_type,
        before.unwrap_or(i64::MAX),
        limit,
    );
    let rows = rows.fetch_all(connection).await?;
    let actions = rows.into_iter().map(|row| PastAction {
        id: row.id,
        at: row.at,
        actor_id: row.actor_id.map(UserId),
        actor_name: row.actor_name,
        action: row.action,
        object_type: row.object_type,
        object_id: row.object_id,
        object_label: row.object_label,
        changes: row.changes,
    });
    Ok(actions.collect())
}
