//! Keeps a queue's worker running. apalis ends a worker whose poll failed, as all polls do while
//! the database is away, and waits for ever on a connection that was lost without a sign.

use std::time::{Duration, Instant};

use apalis::prelude::{WorkerContext, WorkerError};
use futures::future::BoxFuture;
use shared::{backoff::Backoff, db, log_limit::LogLimit};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// Jobs that run at a stop get this long to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);
/// A worker that runs until it fails or its context is stopped.
pub(super) type Running = BoxFuture<'static, Result<(), WorkerError>>;

/// A worker that is started again whenever it ends.
pub(super) struct Supervised {
    /// Unique to the process and the queue.
    pub(super) name: String,
    /// How its silence is noticed; `None` for one that gives no signs of life.
    pub(super) pulse: Option<Pulse>,
    pub(super) start: Box<dyn Fn(WorkerContext) -> Running + Send>,
}

/// The signs of life of a worker in the database.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    pub(super) pool: PgPool,
    /// After so long without one, the worker's jobs go to others.
    pub(super) limit: Duration,
}

impl Pulse {
    /// Returns once the database answers and the worker has given no sign of life for too long.
    async fn stopped(&self, worker: &str) {
        loop {
            tokio::time::sleep(self.limit / 2).await;
            let looked = async {
                db::queue::is_silent(&mut *self.pool.acquire().await?, worker, self.limit).await
            };
            // a database that is away says nothing about the worker; its own polls fail then
            if let Ok(Ok(true)) = tokio::time::timeout(self.limit, looked).await {
                return;
            }
        }
    }
}

/// Runs the worker until `stop`; then its jobs get 25 s to end.
pub(super) async fn supervise(worker: Supervised, stop: CancellationToken) {
    let log_limit = LogLimit::new();
    let mut backoff = Backoff::default();
    for restarts in 0_u64.. {
        // a name that was used before would inherit the heartbeat of the dead, and its jobs with it
        let context = WorkerContext::new(&format!("{}-{restarts}", worker.name));
        let mut running = (worker.start)(context.clone());
        let started = Instant::now();
        let error = tokio::select! {
            ended = &mut running => match ended {
                Ok(()) => "it ended by itself".to_owned(),
                Err(error) => error.to_string(),
            },
            () = silence(worker.pulse.as_ref(), context.name()) => "it gave no sign of life".to_owned(),
            () = stop.cancelled() => return drain(&context, running).await,
        };
        backoff.reset_after(started.elapsed());
        if log_limit.allows() {
            tracing::warn!(
                worker = worker.name,
                restarts,
                error,
                "a queue's worker ended; starting another"
            );
        }
        // what it ran is dropped before another starts
        drop(running);
        let is_stopped =
            stop.run_until_cancelled(tokio::time::sleep(backoff.delay())).await.is_none();
        if is_stopped {
            return;
        }
    }
}

async fn silence(pulse: Option<&Pulse>, worker: &str) {
    match pulse {
        Some(pulse) => pulse.stopped(worker).await,
        None => std::future::pending().await,
    }
}

async fn drain(context: &WorkerContext, running: Running) {
    // an error says that it had not started yet, or has ended
    let _ = context.stop();
    match tokio::time::timeout(SHUTDOWN_LIMIT, running).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(worker = context.name(), %error, "a queue's worker ended at the stop");
        }
        Err(_) => {
            let seconds = SHUTDOWN_LIMIT.as_secs();
            tracing::warn!(worker = context.name(), seconds, "jobs did not end before the stop");
        }
    }
}
