//! Log lines that would repeat for as long as an outage lasts.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_mins(1);

/// Lets one line a minute through.
#[derive(Debug, Default)]
pub struct LogLimit {
    last: Mutex<Option<Instant>>,
}

impl LogLimit {
    /// A limit that has let nothing through yet.
    pub const fn new() -> Self {
        Self { last: Mutex::new(None) }
    }

    /// Whether a line may be logged now.
    pub fn allows(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= MINUTE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_line_through_and_the_next_after_a_minute() {
        let limit = LogLimit::new();
        assert!(limit.allows());
        assert!(!limit.allows());
        *limit.last.lock().expect("a limit") = Instant::now().checked_sub(MINUTE);
        assert!(limit.allows());
    }
}
