//! The rules of the service as types: they parse at the edge, and every decision is made here.
//! Nothing in this folder reads, writes, waits or knows of HTTP or SQL.

/// What every text of the domain can do; each type checks for itself what it takes.
macro_rules! text {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

pub mod audit;
pub mod byte_count;
pub mod change;
pub mod digest;
pub mod idempotency;
pub mod ids;
pub mod image;
pub mod link;
pub mod thumbnail;
pub mod tier;
pub mod token;
pub mod user;

pub use audit::{Actor, AuditAction, AuditEntry, AuditKind, AuditObject};
pub use byte_count::ByteCount;
pub use change::{Change, ChangeKind, Cursor};
pub use digest::FileDigest;
pub use idempotency::{Fingerprint, IdempotencyKey};
pub use ids::{
    CredentialVersion, ImageId, LinkId, OriginalId, ThumbnailId, TierId, TokenId, UserId,
};
pub use image::{Image, Title};
pub use link::{ExpiringLink, LinkTarget, ValidFor};
pub use thumbnail::{Attempt, Thumbnail, ThumbnailState};
pub use tier::{AccessDenied, Height, HeightSet, Tier, TierName, TierSpec};
pub use token::{Scope, Scopes, Token, TokenLifetime, TokenName, TokenSecret};
pub use user::{Login, Password, PasswordHash, User, Username};

/// A value that breaks a rule of the domain: which field, and what the rule is, in words for a
/// person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ValidationError {
    /// The field's name as JSON and forms spell it.
    pub field: &'static str,
    /// The rule that the value breaks.
    pub message: String,
}

impl ValidationError {
    /// That `field` breaks this rule.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// A whole number as a person types it into a form, for the types that are made of one.
fn whole_number(field: &'static str, text: &str) -> Result<i64, ValidationError> {
    text.trim().parse().map_err(|_| {
        ValidationError::new(field, format!("{:?} is not a whole number.", text.trim()))
    })
}
