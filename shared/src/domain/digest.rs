use std::fmt;

/// The SHA-256 of a file (FIPS 180-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigest(pub [u8; 32]);

impl FileDigest {
    /// Reads 64 hexadecimal digits; none for other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// As 64 hexadecimal digits.
impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_as_it_was_written() {
        let digest = FileDigest(std::array::from_fn(|at| u8::try_from(at * 8).unwrap_or(0)));
        let text = digest.to_string();
        assert_eq!(FileDigest::parse(&text), Some(digest));
        for other in ["", "-", &text[1..], &format!("x{}", &text[1..]), &"ä".repeat(32)] {
            assert_eq!(FileDigest::parse(other), None, "{other}");
        }
    }
}
