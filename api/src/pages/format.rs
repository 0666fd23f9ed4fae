//! Figures and times as people read them. Templates hand over some of them by reference.

use std::borrow::Borrow;

use chrono::{DateTime, TimeDelta, Utc};
use shared::{db::admin::Count, domain::byte_count::human_bytes};

/// As [`human_bytes`].
pub(super) fn bytes(bytes: impl Borrow<u64>) -> String {
    human_bytes(*bytes.borrow())
}

/// To the minute, as the server counts: the page's script shows it in the reader's own time.
pub(super) fn time(at: impl Borrow<DateTime<Utc>>) -> String {
    at.borrow().format("%Y-%m-%d %H:%M UTC").to_string()
}

/// For the `datetime` of a `<time>` (RFC 3339).
pub(super) fn timestamp(at: impl Borrow<DateTime<Utc>>) -> String {
    at.borrow().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// A span of time in its two largest units: `7 h 59 min`.
pub(super) fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// As [`span`], in words and without units that are zero: `1 hour 30 minutes`.
pub(super) fn in_words(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0).unsigned_abs();
    let units = [(seconds / 3600, "hour"), (seconds / 60 % 60, "minute"), (seconds % 60, "second")];
    let words =
        units.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| plural(*count, unit));
    words.collect::<Vec<_>>().join(" ")
}

/// As [`span`], of seconds.
pub(super) fn seconds(seconds: impl Borrow<u64>) -> String {
    span(TimeDelta::seconds(i64::try_from(*seconds.borrow()).unwrap_or_default()))
}

/// As [`span`], from `now` to `then`.
pub(super) fn until(then: impl Borrow<DateTime<Utc>>, now: impl Borrow<DateTime<Utc>>) -> String {
    span(*then.borrow() - *now.borrow())
}

/// A number with its thousands apart: `1,000,000`.
pub(super) fn number(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of rows, and whether it is about that.
pub(super) fn count(count: impl Borrow<Count>) -> String {
    let Count { rows, is_estimate } = *count.borrow();
    let about = if is_estimate { "about " } else { "" };
    format!("{about}{}", number(rows))
}

/// A count and its noun: `1 image`, `2 images`.
pub(super) fn plural(count: impl Borrow<u64>, noun: &str) -> String {
    let count = *count.borrow();
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_words_has_no_units_that_are_zero() {
        for (seconds, words) in
            [(300, "5 minutes"), (3600, "1 hour"), (5401, "1 hour 30 minutes 1 second")]
        {
            assert_eq!(in_words(TimeDelta::seconds(seconds)), words);
        }
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        let of = |seconds| span(TimeDelta::seconds(seconds));
        assert_eq!([of(-5), of(59), of(60), of(299)], ["0 s", "59 s", "1 min 0 s", "4 min 59 s"]);
        assert_eq!([of(28_799), of(90_000)], ["7 h 59 min", "1 d 1 h"]);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [number(0), number(999), number(1000), number(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([plural(1, "image"), plural(2000, "image")], ["1 image", "2,000 images"]);
    }
}
