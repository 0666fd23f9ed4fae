//! `pictier cleanup` and `pictier audit`.

use std::process::ExitCode;

use shared::{clock::Clock, storage::Storage};
use worker::Context;

use super::ONE_SHOT_CONNECTIONS;
use crate::{
    cli::Config,
    database::{Database, Schema},
};

/// What the hourly job does, now.
pub(crate) async fn clean_up(config: &Config, database: &Database) -> anyhow::Result<()> {
    let cleaned_up = worker::clean_up(&context(config, database).await?).await?;
    println!("{cleaned_up}");
    Ok(())
}

/// Prints what is wrong; fails when anything is.
pub(crate) async fn audit(config: &Config, database: &Database) -> anyhow::Result<ExitCode> {
    let report = worker::audit(&context(config, database).await?).await?;
    print!("{report}");
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn context(config: &Config, database: &Database) -> anyhow::Result<Context> {
    let (pool, _) = database.open(config, Schema::Expect, ONE_SHOT_CONNECTIONS).await?;
    let storage = Storage::open(&config.storage)?;
    Ok(Context { pool, storage, clock: Clock::default(), retention: config.retention })
}
