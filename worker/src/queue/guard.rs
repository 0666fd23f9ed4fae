//! What a job must not do to its worker.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;

use super::error::{JobError, Trouble};

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
        // said once a minute, not for each job that waits
        Err(error @ JobError::Transient(Trouble::Installation(_))) => {
            tracing::debug!(queue, %error, "a job waits");
        }
        Err(error) => tracing::warn!(queue, %error, "a job failed"),
    }
    result
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
