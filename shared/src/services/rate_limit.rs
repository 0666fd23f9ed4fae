use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::db::rate_limits::Reading;

/// What a client may still do of something that is limited over a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Names what is counted.
    pub policy: &'static str,
    /// How often it may be done in a window.
    pub quota: i32,
    pub window: Duration,
    /// How often it may still be done in this window.
    pub remaining: i32,
    /// Seconds until the window ends; 0 while none is open.
    pub reset_seconds: i64,
}

impl RateLimit {
    /// Nothing is counted yet.
    pub fn unused(policy: &'static str, quota: i32, window: Duration) -> Self {
        Self { policy, quota, window, remaining: quota.max(0), reset_seconds: 0 }
    }

    /// As a counter says.
    pub(super) fn read(self, reading: Reading, now: DateTime<Utc>) -> Self {
        Self {
            remaining: self.quota.saturating_sub(reading.hits).max(0),
            reset_seconds: (reading.resets_at - now).num_seconds().max(0),
            ..self
        }
    }
}
