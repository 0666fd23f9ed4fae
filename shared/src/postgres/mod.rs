//! Connecting to Postgres, bringing its schema up to date, and the embedded server for machines without one.

pub mod embedded;

use std::time::Duration;

use apalis_postgres::PostgresStorage;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Row, Transaction,
    migrate::{Migrate, MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The name of the database on the embedded server.
pub const EMBEDDED_DATABASE: &str = "pictier";

/// How long a request waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Opens a pool of at most `connections` connections; fails at once when there is no server.
pub async fn connect(options: PgConnectOptions, connections: u32) -> sqlx::Result<PgPool> {
    pool_options(connections).connect_with(options.application_name("pictier")).await
}

/// As [`connect`], for a queue, which begins transactions without [`begin`]: a connection that was left inside of one is
/// closed.
pub async fn connect_for_queue(options: PgConnectOptions, connections: u32) -> sqlx::Result<PgPool> {
    pool_options(connections)
        // the pool's own test, which asks only whether the server answers, is part of this one
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_outside_of_transactions(connection)))
        .connect_with(options.application_name("pictier"))
        .await
}

fn pool_options(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
}

async fn is_outside_of_transactions(connection: &mut PgConnection) -> sqlx::Result<bool> {
    // outside of one a statement that is sent as a whole starts its own, at the same moment
    let row = sqlx::raw_sql("SELECT now() = statement_timestamp()").fetch_one(connection).await?;
    row.try_get(0)
}

/// Begins a transaction, also if whoever asked for it gives up meanwhile, as a request whose client goes away. sqlx 0.9.0
/// would leave the connection inside of a transaction of which it knows nothing, between the sending and the server's
/// answer: what is done on that connection next would never be committed.
#[expect(clippy::disallowed_methods, reason = "the one place that begins them")]
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }).await;
    // it neither panics nor is it aborted, but by a runtime that ends
    begun.unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// Brings the schema up to date: the queue's first, as our guards are triggers on its tables. Of several processes
/// one migrates at a time, the others wait for it.
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

/// Creates the database of this name unless it is there. `maintenance` connects to another one.
pub async fn create_database(maintenance: &PgConnectOptions, name: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(maintenance).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
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

/// Whether the server answers.
pub async fn ping(connection: &mut PgConnection) -> sqlx::Result<()> {
    connection.ping().await
}
