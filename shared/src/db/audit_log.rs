//! The audit log.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::{Actor, AuditEntry, AuditKind, UserId};

/// What the log says instead of the name of an account that was deleted. No account can have this
/// name, as it has a space.
pub const DELETED_USER: &str = "deleted user";

/// Writes an entry in the transaction of the change. The actor's row is locked against its
/// deletion, so that no entry with its name is committed after the name was removed.
pub async fn insert(
    connection: &mut PgConnection,
    entry: &AuditEntry<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (actor_id, actor_name) = match entry.actor {
        Actor::CommandLine => (None, "command line"),
        Actor::Admin(user) | Actor::Owner(user) => (Some(user.id.0), user.username.as_str()),
    };
    sqlx::query!(
        "INSERT INTO admin_actions (at, actor_id, actor_name, action, object_type, object_id, object_label, changes)
         VALUES ($1, $2,
                 CASE WHEN $2::bigint IS NULL THEN $3::text
                      ELSE coalesce((SELECT $3::text FROM users WHERE id = $2 FOR KEY SHARE), $9) END,
                 $4, $5, $6, $7, $8)",
        now,
        actor_id,
        actor_name,
        entry.action.name(),
        entry.object.kind.name(),
        entry.object.id,
        entry.object.label,
        entry.changes,
        DELETED_USER,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the name of an account from at most `limit` entries of which it is the actor or the
/// object, from the one after `after` on; the last of them, if there was one.
pub async fn remove_name(
    connection: &mut PgConnection,
    user: UserId,
    after: i64,
    limit: i64,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"WITH named AS (
               (SELECT id FROM admin_actions
                WHERE actor_id = $1 AND id > $2 AND actor_name <> $6
                ORDER BY id LIMIT $3)
               UNION
               (SELECT id FROM admin_actions
                WHERE object_type = $4 AND object_id = $5 AND id > $2 AND object_label <> $6
                ORDER BY id LIMIT $3)
           ), batch AS (
               SELECT id FROM named ORDER BY id LIMIT $3
           ), updated AS (
               UPDATE admin_actions entry
               SET actor_name = CASE WHEN actor_id = $1 THEN $6 ELSE actor_name END,
                   object_label = CASE WHEN object_type = $4 AND object_id = $5 THEN $6 ELSE object_label END,
                   changes = CASE WHEN object_type = $4 AND object_id = $5
                       THEN jsonb_set(
                           jsonb_set(changes, '{before,username}', to_jsonb($6::text), false),
                           '{after,username}', to_jsonb($6::text), false)
                       ELSE changes END
               FROM batch WHERE entry.id = batch.id
               RETURNING entry.id
           )
           SELECT max(id) FROM updated"#,
        user.0,
        after,
        limit,
        AuditKind::User.name(),
        user.to_string(),
        DELETED_USER,
    )
    .fetch_one(connection)
    .await
}
