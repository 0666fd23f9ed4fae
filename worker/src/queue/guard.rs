//! What a job must not do to its worker.

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use shared::metrics::{JOB_ATTEMPTS, JOB_OUTCOMES, JOB_SECONDS};

use super::error::{JobError, Trouble};

/// Outcomes of attempts, as a label.
const DONE: &str = "done";
const WAITING: &str = "waiting";
const TRANSIENT: &str = "transient";
const FAILED: &str = "failed";

/// Runs a job within `limit`, and turns a panic and a time-out into plain errors here: the layers
/// that apalis has for them end the worker's poll instead, and leave the job's row as if it still
/// ran.
pub(super) async fn guarded<F>(queue: &'static str, limit: Duration, job: F) -> Result<(), JobError>
where
    F: Future<Output = Result<(), JobError>>,
{
    let result = match tokio::time::timeout(limit, AssertUnwindSafe(job).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(JobError::Panicked(message(panic.as_ref()))),
        Err(_) => Err(Trouble::TimedOut(limit).into()),
    };
    match &result {
        Ok(()) => {}
        // an installation's trouble is said once a minute, not for each job that waits
        Err(error @ JobError::Transient(Trouble::Installation(_) | Trouble::BackupRuns)) => {
            tracing::debug!(queue, %error, "a job waits");
        }
        Err(error) => tracing::warn!(queue, %error, "a job failed"),
    }
    result
}

/// As [`guarded`], with the metrics of the attempt.
pub(super) async fn measured<F>(
    queue: &'static str,
    limit: Duration,
    job: F,
) -> Result<(), JobError>
where
    F: Future<Output = Result<(), JobError>>,
{
    JOB_ATTEMPTS.add([queue], 1);
    let started = Instant::now();
    let result = guarded(queue, limit, job).await;
    JOB_SECONDS.record_since([queue], started);
    let outcome = match &result {
        Ok(()) => DONE,
        Err(JobError::Transient(Trouble::BackupRuns)) => WAITING,
        Err(JobError::Transient(_)) => TRANSIENT,
        Err(JobError::Failed(_) | JobError::Panicked(_) | JobError::ForeignId) => FAILED,
    };
    JOB_OUTCOMES.add([queue, outcome], 1);
    result
}

/// Has the counts of a queue start at 0, so that the first failure is an increase.
pub(super) fn start_counts(queue: &str) {
    JOB_ATTEMPTS.add([queue], 0);
    for outcome in [DONE, WAITING, TRANSIENT, FAILED] {
        JOB_OUTCOMES.add([queue, outcome], 0);
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
