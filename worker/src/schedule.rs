//! Jobs at set times. Every process ticks by itself; the key of the job that a tick enqueues is the
//! tick's time, so the first process enqueues it and the others find it there.

use shared::{db, jobs::Job};
use sqlx::PgPool;

use crate::queue::JobError;

/// Enqueues the job of a tick, in seconds since 1970, unless another process did.
pub(crate) async fn enqueue<J: Job>(job: &J, tick: u64, pool: &PgPool) -> Result<(), JobError> {
    let payload = serde_json::to_vec(job).map_err(|error| JobError::Failed(error.to_string()))?;
    let key = format!("tick:{tick}");
    let mut connection = pool.acquire().await?;
    db::queue::insert_keyed(&mut connection, J::QUEUE, &key, &payload, J::MAX_ATTEMPTS).await?;
    Ok(())
}
