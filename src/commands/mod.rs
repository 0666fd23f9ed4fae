//! What each role does.

mod admins;
mod backup;
mod consent;
mod delete_user;
pub(crate) mod healthcheck;
mod maintenance;
mod progress;
mod seed;
mod serve;
mod tiers;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use pictier::{Config, service};
use shared::services::Services;

use self::consent::Consent;
use crate::{
    cli::{Cli, Role},
    database::{Database, Schema},
};

/// Runs the role that the command line names.
pub(crate) async fn run(cli: &Cli, database: &Database) -> anyhow::Result<ExitCode> {
    let config = &cli.config;
    let done = |()| ExitCode::SUCCESS;
    match &cli.role {
        None => serve::everything(config, database).await.map(done),
        Some(Role::Api) => serve::api(config, database).await.map(done),
        Some(Role::Worker) => serve::worker(config, database).await.map(done),
        Some(Role::Migrate) => {
            if let Some(username) = database.prepare(config, Schema::Prepare).await? {
                eprintln!("created the superuser {username}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Role::Cleanup { originals: false, .. }) => {
            maintenance::clean_up(config, database).await.map(done)
        }
        Some(Role::Cleanup { originals: true, yes }) => {
            maintenance::delete_unknown_originals(config, database, Consent::of(*yes)).await
        }
        Some(Role::Verify { sample }) => maintenance::verify(config, database, *sample).await,
        Some(Role::Backup { dir }) => backup::back_up(config, database, dir).await,
        Some(Role::Restore { dir, backup }) => {
            backup::restore(config, database, dir, backup.as_deref()).await
        }
        Some(Role::CopyStorage { from, to }) => {
            backup::copy_storage(config, database, from, to).await
        }
        Some(Role::Repair { yes }) => {
            maintenance::repair(config, database, Consent::of(*yes)).await
        }
        Some(Role::RetryFailed { reason }) => {
            maintenance::retry_failed(config, database, reason.as_deref()).await.map(done)
        }
        Some(Role::AdoptStorage { yes }) => {
            maintenance::adopt_storage(config, database, Consent::of(*yes)).await
        }
        Some(Role::Audit) => maintenance::audit(config, database).await,
        Some(Role::CreateAdmin { username, tier }) => {
            admins::create(config, database, username, tier).await.map(done)
        }
        Some(Role::DeleteUser { username, yes }) => {
            delete_user::delete(config, database, username, Consent::of(*yes)).await
        }
        Some(Role::LoadTiers { file, yes }) => {
            tiers::load(config, database, file, Consent::of(*yes)).await
        }
        Some(Role::Seed { photos }) => seed::seed(config, database, *photos).await.map(done),
        Some(Role::Healthcheck { .. }) => healthcheck::worker(database).await,
        Some(Role::Openapi) => Ok(ExitCode::SUCCESS),
    }
}

/// The procedures for a command that does one thing and ends.
async fn services(config: &Config, database: &Database) -> anyhow::Result<Services> {
    let (pool, _) = database.open(config, Schema::Expect).await?;
    service::open_services(config, pool).await
}

/// How a command ends that looks for faults.
fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An address on this machine that reaches a listener; one on all addresses cannot be connected to
/// by its own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}
