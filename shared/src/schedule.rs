//! When jobs by the clock run.

use cron::Schedule;

/// Why a text is no schedule.
#[derive(Debug, thiserror::Error)]
#[error("This is not a schedule: {0}. An example is \"0 0 * * * *\", each hour.")]
pub struct ScheduleError(String);

/// Reads a cron expression: seconds, minutes, hours, days, months, days of the week, in UTC.
pub fn parse_schedule(text: &str) -> Result<Schedule, ScheduleError> {
    let refused = |error: cron::error::Error| {
        // some of its texts end with a full stop, which ours adds
        ScheduleError(error.to_string().trim_end_matches('.').to_owned())
    };
    text.parse().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_is_none_is_refused_with_an_example() {
        assert!(parse_schedule("0 0 * * * *").is_ok());
        let error = parse_schedule("hourly?").expect_err("no schedule").to_string();
        assert!(error.contains("0 0 * * * *") && !error.contains(".."), "{error}");
    }
}
