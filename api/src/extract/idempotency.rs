use axum::{
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};
use sha2::{Digest, Sha256};
use shared::domain::{Fingerprint, IdempotencyKey};

use crate::error::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of a request that a client may send again, if it has one.
pub(crate) struct Idempotency(pub(crate) Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        // a value that is not ASCII is refused as an empty key is
        Ok(Self(Some(IdempotencyKey::try_from(value.to_str().unwrap_or_default())?)))
    }
}

/// The fingerprint of what a request asks for: the operation, and each part of its input.
pub(crate) fn fingerprint(operation: &str, parts: &[&[u8]]) -> Fingerprint {
    let mut hasher = Sha256::new_with_prefix(operation);
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Fingerprint(hasher.finalize().into())
}
