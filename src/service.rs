//! The one place where a process is wired: from the configuration and a database to the API and the
//! worker. The command line, the tests and the benchmarks start what is wired here.

use std::{thread, time::Duration};

use anyhow::Context;
use api::Api;
use shared::{
    clock::Clock, config::WORKER_EXTRA_CONNECTIONS, installation, postgres, services::Services,
    storage::Storage,
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use worker::Worker;

use crate::Config;

/// The connection that listens is not part of the pool.
const LISTENER_CONNECTIONS: u32 = 1;

/// The parts of one process, not running yet.
#[derive(Clone, Debug)]
pub struct Process {
    pub config: Config,
    /// The database, the storage and the clock, with the procedures over them.
    pub services: Services,
}

impl Process {
    /// Opens the storage, which must belong to the pool's database.
    pub async fn open(config: Config, pool: PgPool) -> anyhow::Result<Self> {
        let services = open_services(&config, pool).await?;
        installation::join(&services.pool, &services.storage).await?;
        Ok(Self { config, services })
    }

    /// An API on the process's pool, which [`connect`] made.
    pub fn api(&self) -> Api {
        Api { services: self.services.clone(), http: self.config.http.clone() }
    }

    /// A worker on a pool that [`connect_for_queue`] made.
    pub fn worker(&self, pool: PgPool) -> anyhow::Result<Worker> {
        let options = &self.config.worker;
        Ok(Worker {
            pool,
            storage: self.services.storage.clone(),
            clock: self.services.clock.clone(),
            limits: self.config.limits.clone(),
            retention: self.config.retention,
            concurrency: worker_concurrency(&self.config),
            memory_mib: options.worker_memory_mib,
            heartbeat: Duration::from_secs(options.worker_heartbeat_seconds.max(1)),
            schedules: options.schedules.clone(),
        })
    }

    /// The context of a job that runs without a queue.
    pub fn job_context(&self) -> worker::Context {
        let Services { pool, storage, clock, .. } = self.services.clone();
        worker::Context::new(pool, storage, clock, self.config.retention)
    }
}

/// Opens the storage, whichever database it belongs to, and measures the database's time.
pub async fn open_services(config: &Config, pool: PgPool) -> anyhow::Result<Services> {
    let storage = Storage::open(&config.storage).with_context(|| {
        format!(
            "opening the storage; is {} a folder that can be written to?",
            config.storage.data_dir.display()
        )
    })?;
    let clock = Clock::measured(&pool).await?;
    Ok(Services::new(pool, storage, clock, config.limits.clone()))
}

/// Opens a pool for an API with the configured number of connections.
pub async fn connect(config: &Config, database: PgConnectOptions) -> anyhow::Result<PgPool> {
    let pool = postgres::connect(database, api_connections(config)).await;
    pool.context("connecting to the database")
}

/// Opens a pool for a worker with the configured number of connections, or more if the worker needs
/// more.
pub async fn connect_for_queue(
    config: &Config,
    database: PgConnectOptions,
) -> anyhow::Result<PgPool> {
    let pool = postgres::connect_for_queue(database, worker_connections(config)).await;
    pool.context("connecting to the database")
}

fn worker_concurrency(config: &Config) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    config.worker.worker_concurrency.unwrap_or_else(cores).max(1)
}

fn api_connections(config: &Config) -> u32 {
    config.database.database_connections.saturating_sub(LISTENER_CONNECTIONS).max(1)
}

fn worker_connections(config: &Config) -> u32 {
    let concurrency = u32::try_from(worker_concurrency(config)).unwrap_or(u32::MAX);
    let needed = concurrency.saturating_add(WORKER_EXTRA_CONNECTIONS);
    config.database.database_connections.max(needed).saturating_sub(LISTENER_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gets_the_connections_that_it_needs() {
        let mut config: Config = shared::config::defaults();
        (config.database.database_connections, config.worker.worker_concurrency) = (3, Some(4));
        assert_eq!(api_connections(&config) + LISTENER_CONNECTIONS, 3);
        assert_eq!(
            worker_connections(&config) + LISTENER_CONNECTIONS,
            4 + WORKER_EXTRA_CONNECTIONS
        );
        config.database.database_connections = 50;
        assert_eq!(worker_connections(&config) + LISTENER_CONNECTIONS, 50);
    }
}
