//! Extractors: what a handler gets is parsed, and what cannot be parsed is a problem with a stable
//! code.

mod body;
mod idempotency;
mod path;
mod query;
mod whole_number;

pub(crate) use body::{Body, Form};
pub(crate) use idempotency::{Idempotency, fingerprint};
pub(crate) use path::{
    AnyLinkPath, FilePath, ImagePath, LinkPath, Path, ThumbnailPath, TierPath, TokenPath, UserPath,
};
pub(crate) use query::{FormQuery, Query, deserialize_given_fields};
pub(crate) use whole_number::WholeNumber;
