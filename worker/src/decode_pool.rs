//! Decoding takes a core for itself: so many at a time as the worker may use, on threads of their own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use imaging::{Deadline, Limits, Options, Rendition, ThumbnailError};
use tokio::sync::Semaphore;

use crate::queue::JobError;

/// A bounded number of decodes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DecodePool {
    permits: Arc<Semaphore>,
    limit: Duration,
    limits: Limits,
}

impl DecodePool {
    /// At most `size` decodes at a time, each within `limit`.
    pub(crate) fn new(size: usize, limit: Duration, limits: Limits) -> Self {
        Self { permits: Arc::new(Semaphore::new(size)), limit, limits }
    }

    /// Thumbnails of these heights in px. The outer error is ours and worth another try, the inner one is the image's.
    pub(crate) async fn thumbnails(
        &self,
        original: Bytes,
        heights: Vec<u32>,
    ) -> Result<Result<Rendition, ThumbnailError>, JobError> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|closed| JobError::Failed(closed.to_string()))?;
        let (limit, limits) = (self.limit, self.limits);
        let decoding = tokio::task::spawn_blocking(move || {
            // whoever waits may give up, the thread cannot be stopped: the place is free when it ends
            let _permit = permit;
            imaging::thumbnails(&original, &heights, &Options::default(), &limits, &Deadline::after(limit))
        });
        decoding.await.map_err(|error| JobError::Panicked(error.to_string()))
    }
}
