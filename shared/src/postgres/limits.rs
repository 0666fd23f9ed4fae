//! The limits of a session, and what a statement that met one of them says.

use sqlx::PgConnection;

/// A statement of a request waits this long for a lock.
const LOCK_LIMIT: &str = "5s";
/// A worker's statement waits this long for a lock. Meanwhile it keeps a place from other jobs, and
/// apalis waits with all of them; the job is tried again in any case.
const WORKER_LOCK_LIMIT: &str = "500ms";
/// A statement runs this long.
const STATEMENT_LIMIT: &str = "30s";
/// A transaction rests this long between two statements.
const IDLE_IN_TRANSACTION_LIMIT: &str = "30s";

/// Has the server end what a client asked for that is gone, whether it said so or not. Where the
/// connection is a unix socket, the settings of TCP do nothing.
const CLIENT_WATCH: &str = "SET client_connection_check_interval = '1s';
    SET tcp_keepalives_idle = 30;
    SET tcp_keepalives_interval = 10;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '30s';";

/// Sets what is set for every connection.
pub(super) async fn watch_the_client(connection: &mut PgConnection) -> sqlx::Result<()> {
    // not as options of the connection's start, which poolers refuse
    sqlx::raw_sql(CLIENT_WATCH).execute(connection).await?;
    Ok(())
}

/// Sets the limits of a request's statements as well.
pub(super) async fn limit_requests(connection: &mut PgConnection) -> sqlx::Result<()> {
    limit_statements(connection, LOCK_LIMIT).await
}

/// Sets the limits of a worker's statements as well.
pub(super) async fn limit_jobs(connection: &mut PgConnection) -> sqlx::Result<()> {
    limit_statements(connection, WORKER_LOCK_LIMIT).await
}

async fn limit_statements(connection: &mut PgConnection, lock_limit: &str) -> sqlx::Result<()> {
    let limits = format!(
        "{CLIENT_WATCH}
         SET lock_timeout = '{lock_limit}';
         SET statement_timeout = '{STATEMENT_LIMIT}';
         SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_LIMIT}';"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(limits)).execute(connection).await?;
    Ok(())
}

/// Errors after which trying again may go better (PostgreSQL, appendix A): `too_many_connections`,
/// `lock_not_available`, `query_canceled`, `idle_in_transaction_session_timeout`,
/// `transaction_timeout`.
const PASSING: [&str; 5] = ["53300", "55P03", "57014", "25P03", "25P04"];
/// Classes of such errors: lost connections, and a server that stops or is not up yet.
const PASSING_CLASSES: [&str; 2] = ["08", "57P"];
/// `duplicate_prepared_statement` and `invalid_sql_statement_name`: the session is another
/// client's.
const FOREIGN_SESSION: [&str; 2] = ["42P05", "26000"];

/// What to tell an operator whose database is behind a pooler that hands out transactions.
pub(super) const TRANSACTION_POOLING: &str = "The database is behind a connection pooler in transaction mode, which \
    loses settings, prepared statements and notifications: use its session mode (PgBouncer: pool_mode = session), or \
    connect to Postgres itself.";

/// Whether the database is away, busy or locked, so that trying again soon makes sense.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(said) => said.code().is_some_and(|code| {
            PASSING.contains(&code.as_ref())
                || PASSING_CLASSES.iter().any(|class| code.starts_with(class))
                || FOREIGN_SESSION.contains(&code.as_ref())
        }),
        _ => false,
    }
}

/// One line for the operator where the error itself does not say what to do.
pub fn explain(error: &sqlx::Error) -> Option<&'static str> {
    let code = error.as_database_error()?.code()?;
    FOREIGN_SESSION.contains(&code.as_ref()).then_some(TRANSACTION_POOLING)
}
