//! Errors as RFC 9457 problem details, each with a stable code. A handler returns a [`Problem`];
//! the layer in [`crate::problem_responses`] turns it into the response, as only that knows the
//! request's id.

mod code;
mod rate_limit;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    io::{self, ErrorKind},
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use imaging::InspectError;
use serde::{Deserialize, Serialize};
use shared::{
    domain::{AccessDenied, Scope, ValidationError},
    passwords::HashError,
    postgres,
    services::{RateLimit, ServiceError},
    storage::StorageError,
};
use utoipa::ToSchema;

pub(crate) use rate_limit::RateLimitFields;

pub use code::ProblemCode;
pub(crate) use code::{BODY_CODES, IDEMPOTENCY_CODES, UPLOAD_CODES, problems};

/// Names the body as a whole, where no field can be blamed.
pub(crate) const BODY: &str = "body";

/// Marks a failed request's response that is complete as it is: a form that is shown again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rendered;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) detail: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: ProblemCode,
    /// This occurrence in words for a person.
    pub(crate) detail: String,
    pub(crate) fields: Vec<FieldError>,
    /// Seconds until trying again makes sense.
    pub(crate) retry_after: Option<i64>,
    pub(crate) limit: Option<RateLimit>,
    /// The scope that the request's token lacks.
    scope: Option<Scope>,
}

impl Problem {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail, fields: Vec::new(), retry_after: None, limit: None, scope: None }
    }

    pub(crate) fn insufficient_scope(scope: Scope) -> Self {
        let detail = format!("The token does not have the scope {scope}. Create one that has it.");
        Self { scope: Some(scope), ..Self::new(ProblemCode::InsufficientScope, detail) }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("There is no such {what}."))
    }

    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), detail: detail.into() }])
    }

    /// Several fields of one request break rules.
    pub(crate) fn fields(fields: Vec<FieldError>) -> Self {
        let details: Vec<_> =
            fields.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        Self { fields, ..Self::new(ProblemCode::InvalidField, details.join("; ")) }
    }

    /// What is wrong by field, as the source system's clients read it. Problems of an upload are
    /// about its file.
    pub(crate) fn by_field(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_field = BTreeMap::<String, Vec<String>>::new();
        for error in &self.fields {
            let field = if error.field == BODY { "non_field_errors" } else { &error.field };
            by_field.entry(field.to_owned()).or_default().push(error.detail.clone());
        }
        if self.code.is_about_a_file() {
            by_field.insert("file".to_owned(), vec![self.detail.clone()]);
        }
        by_field
    }

    /// How a client can prove who it is (RFC 6750 section 3).
    fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match (self.code, self.scope) {
            (ProblemCode::InvalidToken, _) => "Bearer realm=\"Pictier\", error=\"invalid_token\"",
            (_, Some(scope)) => {
                let error = "Bearer realm=\"Pictier\", error=\"insufficient_scope\"";
                return HeaderValue::try_from(format!("{error}, scope=\"{scope}\"")).ok();
            }
            (code, None) if code.status() == StatusCode::UNAUTHORIZED => "Bearer realm=\"Pictier\"",
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }

    fn limited(self, limit: RateLimit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(crate) fn retry_after(self, seconds: i64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    /// A failure of ours: the log has its cause, the client a request id to quote.
    pub(crate) fn internal(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(cause = %Chain(cause), "request failed");
        Self::new(ProblemCode::Internal, "The server's log has the cause under this request id.")
    }

    /// What is needed does not answer now, and may soon.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::Unavailable, detail).retry_after(UNAVAILABLE_SECONDS)
    }

    /// The storage or the local disk failed: a full one is told apart.
    fn storage_failed(cause: &(dyn Error + 'static)) -> Self {
        if !is_full(cause) {
            return Self::unavailable_because(cause);
        }
        tracing::warn!(cause = %Chain(cause), "the disk is full");
        Self::new(ProblemCode::StorageFull, "The disk of the service is full. Try again later.")
            .retry_after(FULL_SECONDS)
    }

    fn unavailable_because(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(cause = %Chain(cause), "not available");
        Self::unavailable("The database or the storage does not answer. Try again soon.")
    }
}

/// When a client may try again what was not available, in seconds.
const UNAVAILABLE_SECONDS: i64 = 5;

/// When a client may ask again for the outcome of a request that is under way, in seconds.
const UNDER_WAY_SECONDS: i64 = 1;

/// When a client may request a thumbnail again while too many wait, in seconds.
const BACKLOG_SECONDS: i64 = 30;

/// When a client may try again what a full disk did not take, in seconds.
const FULL_SECONDS: i64 = 60;

/// Whether a full disk, or a file system's quota, is among the causes.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = cause.source();
    }
    false
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        let limit = self.limit.map(RateLimitFields);
        response.extensions_mut().insert(self);
        (limit, response).into_response()
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if let Some(explanation) = postgres::explain(&error) {
            tracing::error!("{explanation}");
        }
        if postgres::is_unavailable(&error) {
            Self::unavailable_because(&error)
        } else {
            Self::internal(&error)
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::storage_failed(&error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::storage_failed(&error)
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        let code = match error {
            ServiceError::ValidationError(invalid) => return invalid.into(),
            ServiceError::NotFound(what) => return Self::not_found(what),
            ServiceError::AccessDenied(denied) => return denied.into(),
            ServiceError::Inspect(error) => return error.into(),
            ServiceError::Storage(error) => return error.into(),
            ServiceError::Io(error) => return error.into(),
            ServiceError::Database(error) => return error.into(),
            ServiceError::Hash(HashError::Busy) => return Self::unavailable(detail),
            ServiceError::Hash(error) => return Self::internal(&error),
            ServiceError::Panicked(error) => return Self::internal(&error),
            ServiceError::TooManyLogins { limit } => {
                let problem = Self::new(ProblemCode::TooManyLogins, detail);
                return problem.retry_after(limit.reset_seconds).limited(limit);
            }
            ServiceError::TooManyUploads { limit } => {
                let problem = Self::new(ProblemCode::TooManyUploads, detail);
                return problem.retry_after(limit.reset_seconds).limited(limit);
            }
            ServiceError::WrongCredentials { limit } => {
                return Self::new(ProblemCode::WrongCredentials, detail).limited(limit);
            }
            ServiceError::Backlog => {
                return Self::new(ProblemCode::Backlog, detail).retry_after(BACKLOG_SECONDS);
            }
            ServiceError::QueueFull => {
                return Self::new(ProblemCode::QueueFull, detail).retry_after(BACKLOG_SECONDS);
            }
            ServiceError::TooManyLinks { .. } => ProblemCode::TooManyLinks,
            ServiceError::RequestUnderWay => {
                let problem = Self::new(ProblemCode::RequestUnderWay, detail);
                return problem.retry_after(UNDER_WAY_SECONDS);
            }
            ServiceError::KeyReused => ProblemCode::KeyReused,
            ServiceError::NotAsExpected => ProblemCode::PreconditionFailed,
            ServiceError::CursorExpired => ProblemCode::CursorExpired,
            ServiceError::TooManyTokens { .. } => ProblemCode::TooManyTokens,
            ServiceError::NotFailed { .. } => ProblemCode::NotFailed,
            ServiceError::TierInUse(_) => ProblemCode::TierInUse,
            ServiceError::AccountClosed => ProblemCode::AccountClosed,
            ServiceError::LastAdministrator => ProblemCode::LastAdministrator,
            ServiceError::TierFile(_) => ProblemCode::InvalidField,
            ServiceError::OverQuota { .. } => ProblemCode::OverQuota,
            ServiceError::UploadExpired => ProblemCode::RequestTimeout,
        };
        Self::new(code, detail)
    }
}

impl From<tower_sessions::session::Error> for Problem {
    fn from(error: tower_sessions::session::Error) -> Self {
        Self::unavailable_because(&error)
    }
}

impl From<ValidationError> for Problem {
    fn from(invalid: ValidationError) -> Self {
        Self::field(invalid.field, invalid.message)
    }
}

impl From<AccessDenied> for Problem {
    fn from(denied: AccessDenied) -> Self {
        let code = match denied {
            AccessDenied::Original => ProblemCode::OriginalNotInTier,
            AccessDenied::Height(_) => ProblemCode::HeightNotInTier,
            AccessDenied::ExpiringLinks => ProblemCode::LinksNotInTier,
        };
        Self::new(code, denied.to_string())
    }
}

impl From<InspectError> for Problem {
    fn from(error: InspectError) -> Self {
        let code = match error {
            InspectError::Io(error) => return error.into(),
            InspectError::Empty => ProblemCode::EmptyFile,
            InspectError::NotAnImage => ProblemCode::NotAnImage,
            InspectError::Unsupported { .. } => ProblemCode::UnsupportedImage,
            InspectError::Truncated | InspectError::NoEnd => ProblemCode::TruncatedImage,
            InspectError::Corrupt { .. } => ProblemCode::CorruptImage,
            InspectError::TooManyPixels { .. } => ProblemCode::TooManyPixels,
            InspectError::SideTooLong { .. } => ProblemCode::SideTooLong,
            InspectError::TooManyScans { .. } => ProblemCode::TooManyScans,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_among_the_causes() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        assert_eq!(Problem::from(full()).code, ProblemCode::StorageFull);
        assert_eq!(Problem::from(StorageError::Io(full())).code, ProblemCode::StorageFull);
        let broken = Problem::from(io::Error::other("the disk is broken"));
        assert_eq!(
            (broken.code, broken.retry_after),
            (ProblemCode::Unavailable, Some(UNAVAILABLE_SECONDS))
        );
    }

    #[test]
    fn codes_are_distinct_kebab_case_and_say_an_error() {
        let mut seen = std::collections::HashSet::new();
        for code in ProblemCode::ALL {
            let text = code.as_str();
            assert!(text.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{text}");
            assert!(seen.insert(text), "{text} twice");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{text}");
        }
    }
}
