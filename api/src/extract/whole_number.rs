//! Whole numbers in bodies.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// A whole number as clients of the source system send it: a JSON number without a fraction, or
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholeNumber(pub(crate) i64);

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeNumberVisitor)
    }
}

struct WholeNumberVisitor;

/// Floating-point numbers from here on are not exact.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

impl Visitor<'_> for WholeNumberVisitor {
    type Value = WholeNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<WholeNumber, E> {
        Ok(WholeNumber(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<WholeNumber, E> {
        let in_range = i64::try_from(number).map(WholeNumber);
        in_range.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<WholeNumber, E> {
        let refused = || E::invalid_value(Unexpected::Float(number), &self);
        if number.abs() >= EXACT_BELOW {
            return Err(refused());
        }
        // printed without a fraction exactly where it has none
        number.to_string().parse().map(WholeNumber).map_err(|_| refused())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<WholeNumber, E> {
        let number = text.trim().parse().map(WholeNumber);
        number.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_number_without_a_fraction_however_it_is_written() {
        for json in ["300", "300.0", "3e2", "\"300\"", "\" 300 \""] {
            assert_eq!(
                serde_json::from_str::<WholeNumber>(json).ok(),
                Some(WholeNumber(300)),
                "{json}"
            );
        }
        assert_eq!(serde_json::from_str::<WholeNumber>("-5").ok(), Some(WholeNumber(-5)));
    }

    #[test]
    fn refuses_anything_else() {
        for json in
            ["300.5", "1e300", "99999999999999999999", "null", "true", "[300]", "\"soon\"", "\"\""]
        {
            assert!(serde_json::from_str::<WholeNumber>(json).is_err(), "{json}");
        }
    }
}
