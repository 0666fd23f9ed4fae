use std::io;

use imaging::InspectError;
use tokio::task::JoinError;

use super::RateLimit;
use crate::{
    domain::{AccessDenied, ValidationError, byte_count::human_bytes},
    passwords::HashError,
    storage::StorageError,
};

/// A procedure failed and changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    ValidationError(#[from] ValidationError),
    /// There is no object of this kind with this name or id, or it is another account's.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// The owner's tier does not include this.
    #[error(transparent)]
    AccessDenied(#[from] AccessDenied),
    /// No active account has this username and password.
    #[error("No active account has this username and password.")]
    WrongCredentials {
        /// Of failed logins, this one included.
        limit: RateLimit,
    },
    #[error("Too many logins failed. Wait, or ask an administrator for a new password.")]
    TooManyLogins { limit: RateLimit },
    #[error("An account can upload at most {} files per minute.", limit.quota)]
    TooManyUploads { limit: RateLimit },
    /// The image has as many live links as it may have.
    #[error("An image can have at most {max} live links. Revoke one first.")]
    TooManyLinks { max: i64 },
    /// Another request has the idempotency key.
    #[error(
        "A request with this idempotency key is under way. Wait for its answer, or send it again later."
    )]
    RequestUnderWay,
    /// The idempotency key belongs to a request that asked for something else.
    #[error("This idempotency key was used for another request. Use a new key for each effect.")]
    KeyReused,
    /// The image was changed since the client read it.
    #[error("The image was changed meanwhile. Read it again, and then decide.")]
    NotAsExpected,
    /// A place in an account's changes whose next change is no longer kept.
    #[error(
        "The cursor is older than 7 days, or of another database. Request the changes without a cursor, which \
             answers with a new one, and then list the images once."
    )]
    CursorExpired,
    /// The account has as many tokens as it may have.
    #[error("An account can have at most {max} tokens. Revoke one first.")]
    TooManyTokens { max: i64 },
    /// A thumbnail of the same account has waited for too long.
    #[error(
        "The account's thumbnails are made more slowly than they are requested. Try again later."
    )]
    Backlog,
    /// Too many thumbnails wait, of all accounts together.
    #[error("Too many thumbnails are waiting to be made. Try again later.")]
    QueueFull,
    /// Only a failed thumbnail can be retried.
    #[error("The thumbnail is {state}. Only a failed one can be retried.")]
    NotFailed { state: &'static str },
    /// The tier cannot be deleted; the text says why.
    #[error("{0}")]
    TierInUse(&'static str),
    /// The account was closed, and a job is deleting it.
    #[error("This account is being deleted.")]
    AccountClosed,
    /// Somebody has to be left who can log in to the panel.
    #[error("No active administrator would be left. Create another one first.")]
    LastAdministrator,
    /// A file of tiers contradicts itself or the tiers that exist.
    #[error("{0}")]
    TierFile(String),
    /// The file does not fit into the account's quota.
    #[error("The account uses {} of {}. Delete images or ask for another tier.", human_bytes(*used_bytes), human_bytes(*quota_bytes))]
    OverQuota { used_bytes: u64, quota_bytes: u64 },
    /// The cleanup took a slow upload for an interrupted one.
    #[error("The upload took more than a day and was given up. Send the file again.")]
    UploadExpired,
    /// The file is not an image that can be stored.
    #[error(transparent)]
    Inspect(InspectError),
    /// A password was not hashed or checked.
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Panicked(#[from] JoinError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("disk: {0}")]
    Io(#[from] io::Error),
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<InspectError> for ServiceError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Io(error) => Self::Io(error),
            error => Self::Inspect(error),
        }
    }
}
