//! The figures of the whole service.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Count, count_rows, images, users};
use crate::db::unsigned;

/// What the service holds.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// Accounts.
    pub users: Count,
    /// Sessions of accounts that have not ended.
    pub active_sessions: Count,
    pub images: Count,
    pub original_bytes: u64,
    pub thumbnails: ThumbnailCounts,
    /// Expiring links that have not expired.
    pub live_links: Count,
}

/// Thumbnails by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThumbnailCounts {
    /// Nobody has asked for them.
    pub absent: u64,
    /// A job will make them. Counted up to 100,000.
    pub pending: u64,
    /// Their files are there.
    pub ready: u64,
    /// They cannot be made. Counted up to 100,000.
    pub failed: u64,
    /// Whether `absent` and `ready` are what the planner believes.
    pub is_estimate: bool,
}

/// What the service holds now.
pub async fn read(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Statistics> {
    Ok(Statistics {
        users: users::count(connection).await?,
        active_sessions: active_sessions(connection, now).await?,
        images: images::count(connection).await?,
        original_bytes: original_bytes(connection).await?,
        thumbnails: thumbnails(connection).await?,
        live_links: live_links(connection, now).await?,
    })
}

async fn active_sessions(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Count> {
    count_rows!(connection, "sessions", "expires_at > $1 AND user_id IS NOT NULL", now)
}

async fn live_links(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Count> {
    count_rows!(connection, "expiring_links", "expires_at > $1", now)
}

/// Of the accounts, which are fewer than the images.
async fn original_bytes(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let bytes = sqlx::query_scalar!(
        r#"SELECT coalesce(sum(used_bytes), 0)::bigint AS "bytes!" FROM users"#
    );
    unsigned(bytes.fetch_one(connection).await?)
}

async fn thumbnails(connection: &mut PgConnection) -> sqlx::Result<ThumbnailCounts> {
    let all: sqlx::Result<Count> = count_rows!(&mut *connection, "thumbnails", "true");
    if !all?.is_estimate {
        return counted_thumbnails(connection).await;
    }
    // the shares of the states among the rows that the planner's statistics were drawn from
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM (SELECT FROM thumbnails WHERE state = 'pending' LIMIT 100000) AS s)
                      AS "pending!",
                  (SELECT count(*) FROM (SELECT FROM thumbnails WHERE state = 'failed' LIMIT 100000) AS s)
                      AS "failed!",
                  coalesce(sum(share * reltuples) FILTER (WHERE state = 'absent'), 0)::bigint AS "absent!",
                  coalesce(sum(share * reltuples) FILTER (WHERE state = 'ready'), 0)::bigint AS "ready!"
           FROM pg_class c
           JOIN pg_stats p ON p.schemaname = c.relnamespace::regnamespace::text AND p.tablename = c.relname
           CROSS JOIN unnest(p.most_common_vals::text::text[], p.most_common_freqs) AS shares (state, share)
           WHERE c.oid = 'thumbnails'::regclass AND p.attname = 'state'"#
    );
    let row = row.fetch_one(connection).await?;
    Ok(ThumbnailCounts {
        absent: unsigned(row.absent)?,
        pending: unsigned(row.pending)?,
        ready: unsigned(row.ready)?,
        failed: unsigned(row.failed)?,
        is_estimate: true,
    })
}

async fn counted_thumbnails(connection: &mut PgConnection) -> sqlx::Result<ThumbnailCounts> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE state = 'absent') AS "absent!",
                  count(*) FILTER (WHERE state = 'pending') AS "pending!",
                  count(*) FILTER (WHERE state = 'ready') AS "ready!",
                  count(*) FILTER (WHERE state = 'failed') AS "failed!"
           FROM thumbnails"#
    );
    let row = row.fetch_one(connection).await?;
    Ok(ThumbnailCounts {
        absent: unsigned(row.absent)?,
        pending: unsigned(row.pending)?,
        ready: unsigned(row.ready)?,
        failed: unsigned(row.failed)?,
        is_estimate: false,
    })
}
