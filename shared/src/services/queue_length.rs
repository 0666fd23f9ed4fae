//! How many thumbnails wait for a worker.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgConnection;

use crate::db;

/// A look at the queue holds for this long, as counting a long one takes milliseconds.
const LOOK_LIFETIME: Duration = Duration::from_secs(1);

/// Whether the queue is too long, as of a moment ago. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct QueueLength {
    last_look: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl QueueLength {
    /// Whether more than `limit` thumbnails wait.
    pub(super) async fn is_above(
        &self,
        limit: u32,
        connection: &mut PgConnection,
    ) -> sqlx::Result<bool> {
        let last_look = *self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, is_above)) = last_look
            && at.elapsed() < LOOK_LIFETIME
        {
            return Ok(is_above);
        }
        let is_above = db::queue::is_longer_than(connection, limit.into()).await?;
        let look = Some((Instant::now(), is_above));
        *self.last_look.lock().unwrap_or_else(PoisonError::into_inner) = look;
        Ok(is_above)
    }
}
