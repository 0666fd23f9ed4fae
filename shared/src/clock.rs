//! The time, injected: everything that asks for "now" asks a [`Clock`], so that tests can advance
//! it.
//!
//! Whatever two processes compare is in the database's time. A clock measures that time and goes on
//! from there by the monotonic clock of its machine, so a wrong or a jumping system clock changes
//! nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{db, log_limit::LogLimit};

/// The time between two measurements.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);
/// A measurement that takes longer says too little.
const MEASURE_LIMIT: Duration = Duration::from_secs(2);
/// A system clock that differs by more is worth a warning.
const TOLERATED_SKEW: TimeDelta = TimeDelta::seconds(2);

/// The database's time in UTC as last measured, plus the time since, plus an offset that tests may
/// advance. Clones share all of it. Before the first measurement it is the system's time.
#[derive(Clone, Debug)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// The time at `started`, in microseconds since 1970.
    time_at_start: AtomicI64,
    advanced_by: AtomicI64,
    skew_warning: LogLimit,
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn default() -> Self {
        let inner = Inner {
            started: Instant::now(),
            time_at_start: AtomicI64::new(Utc::now().timestamp_micros()),
            advanced_by: AtomicI64::new(0),
            skew_warning: LogLimit::new(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Clock {
    /// A clock that starts with the database's time.
    pub async fn measured(pool: &PgPool) -> sqlx::Result<Self> {
        let clock = Self::default();
        clock.measure(pool).await?;
        Ok(clock)
    }

    /// Now, cut to the microsecond, which is what Postgres keeps: a time reads back as it was
    /// written.
    pub fn now(&self) -> DateTime<Utc> {
        let since_start = microseconds(self.inner.started.elapsed());
        let advanced_by = self.inner.advanced_by.load(Ordering::Relaxed);
        let time = self.inner.time_at_start.load(Ordering::Relaxed) + since_start + advanced_by;
        DateTime::from_timestamp_micros(time).unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
    }

    /// Lets `by` pass at once for everything that holds a clone of this clock.
    pub fn advance(&self, by: Duration) {
        self.inner.advanced_by.fetch_add(microseconds(by), Ordering::Relaxed);
    }

    /// Sets the clock to the database's time.
    pub async fn measure(&self, pool: &PgPool) -> sqlx::Result<()> {
        let mut connection = pool.acquire().await?;
        let asked = self.inner.started.elapsed();
        let time = db::now(&mut connection).await?;
        let answered = self.inner.started.elapsed();
        // the database read its clock about halfway between question and answer
        self.set(time, (asked + answered) / 2);
        Ok(())
    }

    fn set(&self, time: DateTime<Utc>, since_start: Duration) {
        let time_at_start = time.timestamp_micros() - microseconds(since_start);
        self.inner.time_at_start.store(time_at_start, Ordering::Relaxed);
    }

    /// Measures the database's time again and again until `stop`. While the database is away, the
    /// clock goes on by itself.
    pub async fn follow(self, pool: PgPool, stop: CancellationToken) {
        let measuring = async {
            loop {
                match tokio::time::timeout(MEASURE_LIMIT, self.measure(&pool)).await {
                    Ok(Ok(())) => self.warn_of_skew(),
                    Ok(Err(error)) => tracing::debug!(%error, "cannot measure the database's time"),
                    Err(_) => tracing::debug!("the database took too long to tell its time"),
                }
                tokio::time::sleep(MEASURE_INTERVAL).await;
            }
        };
        stop.run_until_cancelled(measuring).await;
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "compares the system's clock with the database's"
    )]
    fn warn_of_skew(&self) {
        let advanced_by = TimeDelta::microseconds(self.inner.advanced_by.load(Ordering::Relaxed));
        let skew = Utc::now() - (self.now() - advanced_by);
        if skew.abs() > TOLERATED_SKEW && self.inner.skew_warning.allows() {
            let seconds = skew.num_seconds();
            tracing::warn!(
                seconds,
                "the clock of this machine differs from the database's, which is used"
            );
        }
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_a_clock_advances_its_clones() {
        let clock = Clock::default();
        let clone = clock.clone();
        let before = clone.now();
        clock.advance(Duration::from_hours(1));
        assert!(clone.now() - before >= TimeDelta::hours(1));
    }

    #[test]
    fn a_measured_clock_has_the_databases_time_whatever_the_systems_is() {
        let clock = Clock::default();
        let of_database = clock.now() - TimeDelta::hours(2);
        clock.set(of_database, clock.inner.started.elapsed());
        let difference = clock.now() - of_database;
        assert!(
            difference >= TimeDelta::zero() && difference < TimeDelta::minutes(1),
            "{difference}"
        );
    }
}
