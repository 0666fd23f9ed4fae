//! The audit trail as administrators read it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::{AuditKind, UserId};

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

/// Which actions.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// To objects of this kind.
    pub kind: Option<AuditKind>,
    /// To the one with this id; does nothing without a kind.
    pub id: Option<String>,
}

/// At most `limit` of the actions that the filter lets through, the last first, from the one before
/// `before` on.
pub async fn page(
    connection: &mut PgConnection,
    filter: &HistoryFilter,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<PastAction>> {
    let rows = sqlx::query!(
        "SELECT id, at, actor_id, actor_name, action, object_type, object_id, object_label, changes
         FROM admin_actions
         WHERE ($1::text IS NULL OR (object_type = $1 AND ($2::text IS NULL OR object_id = $2)))
           AND id < $3
         ORDER BY id DESC LIMIT $4",
        filter.kind.map(AuditKind::name),
        filter.id,
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
