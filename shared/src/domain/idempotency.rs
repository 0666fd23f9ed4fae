//! Requests that a client may send again.

use super::ValidationError;

/// Names one effect that a client wants to have once
/// (draft-ietf-httpapi-idempotency-key-header-06, section 2.1): 1 to 255 printable ASCII
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);
text!(IdempotencyKey);

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_CHARS: usize = 255;
}

impl TryFrom<&str> for IdempotencyKey {
    type Error = ValidationError;

    /// The draft wants a string in quotes; many clients leave them out.
    fn try_from(text: &str) -> Result<Self, ValidationError> {
        let text = text.trim();
        let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let key = quoted.unwrap_or(text);
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
        if (1..=Self::MAX_CHARS).contains(&key.len()) && key.bytes().all(is_plain) {
            return Ok(Self(key.to_owned()));
        }
        let rule = format!(
            "A key has 1 to {} printable ASCII characters without quotes and backslashes.",
            Self::MAX_CHARS
        );
        Err(ValidationError::new("Idempotency-Key", rule))
    }
}

/// What a request asked for, by its SHA-256, so that a key is not used for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_stand_in_quotes() {
        let key = |text: &str| IdempotencyKey::try_from(text).ok().map(String::from);
        assert_eq!(key("\"8e03978e\""), Some("8e03978e".to_owned()));
        assert_eq!(key(" 8e03978e "), key("\"8e03978e\""));
        for text in ["", "\"\"", "\"", "a\"b", "a\\b", "ż", &"x".repeat(256)] {
            assert_eq!(key(text), None, "{text}");
        }
    }
}
