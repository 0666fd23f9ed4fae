//! Sessions as rows. Their store for tower-sessions is in the API; the published store lags behind
//! sqlx.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::UserId;

/// A session as a row.
#[derive(Debug)]
pub struct SessionRow<'a> {
    /// The cookie's value.
    pub id: &'a str,
    /// Who is logged in.
    pub user: Option<UserId>,
    /// What tower-sessions keeps in it, a JSON object.
    pub data: &'a Value,
    /// The session is invalid from this time on.
    pub expires_at: DateTime<Utc>,
}

/// The foreign key that refuses a session of an account that is gone.
pub const OWNER_KEY: &str = "sessions_user_id_fkey";

/// Adds a session; false when its id is taken.
///
/// # Errors
/// [`OWNER_KEY`] when its account is gone.
pub async fn insert(connection: &mut PgConnection, session: &SessionRow<'_>) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "INSERT INTO sessions (id, user_id, data, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        session.id,
        session.user.map(|user| user.0),
        session.data,
        session.expires_at,
    );
    Ok(inserted.execute(connection).await?.rows_affected() == 1)
}

/// Changes a session that is still there. One that was deleted meanwhile stays deleted: a logout
/// wins over a request that was under way.
pub async fn update(connection: &mut PgConnection, session: &SessionRow<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE sessions SET user_id = $2, data = $3, expires_at = $4 WHERE id = $1",
        session.id,
        session.user.map(|user| user.0),
        session.data,
        session.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A live session's data and expiry.
pub async fn live(
    connection: &mut PgConnection,
    id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(Value, DateTime<Utc>)>> {
    let row = sqlx::query!(
        "SELECT data, expires_at FROM sessions WHERE id = $1 AND expires_at > $2",
        id,
        now
    );
    Ok(row.fetch_optional(connection).await?.map(|row| (row.data, row.expires_at)))
}

/// Which of these sessions have ended: they are gone, have expired, or their account was
/// deactivated or has another password.
pub async fn ended(
    connection: &mut PgConnection,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT asked.id AS "id!" FROM unnest($1::text[]) AS asked (id)
           WHERE NOT EXISTS (
               SELECT FROM sessions s JOIN users u ON u.id = s.user_id
               WHERE s.id = asked.id AND s.expires_at > $2 AND u.is_active
                 AND coalesce((s.data ->> 'credentials')::int, 0) = u.credential_version)"#,
        ids,
        now,
    )
    .fetch_all(connection)
    .await
}

/// Ends a session.
pub async fn delete(connection: &mut PgConnection, id: &str) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE id = $1", id).execute(connection).await?;
    Ok(())
}

/// Ends every session of an account; how many there were.
pub async fn delete_of_user(connection: &mut PgConnection, user: UserId) -> sqlx::Result<u64> {
    let deleted =
        sqlx::query!("DELETE FROM sessions WHERE user_id = $1", user.0).execute(connection).await?;
    Ok(deleted.rows_affected())
}

super::delete_expired!("sessions", "id", "expires_at");
