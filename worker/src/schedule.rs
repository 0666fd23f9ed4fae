//! Jobs at set times. Every process ticks by itself; the key of the job that a tick enqueues is the
//! tick's time, so the first process enqueues it and the others find it there.

use std::str::FromStr;

use shared::{db, jobs::Job};
use sqlx::PgPool;

use crate::queue::JobError;

/// What is no schedule.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no schedule: {reason}; an example is \"0 0 * * * *\", each hour")]
pub struct ScheduleError {
    pub text: String,
    pub reason: String,
}

/// Reads a cron expression: seconds, minutes, hours, days, months, days of the week, in UTC.
pub fn parse_schedule(text: &str) -> Result<cron::Schedule, ScheduleError> {
    cron::Schedule::from_str(text)
        .map_err(|error| ScheduleError { text: text.to_owned(), reason: error.to_string() })
}

/// Enqueues the job of a tick, in seconds since 1970, unless another process did.
pub(crate) async fn enqueue<J: Job>(job: &J, tick: u64, pool: &PgPool) -> Result<(), JobError> {
    let payload = serde_json::to_vec(job).map_err(|error| JobError::Failed(error.to_string()))?;
    let key = format!("tick:{tick}");
    let mut connection = pool.acquire().await?;
    db::queue::insert_keyed(&mut connection, J::QUEUE, &key, &payload, J::MAX_ATTEMPTS).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_is_none_is_refused_with_an_example() {
        assert!(parse_schedule("0 0 * * * *").is_ok());
        let error = parse_schedule("hourly?").expect_err("no schedule").to_string();
        assert!(error.contains("0 0 * * * *"), "{error}");
    }
}
