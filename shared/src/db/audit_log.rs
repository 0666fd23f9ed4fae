//! The audit log.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::{Actor, AuditEntry};

/// Writes an entry in the transaction of the change.
pub async fn insert(
    connection: &mut PgConnection,
    entry: &AuditEntry<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (actor_id, actor_name) = match entry.actor {
        Actor::CommandLine => (None, "command line"),
        Actor::Admin(user) => (Some(user.id.0), user.username.as_str()),
    };
    sqlx::query!(
        "INSERT INTO admin_actions (at, actor_id, actor_name, action, object_type, object_id, object_label, changes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        now,
        actor_id,
        actor_name,
        entry.action.name(),
        entry.object.kind.name(),
        entry.object.id,
        entry.object.label,
        entry.changes,
    )
    .execute(connection)
    .await?;
    Ok(())
}
