//! Connecting to Postgres and bringing its schema up to date.

mod limits;
pub mod notifications;
mod pooler;

pub use limits::{explain, is_unavailable};
pub use pooler::{PoolerError, expect_sessions};

use std::{pin::pin, time::Duration};

use apalis_postgres::PostgresStorage;
use futures::future::{Either, select};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Row, Transaction,
    migrate::{Migrate, MigrateError, Migrator},
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The name of connections of APIs and workers, as the server shows it.
const SERVICE: &str = "pictier";
/// The name of connections of other commands.
const COMMAND: &str = "pictier command";

/// How long a request waits for a connection of the pool.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// The same for what nobody waits for, such as a migration.
const PATIENT_ACQUIRE_LIMIT: Duration = Duration::from_secs(30);
/// A connection that comes back to the pool with a statement under way, as of a request whose
/// client went away, is closed after this time; the server then cancels the statement.
const RETURN_LIMIT: Duration = Duration::from_secs(1);

/// The schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The queue's part of it.
    #[error("setting up the queue: {0}")]
    Queue(#[from] apalis_postgres::Error),
    /// It is older than this program, or not there.
    #[error("the database's schema is not up to date: run pictier migrate")]
    Outdated,
    /// Our part of it.
    #[error("migrating: {0}")]
    Migrate(#[from] MigrateError),
}

/// Opens a pool of at most `connections` connections whose statements are limited, for what answers
/// requests; fails soon when there is no server.
pub async fn connect(options: PgConnectOptions, connections: u32) -> sqlx::Result<PgPool> {
    limited(connections)
        .after_connect(|connection, _| Box::pin(limits::limit_requests(connection)))
        .connect_with(identified(options, SERVICE))
        .await
}

/// As [`connect`], for a queue, which begins transactions without [`begin`]: a connection that was
/// left inside of one is closed.
pub async fn connect_for_queue(
    options: PgConnectOptions,
    connections: u32,
) -> sqlx::Result<PgPool> {
    limited(connections)
        .after_connect(|connection, _| Box::pin(limits::limit_jobs(connection)))
        // the pool's own test, which asks only whether the server answers, is part of this one
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_outside_of_transactions(connection)))
        .connect_with(identified(options, SERVICE))
        .await
}

/// Opens a pool whose statements may take as long as they need: for migrations and the command
/// line.
pub async fn connect_unlimited(
    options: PgConnectOptions,
    connections: u32,
) -> sqlx::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENT_ACQUIRE_LIMIT)
        .after_connect(|connection, _| Box::pin(limits::watch_the_client(connection)))
        .connect_with(identified(options, COMMAND))
        .await
}

/// A connection that can listen, outside of every pool: one that is lost takes no place in a pool
/// with it.
async fn connect_listener(options: PgConnectOptions) -> sqlx::Result<PgListener> {
    let alone = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| Box::pin(limits::watch_the_client(connection)))
        .connect_lazy_with(identified(options, SERVICE));
    let mut listener = PgListener::connect_with(&alone).await?;
    // its owner has to learn of a loss before the next notification
    listener.eager_reconnect(false);
    Ok(listener)
}

fn limited(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_LIMIT)
        .after_release(|connection, _| Box::pin(comes_back_in_time(connection)))
}

/// PgBouncer refuses settings at the start of a session that it does not know, `extra_float_digits`
/// among them.
fn identified(options: PgConnectOptions, name: &str) -> PgConnectOptions {
    options.application_name(name).extra_float_digits(None)
}

/// How many connections APIs and workers have to the database. Each has at least the one on which
/// it listens.
pub async fn count_service_connections(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = $1"#,
        SERVICE,
    )
    .fetch_one(connection)
    .await
}

/// Whether the connection is done with what was under way on it.
async fn comes_back_in_time(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(RETURN_LIMIT, connection.ping()).await {
        Ok(answered) => answered.map(|()| true),
        Err(_) => Ok(false),
    }
}

async fn is_outside_of_transactions(connection: &mut PgConnection) -> sqlx::Result<bool> {
    // outside of one a statement that is sent as a whole starts its own, at the same moment
    let row = sqlx::raw_sql("SELECT now() = statement_timestamp()").fetch_one(connection).await?;
    row.try_get(0)
}

/// Begins a transaction, also if whoever asked for it gives up meanwhile, as a request whose client
/// goes away. sqlx 0.9.0 would leave the connection inside of a transaction of which it knows
/// nothing, between the sending and the server's answer: what is done on that connection next would
/// never be committed.
#[expect(clippy::disallowed_methods, reason = "the one place that begins them")]
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }).await;
    // it neither panics nor is it aborted, but by a runtime that ends
    begun.unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// Brings the schema up to date: the queue's first, as our guards are triggers on its tables. Of
/// several processes one migrates at a time, the others wait for it.
pub async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
    PostgresStorage::setup(pool).await?;
    MIGRATIONS.run(pool).await?;
    Ok(())
}

/// Fails when [`migrate`] has something to do.
pub async fn expect_migrated(pool: &PgPool) -> Result<(), SchemaError> {
    let mut connection = pool.acquire().await.map_err(MigrateError::from)?;
    let applied = connection.list_applied_migrations(&MIGRATIONS.table_name).await;
    // without the list there was never a migration
    let applied = applied.map_err(|_| SchemaError::Outdated)?;
    let is_applied = |version| applied.iter().any(|migration| migration.version == version);
    let all_applied = MIGRATIONS.iter().all(|migration| is_applied(migration.version));
    if all_applied { Ok(()) } else { Err(SchemaError::Outdated) }
}

/// As [`migrate`], to an earlier version of the schema.
pub async fn migrate_to(pool: &PgPool, version: i64) -> Result<(), SchemaError> {
    PostgresStorage::setup(pool).await?;
    MIGRATIONS.run_to(version, pool).await?;
    Ok(())
}

/// The version of the schema that this program migrates to.
pub fn known_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The version of the database's schema. The database must have been migrated.
pub async fn schema_version(connection: &mut PgConnection) -> Result<i64, SchemaError> {
    let applied = connection.list_applied_migrations(&MIGRATIONS.table_name).await?;
    Ok(applied.iter().map(|migration| migration.version).max().unwrap_or_default())
}

/// Creates the database of this name unless it is there. `maintenance` connects to another one.
pub async fn create_database(maintenance: &PgConnectOptions, name: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(maintenance).await?;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
    if !exists {
        let quoted = name.replace('"', "\"\"");
        let create = AssertSqlSafe(format!("CREATE DATABASE \"{quoted}\""));
        match sqlx::query(create).execute(&mut connection).await {
            Err(error) if !is_there_already(&error) => return Err(error),
            _ => {}
        }
    }
    connection.close().await
}

/// Another process created the database between our look and our statement.
fn is_there_already(error: &sqlx::Error) -> bool {
    // duplicate_database and unique_violation (PostgreSQL, appendix A)
    let codes = ["42P04", "23505"];
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| codes.contains(&code.as_ref()))
}

/// Whether the database answers within `limit`: over the pool, or over a new connection where all
/// of the pool are in use.
pub async fn answers(pool: &PgPool, limit: Duration) -> bool {
    let over_the_pool = async {
        let mut connection = pool.acquire().await?;
        connection.ping().await
    };
    let over_another = async {
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        sqlx::raw_sql("SELECT").execute(&mut connection).await?;
        connection.close().await
    };
    let either = async {
        match select(pin!(over_the_pool), pin!(over_another)).await {
            Either::Left((Ok(()), _)) | Either::Right((Ok(()), _)) => true,
            Either::Left((Err(_), other)) => other.await.is_ok(),
            Either::Right((Err(_), other)) => other.await.is_ok(),
        }
    };
    tokio::time::timeout(limit, either).await.unwrap_or(false)
}
