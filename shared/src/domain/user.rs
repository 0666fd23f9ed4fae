//! Accounts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CredentialVersion, Tier, UserId, ValidationError};

/// A login name: 1..=150 letters, digits and `@ . + - _`; compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);
text!(Username);

impl Username {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 150;
}

impl TryFrom<String> for Username {
    type Error = ValidationError;

    fn try_from(name: String) -> Result<Self, ValidationError> {
        let allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
        if !(1..=Self::MAX_CHARS).contains(&name.chars().count()) || !name.chars().all(allowed) {
            let rule = format!("A username has 1 to {} letters, digits or @.+-_.", Self::MAX_CHARS);
            return Err(ValidationError::new("username", rule));
        }
        Ok(Self(name))
    }
}

impl std::str::FromStr for Username {
    type Err = ValidationError;

    fn from_str(name: &str) -> Result<Self, ValidationError> {
        Self::try_from(name.to_owned())
    }
}

/// A password in the clear, on its way to be hashed; never logged.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// The shortest password that a person may choose, in characters.
    pub const MIN_CHARS: usize = 8;
    /// The longest password, in bytes: hashing takes time in proportion.
    pub const MAX_BYTES: usize = 1024;
    /// What the first superuser gets when nothing else is configured; the server warns while it is
    /// in use.
    pub const DEFAULT: &str = "admin";

    /// A password that somebody chooses for an account.
    pub fn chosen(text: String) -> Result<Self, ValidationError> {
        if text.chars().count() < Self::MIN_CHARS || text.len() > Self::MAX_BYTES {
            let rule = format!(
                "A password has at least {} characters and at most {} bytes.",
                Self::MIN_CHARS,
                Self::MAX_BYTES
            );
            return Err(ValidationError::new("password", rule));
        }
        Ok(Self(text))
    }

    /// The configured password of the first superuser, which may be [`Password::DEFAULT`].
    pub fn of_first_superuser(text: String) -> Result<Self, ValidationError> {
        if text == Self::DEFAULT { Ok(Self(text)) } else { Self::chosen(text) }
    }

    /// A password that somebody types to log in: any text short enough to be hashed.
    pub fn typed(text: String) -> Option<Self> {
        (text.len() <= Self::MAX_BYTES).then_some(Self(text))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether everybody knows it.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A hash of a password in PHC string format; never logged.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for PasswordHash {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A login whose password was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: UserId,
    /// Those that were right; the login ends when the account has others.
    pub credentials: CredentialVersion,
}

/// An account as it is kept, with its tier as it is at this moment.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub username: Username,
    pub tier: Tier,
    pub is_admin: bool,
    /// Bytes that its originals take.
    pub used_bytes: u64,
    /// Whether everybody knows its password.
    pub password_is_default: bool,
}

impl User {
    /// Bytes of the tier's quota that are left.
    pub fn bytes_left(&self) -> u64 {
        self.tier.spec.storage_quota_bytes.as_u64().saturating_sub(self.used_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_holds_letters_digits_and_five_signs() {
        for name in ["admin", "jan.kowalski+1@example.com", "Łukasz", "x"] {
            assert!(name.parse::<Username>().is_ok(), "{name}");
        }
        for name in ["", "a b", "a/b", "a\nb", "<script>", &"x".repeat(151)] {
            assert!(name.parse::<Username>().is_err(), "{name}");
        }
    }

    #[test]
    fn only_the_first_superuser_may_have_the_default_password() {
        assert!(Password::of_first_superuser("admin".to_owned()).is_ok_and(|p| p.is_default()));
        assert!(Password::of_first_superuser("short".to_owned()).is_err());
        assert!(Password::chosen("admin".to_owned()).is_err());
        assert!(Password::chosen("correct horse".to_owned()).is_ok_and(|p| !p.is_default()));
    }

    #[test]
    fn a_password_is_not_printed() {
        let password = Password::chosen("correct horse".to_owned()).expect("long enough");
        assert!(!format!("{password:?}").contains("horse"));
    }
}
