//! The command line: reads the configuration, starts the database when none is configured, and runs
//! the role that was asked for. Everything that the roles do is in `api`, `worker` and `shared`.

mod cli;
mod commands;
mod database;

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use shared::postgres;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, LogFormat, Role},
    database::Database,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            let explanation =
                error.chain().find_map(|cause| postgres::explain(cause.downcast_ref()?));
            match explanation {
                Some(explanation) => eprintln!("pictier: {explanation}"),
                None => eprintln!("pictier: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    log_to_stderr(cli)?;
    // object_store and reqwest leave the choice of the TLS provider to the process; a second call
    // changes nothing
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(Role::Healthcheck { worker: false }) = cli.role {
        return block_on(commands::healthcheck::api(&cli.config.http));
    }
    if let Some(Role::Openapi) = cli.role {
        println!("{:#}", api::openapi_document());
        return Ok(ExitCode::SUCCESS);
    }
    // the embedded server starts before the runtime and ends after it, when nothing uses it any
    // more
    let database = Database::locate(&cli.config)?;
    block_on(commands::run(cli, &database))
}

fn block_on(role: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting threads")?;
    let code = runtime.block_on(role);
    // a decode that was abandoned at the stop is not waited for
    runtime.shutdown_background();
    code
}

fn log_to_stderr(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).context("the log filter")?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // it would panic where nobody reads the log any more
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    match cli.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
