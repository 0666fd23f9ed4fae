//! Decoding takes a core for itself: so many at a time as the worker may use, on threads of their
//! own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use imaging::{Deadline, Limits, Options, Rendition, ThumbnailError};
use tokio::sync::Semaphore;

use crate::{
    memory::{MemoryBudget, Reservation},
    queue::{JobError, Trouble},
};

/// A bounded number of decodes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DecodePool {
    permits: Arc<Semaphore>,
    size: u32,
    memory: MemoryBudget,
    limit: Duration,
    limits: Limits,
}

impl DecodePool {
    /// At most `size` decodes at a time, each within `limit` of CPU time, and together within
    /// `memory`.
    pub(crate) fn new(size: usize, memory: MemoryBudget, limit: Duration, limits: Limits) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self { permits: Arc::new(Semaphore::new(size as usize)), size, memory, limit, limits }
    }

    /// The most decodes at a time.
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    /// The CPU time that one decode may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Thumbnails of these heights in px. The outer error is ours and worth another try, the inner
    /// one is the image's.
    ///
    /// A decode that takes too long is tried once more alone: beside others it may have waited for
    /// memory.
    pub(crate) async fn thumbnails(
        &self,
        original: Bytes,
        heights: Vec<u32>,
    ) -> Result<Result<Rendition, ThumbnailError>, JobError> {
        let needed = imaging::memory_needed(&original, &heights, &Options::default(), &self.limits);
        let needed = match needed {
            Ok(needed) => needed.saturating_add(original.len() as u64),
            Err(refused) => return Ok(Err(refused.into())),
        };
        let memory = Arc::new(self.memory.reserve(needed).await?);
        let result = self.decode(original.clone(), heights.clone(), 1, memory.clone()).await?;
        match result {
            Err(ThumbnailError::DeadlineExceeded(_)) if self.size > 1 => {
                self.decode(original, heights, self.size, memory).await
            }
            Err(ThumbnailError::OutOfMemory) => Err(Trouble::MemoryUsedUp.into()),
            result => Ok(result),
        }
    }

    /// Decodes while it holds so many of the permits.
    async fn decode(
        &self,
        original: Bytes,
        heights: Vec<u32>,
        permits: u32,
        memory: Arc<Reservation>,
    ) -> Result<Result<Rendition, ThumbnailError>, JobError> {
        let permit = self.permits.clone().acquire_many_owned(permits).await;
        let permit = permit.map_err(|closed| JobError::Failed(closed.to_string()))?;
        let (limit, limits) = (self.limit, self.limits);
        let decoding = tokio::task::spawn_blocking(move || {
            // the request for it may be dropped, the thread cannot be stopped: the place is free
            // when it ends
            let _held = (permit, memory);
            let deadline = Deadline::after_on(thread_cpu_time, limit);
            imaging::thumbnails(&original, &heights, &Options::default(), &limits, &deadline)
        });
        decoding.await.map_err(|error| JobError::Panicked(error.to_string()))
    }
}

/// The CPU time of this thread. While a process is frozen, or its core is given to others, it
/// stands still.
fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_thread_stands_still_while_it_sleeps() {
        let before = thread_cpu_time();
        std::thread::sleep(Duration::from_millis(200));
        assert!(thread_cpu_time().saturating_sub(before) < Duration::from_millis(100));
    }
}
