//! Counters over a fixed window. In the database, because any number of API processes count
//! together.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A counter's reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Hits in the window, this one included.
    pub hits: i32,
    /// When the window ends and the count starts anew.
    pub resets_at: DateTime<Utc>,
}

/// Counts a hit; the first one opens a window of this length.
pub async fn hit(
    connection: &mut PgConnection,
    key: &str,
    window: Duration,
    now: DateTime<Utc>,
) -> sqlx::Result<Reading> {
    sqlx::query_as!(
        Reading,
        "INSERT INTO rate_limits AS r (key, hits, resets_at) VALUES ($1, 1, $3)
         ON CONFLICT (key) DO UPDATE
         SET hits = CASE WHEN r.resets_at <= $2 THEN 1 ELSE least(r.hits, 1000000) + 1 END,
             resets_at = CASE WHEN r.resets_at <= $2 THEN excluded.resets_at ELSE r.resets_at END
         RETURNING hits, resets_at",
        key,
        now,
        now + window,
    )
    .fetch_one(connection)
    .await
}

/// A counter whose window is open; `None` when nothing was counted.
pub async fn read(
    connection: &mut PgConnection,
    key: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Reading>> {
    sqlx::query_as!(
        Reading,
        "SELECT hits, resets_at FROM rate_limits WHERE key = $1 AND resets_at > $2",
        key,
        now,
    )
    .fetch_optional(connection)
    .await
}

/// Deletes a counter; how many hits it had.
pub async fn reset(connection: &mut PgConnection, key: &str) -> sqlx::Result<i32> {
    let hits = sqlx::query_scalar!("DELETE FROM rate_limits WHERE key = $1 RETURNING hits", key);
    Ok(hits.fetch_optional(connection).await?.unwrap_or_default())
}

/// Deletes the counters whose keys start and end so.
pub async fn reset_matching(
    connection: &mut PgConnection,
    start: &str,
    end: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM rate_limits WHERE starts_with(key, $1) AND right(key, length($2)) = $2",
        start,
        end,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes hits off a counter.
pub async fn give_back(connection: &mut PgConnection, key: &str, hits: i32) -> sqlx::Result<()> {
    sqlx::query!("UPDATE rate_limits SET hits = greatest(hits - $2, 0) WHERE key = $1", key, hits)
        .execute(connection)
        .await?;
    Ok(())
}

super::delete_expired!("rate_limits", "key", "resets_at");
