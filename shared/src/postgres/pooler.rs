//! Whether a connection is a session. A pooler in transaction mode hands a client another session
//! for each transaction, and with it the settings, prepared statements and notifications of
//! somebody else.

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use super::{COMMAND, identified, limits::TRANSACTION_POOLING};

/// The longest time that the probe waits for a session.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The database cannot be used over this connection.
#[derive(Debug, thiserror::Error)]
pub enum PoolerError {
    /// A pooler hands out transactions.
    #[error("{TRANSACTION_POOLING}")]
    TransactionMode,
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
}

/// Fails when a setting of a connection is gone once another connection holds a transaction: then
/// the two shared a session of the server.
pub async fn expect_sessions(options: &PgConnectOptions) -> Result<(), PoolerError> {
    let options = identified(options.clone(), COMMAND);
    let mut first = PgConnection::connect_with(&options).await?;
    let mut second = PgConnection::connect_with(&options).await?;
    let value = Uuid::new_v4().simple().to_string();
    let set = sqlx::AssertSqlSafe(format!("SET pictier.probe = '{value}'"));
    sqlx::raw_sql(set).execute(&mut first).await?;
    // a pooler gives the session that became free last
    sqlx::raw_sql("BEGIN").execute(&mut second).await?;
    // with a single session on the server's side the first connection waits for the second one's
    // transaction
    let kept = tokio::time::timeout(PROBE_LIMIT, setting(&mut first)).await;
    if !matches!(kept, Ok(Ok(ref kept)) if *kept == value) {
        return match kept {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(PoolerError::TransactionMode),
        };
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut second).await?;
    second.close().await?;
    first.close().await?;
    Ok(())
}

async fn setting(connection: &mut PgConnection) -> sqlx::Result<String> {
    use sqlx::Row;

    let row = sqlx::raw_sql("SELECT coalesce(current_setting('pictier.probe', true), '')");
    row.fetch_one(connection).await?.try_get(0)
}
