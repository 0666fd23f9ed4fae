//! Keeps a queue's worker running. apalis ends a worker whose poll failed, as all polls do while the database is away.

use std::time::{Duration, Instant};

use apalis::prelude::{WorkerContext, WorkerError};
use futures::future::BoxFuture;
use shared::log_limit::LogLimit;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Jobs that run at a stop get this long to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);
/// The wait before a worker is started again: doubled each time from the first to the last, ± 50 %.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(2);
/// A worker that ran for so long was well: the next wait is the first again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// A worker that runs until it fails or its context is stopped.
pub(super) type Running = BoxFuture<'static, Result<(), WorkerError>>;

/// A worker that is started again whenever it ends.
pub(super) struct Supervised {
    /// Unique to the process and the queue.
    pub(super) name: String,
    pub(super) start: Box<dyn Fn(WorkerContext) -> Running + Send>,
}

/// Runs the worker until `stop`; then its jobs get 25 s to end.
pub(super) async fn supervise(worker: Supervised, stop: CancellationToken) {
    let log_limit = LogLimit::new();
    let mut delay = FIRST_DELAY;
    for restarts in 0_u64.. {
        // a name that was used before would inherit the heartbeat of the dead, and its jobs with it
        let context = WorkerContext::new(&format!("{}-{restarts}", worker.name));
        let mut running = (worker.start)(context.clone());
        let started = Instant::now();
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = stop.cancelled() => return drain(&context, running).await,
        };
        if started.elapsed() > WELL_AFTER {
            delay = FIRST_DELAY;
        }
        if log_limit.allows() {
            let error =
                ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
            tracing::warn!(worker = worker.name, restarts, error, "a queue's worker ended; starting another");
        }
        // what it ran is dropped before another starts
        drop(running);
        let is_stopped = stop.run_until_cancelled(tokio::time::sleep(jittered(delay))).await.is_none();
        if is_stopped {
            return;
        }
        delay = (delay * 2).min(LAST_DELAY);
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

/// Spread by half, so that workers that lost the same database do not come back all at once.
fn jittered(delay: Duration) -> Duration {
    let random = u32::from(Uuid::new_v4().as_bytes()[0]);
    delay / 2 + delay * random / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_spread_by_half() {
        for _ in 0..1000 {
            let delay = jittered(LAST_DELAY);
            assert!(delay >= LAST_DELAY / 2 && delay <= LAST_DELAY * 3 / 2, "{delay:?}");
        }
    }
}
