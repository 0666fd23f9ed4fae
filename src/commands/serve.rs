//! The roles that run until they are told to stop.

use std::{thread, time::Duration};

use anyhow::{Context, bail};
use api::Api;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shared::{
    clock::Clock,
    config::HttpConfig,
    db,
    domain::{Password, Username},
    installation,
    public_url::PublicUrl,
    services::Services,
    storage::Storage,
};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use worker::Worker;

use super::reachable;
use crate::{
    cli::Config,
    database::{Database, Schema},
};

/// Connections of a worker besides one for each thumbnail that it makes: heartbeats, polling and listening.
const WORKER_EXTRA_CONNECTIONS: usize = 6;
/// The connection that listens stands beside the pool.
const LISTENER_CONNECTIONS: u32 = 1;

/// A connection is an open file, and the file that it sends another.
const FILES_OF_CONNECTION: u64 = 2;
/// Open files besides those of connections from clients: to the database, and of the worker.
const OTHER_FILES: u64 = 128;

/// How the API is reached, with as many connections as the system lets the process have at most.
fn http_config(config: &Config) -> HttpConfig {
    let mut http = config.http.clone();
    let limit = getrlimit(Resource::Nofile);
    // where it is refused, the process has what it had
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let fitting = files.saturating_sub(OTHER_FILES) / FILES_OF_CONNECTION;
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).max(1);
    if fitting < http.http_connections {
        tracing::warn!(
            "The system lets this process open {files} files: it takes {fitting} connections at a time, not {}.",
            http.http_connections
        );
        http.http_connections = fitting;
    }
    if http.behind_proxy && http.public_url.is_none() {
        tracing::warn!("Set PUBLIC_URL: behind a proxy, requests for any host name are answered without it.");
    }
    http
}

/// The API, a worker and the cleanup in one process.
pub(crate) async fn everything(config: &Config, database: &Database) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let created = database.prepare(config, Schema::Prepare).await?;
    let pool = database.connect(api_connections(config)).await?;
    let storage = open_storage(config, &pool).await?;
    let clock = Clock::measured(&pool).await?;
    let listener = listen(config, &pool).await?;
    let worker_pool = database.connect_for_queue(worker_connections(config)).await?;
    let worker = build_worker(config, worker_pool, storage.clone(), clock.clone())?;
    greet(&config.http, &listener, &pool, created.as_ref()).await?;
    let mut roles = JoinSet::new();
    let (api_stop, worker_stop) = (stop.clone(), stop.clone());
    let api = build_api(config, pool, storage, clock);
    roles.spawn(async move { api.serve(listener, api_stop).await.context("the API") });
    roles.spawn(async move { worker.run(worker_stop).await.context("the worker") });
    wait_for_all(roles, &stop).await
}

/// The API alone.
pub(crate) async fn api(config: &Config, database: &Database) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let created = database.prepare(config, Schema::Expect).await?;
    let pool = database.connect(api_connections(config)).await?;
    let storage = open_storage(config, &pool).await?;
    let clock = Clock::measured(&pool).await?;
    let listener = listen(config, &pool).await?;
    greet(&config.http, &listener, &pool, created.as_ref()).await?;
    build_api(config, pool, storage, clock).serve(listener, stop).await.context("the API")
}

/// A worker alone, with its part in the cleanup.
pub(crate) async fn worker(config: &Config, database: &Database) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    database.prepare(config, Schema::Expect).await?;
    let pool = database.connect_for_queue(worker_connections(config)).await?;
    let storage = open_storage(config, &pool).await?;
    let clock = Clock::measured(&pool).await?;
    build_worker(config, pool, storage, clock)?.run(stop).await.context("the worker")
}

/// Opens the storage, which has to belong to the database.
async fn open_storage(config: &Config, pool: &PgPool) -> anyhow::Result<Storage> {
    let storage = Storage::open(&config.storage).with_context(|| {
        format!(
            "opening the storage; is {} a folder that can be written to?",
            config.storage.data_dir.display()
        )
    })?;
    installation::join(pool, &storage).await?;
    Ok(storage)
}

fn build_api(config: &Config, pool: PgPool, storage: Storage, clock: Clock) -> Api {
    let services = Services::new(pool, storage, clock, config.limits.clone());
    Api { services, http: http_config(config) }
}

fn build_worker(config: &Config, pool: PgPool, storage: Storage, clock: Clock) -> anyhow::Result<Worker> {
    let cleanup_schedule = worker::parse_schedule(&config.worker.cleanup_schedule)?;
    Ok(Worker {
        pool,
        storage,
        clock,
        limits: config.limits.clone(),
        retention: config.retention,
        concurrency: worker_concurrency(config),
        memory_mib: config.worker.worker_memory_mib,
        heartbeat: Duration::from_secs(config.worker.worker_heartbeat_seconds.max(1)),
        cleanup_schedule,
    })
}

fn worker_concurrency(config: &Config) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    config.worker.worker_concurrency.unwrap_or_else(cores).max(1)
}

fn api_connections(config: &Config) -> u32 {
    config.database.database_connections.saturating_sub(LISTENER_CONNECTIONS).max(1)
}

fn worker_connections(config: &Config) -> u32 {
    let needed = worker_concurrency(config) + WORKER_EXTRA_CONNECTIONS;
    let needed = u32::try_from(needed).unwrap_or(u32::MAX);
    config.database.database_connections.max(needed).saturating_sub(LISTENER_CONNECTIONS)
}

/// Binds the address, unless that would let strangers log in with the password that everybody knows.
async fn listen(config: &Config, pool: &PgPool) -> anyhow::Result<TcpListener> {
    let bind = config.http.bind;
    let admins = db::users::admins_with_default_password(&mut *pool.acquire().await?).await?;
    if !bind.ip().is_loopback() && !config.http.allow_default_password && !admins.is_empty() {
        bail!(
            "{bind} can be reached from other machines, and {} still has the password {}: change it, or say \
             --allow-default-password",
            admins.join(", "),
            Password::DEFAULT,
        );
    }
    TcpListener::bind(bind).await.with_context(|| format!("listening on {bind}; is another process there?"))
}

/// The end of the start-up: where the service is, and how to log in.
async fn greet(
    config: &HttpConfig,
    listener: &TcpListener,
    pool: &PgPool,
    created: Option<&Username>,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let url = config
        .public_url
        .as_ref()
        .map_or_else(|| format!("http://{}", reachable(address)), PublicUrl::to_string);
    let known = db::users::admins_with_default_password(&mut *pool.acquire().await?).await?;
    let login = match (known.first(), created) {
        (Some(username), _) => format!("{username} / {}", Password::DEFAULT),
        (None, Some(username)) => format!("{username} / the configured password"),
        (None, None) => "your account".to_owned(),
    };
    eprintln!("Pictier is ready: {url}");
    eprintln!("  listening on: {address}");
    eprintln!("  log in as:    {login}");
    eprintln!("  the API:      {url}/api/docs");
    Ok(())
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        eprintln!("stopping …");
        token.cancel();
    });
    Ok(stop)
}

/// When one role ends, the others end with it.
async fn wait_for_all(
    mut roles: JoinSet<anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = roles.join_next().await {
        stop.cancel();
        let ended = ended.context("a role panicked").flatten();
        result = result.and(ended);
    }
    result
}
