//! The audit trail: what administrators did.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::UserId;

/// Who did something.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// Somebody at the command line of the server.
    CommandLine,
    /// An administrator who is logged in.
    Admin {
        /// The account.
        id: UserId,
        /// Its name at the time.
        username: &'a str,
    },
}

/// What was done, and to what.
#[derive(Debug)]
pub struct AdminAction<'a> {
    /// Who did it.
    pub actor: Actor<'a>,
    /// What, as a verb: `create`, `update`, `delete`.
    pub action: &'a str,
    /// To what kind of thing: `user`, `tier`, `image`, `link`, `job`.
    pub object_type: &'a str,
    /// Its number or id.
    pub object_id: &'a str,
    /// Its name at the time.
    pub object_label: &'a str,
    /// What changed, field by field; never a secret.
    pub changes: Value,
}

/// Writes an action down in the transaction that carries it out.
pub async fn record(
    connection: &mut PgConnection,
    action: &AdminAction<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (actor_id, actor_name) = match action.actor {
        Actor::CommandLine => (None, "command line"),
        Actor::Admin { id, username } => (Some(id.0), username),
    };
    sqlx::query!(
        "INSERT INTO admin_actions (at, actor_id, actor_name, action, object_type, object_id, object_label, changes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        now,
        actor_id,
        actor_name,
        action.action,
        action.object_type,
        action.object_id,
        action.object_label,
        action.changes,
    )
    .execute(connection)
    .await?;
    Ok(())
}
