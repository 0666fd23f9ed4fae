//! API tokens: what they look like, and what they allow.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{TokenId, User, ValidationError, whole_number};

/// What a token allows. An account gains nothing from a scope of administrators unless it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    #[serde(rename = "images:read")]
    ImagesRead,
    #[serde(rename = "images:write")]
    ImagesWrite,
    #[serde(rename = "links:write")]
    LinksWrite,
    #[serde(rename = "admin:read")]
    AdminRead,
    #[serde(rename = "admin:write")]
    AdminWrite,
}

impl Scope {
    /// All scopes, those of administrators last.
    pub const ALL: [Self; 5] =
        [Self::ImagesRead, Self::ImagesWrite, Self::LinksWrite, Self::AdminRead, Self::AdminWrite];

    /// As it is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImagesRead => "images:read",
            Self::ImagesWrite => "images:write",
            Self::LinksWrite => "links:write",
            Self::AdminRead => "admin:read",
            Self::AdminWrite => "admin:write",
        }
    }

    /// What it allows, for a person.
    pub fn description(self) -> &'static str {
        match self {
            Self::ImagesRead => "View images, thumbnails and links, and follow changes",
            Self::ImagesWrite => "Upload, rename and delete images, and prepare thumbnails",
            Self::LinksWrite => "Create and revoke expiring links",
            Self::AdminRead => "View what administrators see",
            Self::AdminWrite => "Change what administrators can change",
        }
    }

    /// Whether only a token of an administrator can have it.
    pub fn is_for_administrators(self) -> bool {
        matches!(self, Self::AdminRead | Self::AdminWrite)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One or more scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<Scope>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// Refuses scopes that an account cannot use.
    pub fn check_owner(&self, user: &User) -> Result<(), ValidationError> {
        match self.iter().find(|scope| scope.is_for_administrators()) {
            Some(scope) if !user.is_admin => {
                let rule = format!("Only an administrator's token can have the scope {scope}.");
                Err(ValidationError::new("scopes", rule))
            }
            _ => Ok(()),
        }
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = ValidationError;

    fn try_from(texts: Vec<String>) -> Result<Self, ValidationError> {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        let parse = |text: &String| {
            let unknown = || format!("{text:?} is not a scope. Choose among {known}.");
            Scope::parse(text).ok_or_else(|| ValidationError::new("scopes", unknown()))
        };
        let scopes = texts.iter().map(parse).collect::<Result<BTreeSet<_>, _>>()?;
        if scopes.is_empty() {
            let rule = format!("Choose at least one scope among {known}.");
            return Err(ValidationError::new("scopes", rule));
        }
        Ok(Self(scopes))
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.iter().collect()
    }
}

/// What its owner calls a token: 1 to 100 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);
text!(TokenName);

impl TokenName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 100;
}

impl TryFrom<String> for TokenName {
    type Error = ValidationError;

    fn try_from(name: String) -> Result<Self, ValidationError> {
        let trimmed = name.trim();
        let length = trimmed.chars().count();
        if !(1..=Self::MAX_CHARS).contains(&length) || trimmed.chars().any(char::is_control) {
            let max = Self::MAX_CHARS;
            let rule = format!("A name has 1 to {max} characters and no control characters.");
            return Err(ValidationError::new("name", rule));
        }
        Ok(Self(trimmed.to_owned()))
    }
}

/// How long a new token can be used, in days: 1 to 3650.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLifetime(i64);

impl TokenLifetime {
    /// The longest lifetime of a token that expires, in days.
    pub const MAX_DAYS: i64 = 3650;

    /// When a token that is created now expires.
    pub fn expiry(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::days(self.0)
    }

    /// As a person types it.
    pub fn parse(text: &str) -> Result<Self, ValidationError> {
        whole_number("expires_in_days", text)?.try_into()
    }
}

impl TryFrom<i64> for TokenLifetime {
    type Error = ValidationError;

    fn try_from(days: i64) -> Result<Self, ValidationError> {
        if (1..=Self::MAX_DAYS).contains(&days) {
            return Ok(Self(days));
        }
        let rule = format!("A token can be used for 1 to {} days, or for ever.", Self::MAX_DAYS);
        Err(ValidationError::new("expires_in_days", rule))
    }
}

/// A token in the clear, which is shown once and never logged: `pic_`, 30 random letters and
/// digits (178 bits), and their CRC-32 as 6 digits to base 62, so that scanners for leaked secrets
/// recognize one without asking.
#[derive(Clone)]
pub struct TokenSecret(String);

impl TokenSecret {
    pub const PREFIX: &str = "pic_";
    const RANDOM_CHARS: usize = 30;
    const CHECKSUM_CHARS: usize = 6;
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    pub fn random() -> Self {
        let random = Alphanumeric.sample_string(&mut rand::rng(), Self::RANDOM_CHARS);
        let checksum = Self::checksum(&random);
        Self(format!("{}{random}{checksum}", Self::PREFIX))
    }

    /// The token that a client sent, if it can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(Self::PREFIX)?;
        let is_plausible = rest.len() == Self::RANDOM_CHARS + Self::CHECKSUM_CHARS
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (random, checksum) = rest.split_at_checked(Self::RANDOM_CHARS)?;
        (is_plausible && checksum == Self::checksum(random)).then(|| Self(text.to_owned()))
    }

    fn checksum(random: &str) -> String {
        let mut rest = crc32fast::hash(random.as_bytes()) as usize;
        let mut digits = [b'0'; Self::CHECKSUM_CHARS];
        for digit in digits.iter_mut().rev() {
            *digit = Self::DIGITS[rest % Self::DIGITS.len()];
            rest /= Self::DIGITS.len();
        }
        digits.iter().copied().map(char::from).collect()
    }

    /// What is kept of the token. It is too random to be guessed from its SHA-256, unlike a
    /// password.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The text that a client sends.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// A token as it is kept.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: TokenId,
    pub name: TokenName,
    pub scopes: Scopes,
    pub created_at: DateTime<Utc>,
    /// It is refused from then on; none: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Token {
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_form_that_scanners_know() {
        let token = TokenSecret::random();
        let text = token.reveal();
        assert_eq!(text.len(), 40);
        assert!(text.starts_with("pic_"), "{text}");
        assert!(TokenSecret::parse(text).is_some());
        assert_ne!(text, TokenSecret::random().reveal());
        // by zlib's CRC-32
        assert_eq!(TokenSecret::checksum(&"0".repeat(30)), "2C8GjS");
    }

    #[test]
    fn a_mistyped_token_is_none() {
        let token = TokenSecret::random();
        let text = token.reveal();
        for index in 4..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[index] = if other[index] == b'a' { b'b' } else { b'a' };
            let other = String::from_utf8(other).expect("ASCII");
            assert!(TokenSecret::parse(&other).is_none(), "{index}");
        }
        for cut in [&text[1..], &text[..39], "", "pic_", "pic_ł"] {
            assert!(TokenSecret::parse(cut).is_none(), "{cut}");
        }
    }

    #[test]
    fn scopes_are_a_set_of_known_ones() {
        let scopes = |texts: &[&str]| {
            Scopes::try_from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let both = scopes(&["links:write", "images:read", "links:write"]).expect("two scopes");
        assert_eq!(both.iter().collect::<Vec<_>>(), [Scope::ImagesRead, Scope::LinksWrite]);
        assert!(scopes(&[]).is_err());
        let unknown = scopes(&["images:delete"]).expect_err("an unknown scope");
        assert_eq!(unknown.field, "scopes");
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_value(scope).expect("JSON"), scope.as_str());
        }
    }

    #[test]
    fn a_lifetime_is_a_number_of_days() {
        for days in ["1", "3650", " 30 "] {
            assert!(TokenLifetime::parse(days).is_ok(), "{days}");
        }
        for days in ["0", "-1", "3651", "soon", "9223372036854775807"] {
            assert!(TokenLifetime::parse(days).is_err(), "{days}");
        }
    }
}
