//! How long to wait before something that failed is tried again.

use std::time::Duration;

use uuid::Uuid;

const SHORTEST: Duration = Duration::from_millis(100);
/// Delays double up to this one.
const LONGEST: Duration = Duration::from_secs(2);

/// Delays between attempts: 0.1 s, doubled up to 2 s, each varied by up to a quarter, so that many
/// processes that lost the same server do not return to it at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: SHORTEST }
    }
}

impl Backoff {
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST);
        // 0.75 to 1.25 times
        let jitter = f64::from(Uuid::new_v4().as_bytes()[0]) / f64::from(u8::MAX) / 2.0;
        delay.mul_f64(0.75 + jitter)
    }

    /// Starts again with the shortest delay, as after what succeeded for longer than the longest
    /// one.
    pub fn reset_after(&mut self, success: Duration) {
        if success >= LONGEST {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_vary_by_a_quarter() {
        let mut backoff = Backoff::default();
        for expected in [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0] {
            let delay = backoff.delay().as_secs_f64();
            // rounding
            let (least, most) = (expected * 0.749, expected * 1.251);
            assert!((least..=most).contains(&delay), "{delay} s after {expected} s");
        }
        backoff.reset_after(Duration::from_secs(1));
        assert!(backoff.delay() > Duration::from_secs(1), "a short success changes nothing");
        backoff.reset_after(Duration::from_secs(2));
        assert!(backoff.delay() < Duration::from_millis(200));
    }
}
