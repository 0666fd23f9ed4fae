//! `GET /metrics` on a listener of its own, for Prometheus.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use shared::{
    config::MetricsConfig,
    db,
    jobs::{GenerateThumbnail, Job, QUEUES},
    metrics::{
        self, DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_MAX, DATABASE_UP, Exposition,
        LIVE_WORKERS, QUEUE_JOBS, QUEUE_OLDEST_WAITING_SECONDS, approximate,
    },
};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// A worker counts as live for so long after a heartbeat.
const LIVE_WORKER_AGE: Duration = Duration::from_secs(30);
/// The longest time for reading figures from the database; Prometheus gives a scrape 10 s.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Figures are read at most this often, however many scrape.
const READ_INTERVAL: Duration = Duration::from_millis(500);
/// The media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A bound listener, and the recorder of this process.
#[derive(Debug)]
pub struct Metrics {
    listener: TcpListener,
    exposition: Exposition,
}

/// What a scrape reads from.
#[derive(Clone)]
struct Sources {
    exposition: Exposition,
    pools: Arc<[(&'static str, PgPool)]>,
    read_at: Arc<Mutex<Option<Instant>>>,
}

impl Metrics {
    /// Records metrics from now on if an address is configured. A process calls it first, so that
    /// nothing is missed.
    pub async fn start(config: &MetricsConfig) -> anyhow::Result<Option<Self>> {
        let Some(bind) = config.metrics_bind else { return Ok(None) };
        let listener = TcpListener::bind(bind).await.with_context(|| {
            format!("listening for metrics on {bind}; is another process there?")
        })?;
        let exposition = metrics::install()?;
        Ok(Some(Self { listener, exposition }))
    }

    /// Answers scrapes until `stop`, in a task of its own. The first pool reads the figures of
    /// queues.
    pub fn serve(
        self,
        pools: Vec<(&'static str, PgPool)>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        tracing::info!("metrics: http://{}/metrics", self.listener.local_addr()?);
        tokio::spawn(self.exposition.clone().keep(stop.clone()));
        let sources =
            Sources { exposition: self.exposition, pools: pools.into(), read_at: Arc::default() };
        let router = Router::new().route("/metrics", get(scrape)).with_state(sources);
        let serving =
            axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned());
        tokio::spawn(async move { serving.await });
        Ok(())
    }
}

async fn scrape(State(sources): State<Sources>) -> impl IntoResponse {
    for (name, pool) in sources.pools.iter() {
        let idle = pool.num_idle() as u64;
        let used = u64::from(pool.size()).saturating_sub(idle);
        DATABASE_CONNECTIONS.set([name, "idle"], approximate(idle));
        DATABASE_CONNECTIONS.set([name, "used"], approximate(used));
        DATABASE_CONNECTIONS_MAX.set([name], f64::from(pool.options().get_max_connections()));
    }
    let mut read_at = sources.read_at.lock().await;
    if read_at.is_none_or(|at| at.elapsed() >= READ_INTERVAL) {
        read_figures(&sources.pools).await;
        *read_at = Some(Instant::now());
    }
    drop(read_at);
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], sources.exposition.render())
}

/// Reads what all processes share. What cannot be read is not a number: an old one would mislead.
async fn read_figures(pools: &[(&'static str, PgPool)]) {
    let Some((_, pool)) = pools.first() else { return };
    let reading = async {
        let mut connection = pool.acquire().await?;
        let queues = db::admin::jobs::figures(&mut connection, &QUEUES).await?;
        let queue = GenerateThumbnail::QUEUE;
        let workers =
            db::queue::count_live_workers(&mut connection, queue, LIVE_WORKER_AGE).await?;
        Ok::<_, sqlx::Error>((queues, workers))
    };
    let read = tokio::time::timeout(READ_LIMIT, reading).await;
    let Ok(Ok((queues, workers))) = read else {
        tracing::warn!("The database did not answer a scrape of the metrics.");
        DATABASE_UP.set([], 0.0);
        LIVE_WORKERS.set([], f64::NAN);
        for queue in QUEUES {
            set_queue(queue, [f64::NAN; 5]);
        }
        return;
    };
    DATABASE_UP.set([], 1.0);
    LIVE_WORKERS.set([], approximate(workers));
    for figures in queues {
        let oldest = figures.oldest_waiting_seconds.unwrap_or_default();
        let values = [figures.waiting, figures.running, figures.failed, figures.dead, oldest];
        set_queue(&figures.queue, values.map(approximate));
    }
}

fn set_queue(queue: &str, [waiting, running, failed, dead, oldest]: [f64; 5]) {
    let states = [("waiting", waiting), ("running", running), ("failed", failed), ("dead", dead)];
    for (state, value) in states {
        QUEUE_JOBS.set([queue, state], value);
    }
    QUEUE_OLDEST_WAITING_SECONDS.set([queue], oldest);
}
