//! `pictier healthcheck`: for Docker and other supervisors.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use shared::{config::HttpConfig, db, postgres};

use super::reachable;
use crate::database::{Database, ONE_SHOT_CONNECTIONS};

const TIMEOUT: Duration = Duration::from_secs(3);
/// A worker that has not been seen for this long is gone.
const WORKER_SEEN: Duration = Duration::from_mins(1);

/// Whether the API that listens on the configured address is ready.
pub(crate) async fn api(config: &HttpConfig) -> anyhow::Result<ExitCode> {
    let address = reachable(config.bind);
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    match client.get(format!("http://{address}/readyz")).send().await {
        Ok(response) if response.status().is_success() => Ok(ExitCode::SUCCESS),
        Ok(response) => {
            eprintln!("not ready: {}", response.text().await.unwrap_or_default());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            eprintln!("not reached: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Whether a worker on this machine lives.
pub(crate) async fn worker(database: &Database) -> anyhow::Result<ExitCode> {
    let pool = postgres::connect(database.options(), ONE_SHOT_CONNECTIONS).await;
    let pool = pool.context("connecting to the database")?;
    let host = worker::host_name();
    if db::queue::has_live_worker(&mut *pool.acquire().await?, &host, WORKER_SEEN).await? {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("no worker on {host} has been seen for {} seconds", WORKER_SEEN.as_secs());
    Ok(ExitCode::FAILURE)
}
