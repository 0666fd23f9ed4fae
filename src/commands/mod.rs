//! What each role does.

mod admins;
pub(crate) mod healthcheck;
mod serve;
mod tiers;
mod upkeep;

use std::process::ExitCode;

use crate::{
    cli::{Cli, Role},
    database::{Database, Schema},
};

/// Connections of a role that does one thing and ends.
const ONE_SHOT_CONNECTIONS: u32 = 2;

/// Runs the role that the command line names.
pub(crate) async fn run(cli: &Cli, database: &Database) -> anyhow::Result<ExitCode> {
    let config = &cli.config;
    let done = |()| ExitCode::SUCCESS;
    match &cli.role {
        None => serve::everything(config, database).await.map(done),
        Some(Role::Api) => serve::api(config, database).await.map(done),
        Some(Role::Worker) => serve::worker(config, database).await.map(done),
        Some(Role::Migrate) => {
            let (_, created) = database.open(config, Schema::Prepare, ONE_SHOT_CONNECTIONS).await?;
            if let Some(username) = created {
                eprintln!("created the superuser {username}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Role::Cleanup) => upkeep::clean_up(config, database).await.map(done),
        Some(Role::Audit) => upkeep::audit(config, database).await,
        Some(Role::CreateAdmin { username, tier }) => {
            admins::create(config, database, username, tier).await.map(done)
        }
        Some(Role::LoadTiers { file, yes }) => {
            let consent = if *yes { tiers::Consent::Given } else { tiers::Consent::Ask };
            tiers::load(config, database, file, consent).await
        }
        Some(Role::Healthcheck { .. }) => healthcheck::worker(database).await,
        Some(Role::Openapi) => Ok(ExitCode::SUCCESS),
    }
}
