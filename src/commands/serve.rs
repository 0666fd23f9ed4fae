//! The roles that run until they are told to stop.

use std::io::{Write, stderr};

use anyhow::{Context, bail};
use pictier::{Config, Process, metrics_listener::Metrics, service};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shared::{
    config::HttpConfig,
    db,
    domain::{Password, Username},
    public_url::PublicUrl,
};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::reachable;
use crate::database::{Database, Schema};

/// A connection is an open file, and the file that it sends another.
const FILES_OF_CONNECTION: u64 = 2;
/// Open files besides those of connections from clients: to the database, and of the worker.
const OTHER_FILES: u64 = 128;

/// How the API is reached, with as many connections as the system lets the process have at most.
fn http_config(config: &HttpConfig) -> HttpConfig {
    let mut http = config.clone();
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
        tracing::warn!(
            "Set PUBLIC_URL: behind a proxy, requests for any host name are answered without it."
        );
    }
    http
}

/// The API, a worker and the cleanup in one process.
pub(crate) async fn everything(config: &Config, database: &Database) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let metrics = Metrics::start(&config.metrics).await?;
    let created = database.prepare(config, Schema::Prepare).await?;
    let process = open_for_requests(config, database).await?;
    let listener = listen(config, &process.services.pool).await?;
    let queue_pool = service::connect_for_queue(config, database.options()).await?;
    let pools = vec![("api", process.services.pool.clone()), ("worker", queue_pool.clone())];
    let worker = process.worker(queue_pool)?;
    serve_metrics(metrics, pools, &stop)?;
    greet(&config.http, &listener, &process.services.pool, created.as_ref()).await?;
    let mut roles = JoinSet::new();
    let (api_stop, worker_stop) = (stop.clone(), stop.clone());
    let api = process.api();
    roles.spawn(async move { api.serve(listener, api_stop).await.context("the API") });
    roles.spawn(async move { worker.run(worker_stop).await.context("the worker") });
    wait_for_all(roles, &stop).await
}

/// The API alone.
pub(crate) async fn api(config: &Config, database: &Database) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let metrics = Metrics::start(&config.metrics).await?;
    let created = database.prepare(config, Schema::Expect).await?;
    let process = open_for_requests(config, database).await?;
    let listener = listen(config, &process.services.pool).await?;
    serve_metrics(metrics, vec![("api", process.services.pool.clone())], &stop)?;
    greet(&config.http, &listener, &process.services.pool, created.as_ref()).await?;
    process.api().serve(listener, stop).await.context("the API")
}

/// A worker alone, with its part in the cleanup.
pub(crate) async fn worker(config: &Config, database: &Database) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let metrics = Metrics::start(&config.metrics).await?;
    database.prepare(config, Schema::Expect).await?;
    let pool = service::connect_for_queue(config, database.options()).await?;
    let process = Process::open(config.clone(), pool.clone()).await?;
    serve_metrics(metrics, vec![("worker", pool.clone())], &stop)?;
    process.worker(pool)?.run(stop).await.context("the worker")
}

fn serve_metrics(
    metrics: Option<Metrics>,
    pools: Vec<(&'static str, PgPool)>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    metrics.map_or(Ok(()), |metrics| metrics.serve(pools, stop.clone()))
}

async fn open_for_requests(config: &Config, database: &Database) -> anyhow::Result<Process> {
    let pool = service::connect(config, database.options()).await?;
    let config = Config { http: http_config(&config.http), ..config.clone() };
    Process::open(config, pool).await
}

/// Binds the address, unless that would let strangers log in with the password that everybody
/// knows.
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
    TcpListener::bind(bind)
        .await
        .with_context(|| format!("listening on {bind}; is another process there?"))
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
    say(&format!(
        "Pictier is ready: {url}\n  listening on: {address}\n  log in as:    {login}\n  the API:      {url}/api/docs"
    ));
    Ok(())
}

/// Prints a line for the operator, if anybody still reads standard error: `eprintln!` would panic.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        token.cancel();
        say("stopping …");
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
