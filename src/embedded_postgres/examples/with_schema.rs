//! Runs a command on a throw-away database: `with_schema COMMAND [ARGUMENT …]`.
//!
//! The database has the queue's schema and ours, read from `migrations/` while this runs, and is
//! named by the command's `DATABASE_URL`. `bin/prepare-queries` is what uses it.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context;
use apalis_postgres::PostgresStorage;
use embedded_postgres::{Config, Durability, Server};
use sqlx::{
    ConnectOptions, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

const CONNECTIONS: u16 = 10;

fn main() -> anyhow::Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let program = words.next().context("Name the command to run.")?;
    let folder = tempfile::tempdir()?;
    let config = Config {
        root: folder.path().to_owned(),
        durability: Durability::Ephemeral,
        max_connections: CONNECTIONS,
        binaries: binaries(),
    };
    let server = Server::start(&config, &|_| {})?;
    let database = server.options("postgres");
    let runtime = Runtime::new()?;
    runtime.block_on(migrate(&database))?;
    // Ctrl-C ends the command, and then this program, which removes the server's files
    let _interrupt = runtime.block_on(async { signal(SignalKind::interrupt()) })?;
    let mut command = Command::new(program);
    command.args(words).env("DATABASE_URL", database.to_url_lossy().as_str());
    // cargo's configuration says otherwise
    command.env("SQLX_OFFLINE", "false");
    let status = command.status().context("The command did not start.")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder that `PG_BIN_DIR` names.
#[expect(clippy::disallowed_methods, reason = "this program has no command line of options")]
fn binaries() -> Option<PathBuf> {
    env::var_os("PG_BIN_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

async fn migrate(database: &PgConnectOptions) -> anyhow::Result<()> {
    let pool: PgPool = PgPoolOptions::new().connect_with(database.clone()).await?;
    PostgresStorage::setup(&pool).await.context("The queue's migrations failed.")?;
    let ours = Migrator::new(PathBuf::from("migrations")).await?;
    ours.run(&pool).await.context("A migration failed.")?;
    pool.close().await;
    Ok(())
}
