//! Numbers of bytes, as limits and quotas have them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ValidationError;

/// A number of bytes from 1 to 2^63 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct ByteCount(i64);

impl ByteCount {
    /// As the database counts them.
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// As streams count them.
    pub fn as_u64(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl TryFrom<i64> for ByteCount {
    type Error = ValidationError;

    fn try_from(bytes: i64) -> Result<Self, ValidationError> {
        if bytes < 1 {
            return Err(ValidationError::new(
                "bytes",
                format!("a number of bytes is at least 1, not {bytes}"),
            ));
        }
        Ok(Self(bytes))
    }
}

/// A number of bytes with at most three digits: `3.9 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    if unit == 0 || tenths >= 100 {
        return format!("{} {}", (tenths + 5) / 10, UNITS[unit]);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Factors of the units that a number of bytes may have, the larger first (IEC 80000-13 and SI).
const UNITS: [(&str, i64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];

impl FromStr for ByteCount {
    type Err = ValidationError;

    /// A whole number of bytes, or of a unit: `20 MiB`, `1 GB`.
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let text = text.trim();
        let with_unit = UNITS.iter().find_map(|(unit, factor)| {
            let (number, end) = text.split_at_checked(text.len().checked_sub(unit.len())?)?;
            end.eq_ignore_ascii_case(unit).then_some((number, *factor))
        });
        let (number, factor) = with_unit.unwrap_or((text.trim_end_matches(['B', 'b']), 1));
        let number = number.trim().parse::<i64>().map_err(|_| {
            ValidationError::new(
                "bytes",
                format!("{text:?} is not a whole number of bytes, KiB, MiB, GiB or TiB"),
            )
        })?;
        let bytes = number.checked_mul(factor).ok_or_else(|| {
            ValidationError::new("bytes", format!("{text:?} is more than {} bytes", i64::MAX))
        })?;
        Self::try_from(bytes)
    }
}

impl fmt::Display for ByteCount {
    /// In the largest binary unit in which it is a whole number, so that it reads back as it was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(unit, _)| unit.len() == 3);
        let whole = binary.clone().find(|(_, factor)| self.0 % factor == 0);
        match whole {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl From<ByteCount> for i64 {
    fn from(bytes: ByteCount) -> i64 {
        bytes.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_bytes_has_a_unit_and_reads_back_as_it_was() {
        for (text, bytes) in
            [("1", 1), ("20 MiB", 20 << 20), ("5mb", 5_000_000), ("3 GiB", 3 << 30), ("7 B", 7)]
        {
            let count: ByteCount = text.parse().expect(text);
            assert_eq!(count.as_i64(), bytes, "{text}");
            assert_eq!(count.to_string().parse(), Ok(count), "{text}");
        }
        for text in ["", "0", "-1", "1.5 MiB", "many", "9999999999 TiB", "é", "1\u{212A}B"] {
            assert!(text.parse::<ByteCount>().is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_have_three_digits_at_most_and_a_unit() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (4_055_536, "3.9 MiB"),
            (20 << 20, "20 MiB"),
        ];
        for (count, text) in cases {
            assert_eq!(human_bytes(count), text);
        }
        assert_eq!(human_bytes(u64::MAX), "16777216 TiB");
    }
}
