//! Backups that run, and the rows that a backup consists of.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgCopyIn};
use uuid::Uuid;

use super::{interval, unsigned};

/// The tables of a dump, each after those that it references.
pub const DUMPED: [&str; 7] =
    ["tiers", "users", "tokens", "images", "thumbnails", "expiring_links", "admin_actions"];

/// The tables that no dump has: sessions, counters, and notes of what is under way. A restore gives
/// the installation a new id, and every account a new counter of changes.
pub const NOT_DUMPED: [&str; 10] = [
    "sessions",
    "rate_limits",
    "change_counters",
    "changes",
    "idempotency_keys",
    "installation",
    "uploads_under_way",
    "orphans",
    "queue_shares",
    "backups",
];

/// A backup that was not renewed for so long was killed.
const VOID_AFTER: Duration = Duration::from_mins(10);

/// Says that a backup runs, from now on for ten minutes.
pub async fn renew(connection: &mut PgConnection, backup: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO backups (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET renewed_at = now()",
        backup,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Says that a backup has ended. Forgets those that were killed.
pub async fn end(connection: &mut PgConnection, backup: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM backups WHERE id = $1 OR renewed_at <= now() - $2::interval",
        backup,
        interval(VOID_AFTER)?,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a backup runs.
pub async fn is_any_running(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM backups WHERE renewed_at > now() - $1::interval) AS "exists!""#,
        interval(VOID_AFTER)?,
    )
    .fetch_one(connection)
    .await
}

/// Has the transaction see all tables as they are now, until it ends.
pub async fn take_snapshot(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(connection)
        .await?;
    Ok(())
}

/// The rows of a table as text, after a line with the names of its columns.
pub async fn copy_out<'a>(
    connection: &'a mut PgConnection,
    table: &str,
) -> sqlx::Result<BoxStream<'a, sqlx::Result<Bytes>>> {
    connection.copy_out_raw(&format!("COPY {table} TO STDOUT WITH (HEADER)")).await
}

/// Takes what [`copy_out`] wrote. Fails where the columns have other names.
pub async fn copy_in<'a>(
    connection: &'a mut PgConnection,
    table: &str,
) -> sqlx::Result<PgCopyIn<&'a mut PgConnection>> {
    connection.copy_in_raw(&format!("COPY {table} FROM STDIN WITH (HEADER MATCH)")).await
}

/// The last id that a table gave to a row; none where the ids are not numbers or none was given.
pub async fn last_id(connection: &mut PgConnection, table: &str) -> sqlx::Result<Option<i64>> {
    let last = sqlx::query_scalar!(
        "SELECT last_value FROM pg_sequences
         WHERE format('%I.%I', schemaname, sequencename) = pg_get_serial_sequence($1, 'id')",
        table,
    );
    Ok(last.fetch_optional(connection).await?.flatten())
}

/// Has the ids of a table's new rows start after this one.
pub async fn set_last_id(connection: &mut PgConnection, table: &str, id: i64) -> sqlx::Result<()> {
    sqlx::query_scalar!("SELECT setval(pg_get_serial_sequence($1, 'id'), $2)", table, id)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// What a database holds that a restore would overwrite.
#[derive(Clone, Copy, Debug)]
pub struct Contents {
    pub images: u64,
    pub users: u64,
    /// Entries of the audit log.
    pub actions: u64,
}

/// What the database holds; none when it was never migrated.
pub async fn contents(connection: &mut PgConnection) -> sqlx::Result<Option<Contents>> {
    let exists =
        sqlx::query_scalar!(r#"SELECT to_regclass('admin_actions') IS NOT NULL AS "exists!""#);
    if !exists.fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM images) AS "images!", (SELECT count(*) FROM users) AS "users!",
                  (SELECT count(*) FROM admin_actions) AS "actions!""#,
    );
    let row = row.fetch_one(connection).await?;
    Ok(Some(Contents {
        images: unsigned(row.images)?,
        users: unsigned(row.users)?,
        actions: unsigned(row.actions)?,
    }))
}

/// Keeps everybody else from what [`contents`] counts, until the transaction ends.
pub async fn lock_contents(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("LOCK TABLE tiers, users, images, admin_actions IN ACCESS EXCLUSIVE MODE")
        .execute(connection)
        .await?;
    Ok(())
}

/// Empties what the first start has written to, and the tables of a dump with those that reference
/// them. An older schema has fewer tables than [`DUMPED`].
pub async fn clear(connection: &mut PgConnection, dumped: &[&str]) -> sqlx::Result<()> {
    let tables = [dumped, &["sessions", "rate_limits", "installation"]].concat();
    let truncate = format!("TRUNCATE {} RESTART IDENTITY CASCADE", tables.join(", "));
    sqlx::raw_sql(AssertSqlSafe(truncate)).execute(connection).await?;
    Ok(())
}

/// Has no trigger of ours run for a table, or all again: rows of a dump are no changes for clients.
pub async fn set_triggers(
    connection: &mut PgConnection,
    table: &str,
    are_enabled: bool,
) -> sqlx::Result<()> {
    let verb = if are_enabled { "ENABLE" } else { "DISABLE" };
    let alter = format!("ALTER TABLE {table} {verb} TRIGGER USER");
    sqlx::raw_sql(AssertSqlSafe(alter)).execute(connection).await?;
    Ok(())
}
