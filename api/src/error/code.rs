//! The codes of problems, which clients may rely on.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// The codes of an operation that reads a body of JSON or a form.
pub(crate) const BODY_CODES: &[ProblemCode] = &[
    ProblemCode::MalformedJson,
    ProblemCode::MalformedMultipart,
    ProblemCode::UnsupportedMediaType,
    ProblemCode::TooLarge,
    ProblemCode::RequestTimeout,
    ProblemCode::MalformedRequest,
    ProblemCode::InvalidField,
];

/// The codes of an upload.
pub(crate) const UPLOAD_CODES: &[ProblemCode] = &[
    ProblemCode::DigestMismatch,
    ProblemCode::MalformedRequest,
    ProblemCode::TooManyUploads,
    ProblemCode::UnsupportedMediaType,
    ProblemCode::MalformedMultipart,
    ProblemCode::TooLarge,
    ProblemCode::RequestTimeout,
    ProblemCode::MissingFile,
    ProblemCode::SeveralFiles,
    ProblemCode::InvalidField,
    ProblemCode::EmptyFile,
    ProblemCode::NotAnImage,
    ProblemCode::UnsupportedImage,
    ProblemCode::TruncatedImage,
    ProblemCode::CorruptImage,
    ProblemCode::TooManyPixels,
    ProblemCode::SideTooLong,
    ProblemCode::TooManyScans,
    ProblemCode::AccountClosed,
    ProblemCode::OverQuota,
    ProblemCode::StorageFull,
];

/// The codes of an operation that takes an idempotency key.
pub(crate) const IDEMPOTENCY_CODES: &[ProblemCode] =
    &[ProblemCode::RequestUnderWay, ProblemCode::KeyReused, ProblemCode::InvalidField];

/// All codes of these groups, for an operation's description.
pub(crate) fn problems(groups: &[&[ProblemCode]]) -> Vec<ProblemCode> {
    groups.concat()
}

macro_rules! codes {
    ($($variant:ident $status:ident $text:literal $title:literal,)*) => {
        /// Every way in which a request can fail, as clients see it; a code never changes its
        /// meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemCode {
            $(#[doc = $title] #[serde(rename = $text)] $variant,)*
        }

        impl ProblemCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it stands in the response's body.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The response's status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// What the code means, in a line that is the same for each occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    MalformedRequest BAD_REQUEST "malformed-request" "Malformed request",
    MalformedJson BAD_REQUEST "malformed-json" "The body is not valid JSON",
    MalformedMultipart BAD_REQUEST "malformed-multipart" "The body is not a complete multipart form",
    DigestMismatch BAD_REQUEST "digest-mismatch" "The body does not have the digest that was announced",
    NotLoggedIn UNAUTHORIZED "not-logged-in" "Login required",
    InvalidToken UNAUTHORIZED "invalid-token" "The token cannot be used",
    WrongCredentials UNAUTHORIZED "wrong-credentials" "Wrong username or password",
    CrossSiteRequest FORBIDDEN "cross-site-request" "Cross-site request refused",
    InsufficientScope FORBIDDEN "insufficient-scope" "The token's scopes do not include this",
    SessionRequired FORBIDDEN "session-required" "A token cannot do this",
    AdministratorsOnly FORBIDDEN "administrators-only" "Administrators only",
    OriginalNotInTier FORBIDDEN "original-not-in-tier" "The tier does not include original files",
    HeightNotInTier FORBIDDEN "height-not-in-tier" "The tier does not include thumbnails of this height",
    LinksNotInTier FORBIDDEN "expiring-links-not-in-tier" "The tier does not include expiring links",
    NotFound NOT_FOUND "not-found" "Not found",
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "Method not allowed",
    RequestTimeout REQUEST_TIMEOUT "request-timeout" "Request timeout",
    NotFailed CONFLICT "thumbnail-not-failed" "The thumbnail has not failed",
    TierInUse CONFLICT "tier-in-use" "The tier is in use",
    AccountClosed CONFLICT "account-closed" "The account is being deleted",
    LastAdministrator CONFLICT "last-administrator" "No active administrator would be left",
    TooManyLinks CONFLICT "too-many-expiring-links" "The image has too many live links",
    RequestUnderWay CONFLICT "request-under-way" "A request with this idempotency key is under way",
    CursorExpired GONE "cursor-expired" "The changes after the cursor are no longer kept",
    TooManyTokens CONFLICT "too-many-tokens" "The account has too many tokens",
    PreconditionFailed PRECONDITION_FAILED "precondition-failed" "The image was changed meanwhile",
    TooLarge PAYLOAD_TOO_LARGE "too-large" "The body is too large",
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "Unsupported media type",
    NotAnImage UNSUPPORTED_MEDIA_TYPE "not-an-image" "The file is neither PNG nor JPEG",
    UnsupportedImage UNSUPPORTED_MEDIA_TYPE "unsupported-image" "Unsupported kind of image",
    RangeNotSatisfiable RANGE_NOT_SATISFIABLE "range-not-satisfiable" "Range not satisfiable",
    KeyReused UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key was used for another request",
    InvalidField UNPROCESSABLE_ENTITY "invalid-field" "Invalid field",
    MissingFile UNPROCESSABLE_ENTITY "missing-file" "The form has no file",
    SeveralFiles UNPROCESSABLE_ENTITY "several-files" "The form has more than one file",
    EmptyFile UNPROCESSABLE_ENTITY "empty-file" "The file is empty",
    TruncatedImage UNPROCESSABLE_ENTITY "truncated-image" "The image is truncated",
    CorruptImage UNPROCESSABLE_ENTITY "corrupt-image" "The image is damaged",
    TooManyPixels UNPROCESSABLE_ENTITY "too-many-pixels" "The image has too many pixels",
    SideTooLong UNPROCESSABLE_ENTITY "side-too-long" "A side of the image is too long",
    TooManyScans UNPROCESSABLE_ENTITY "too-many-scans" "The progressive image has too many scans",
    ThumbnailFailed UNPROCESSABLE_ENTITY "thumbnail-failed" "The thumbnail could not be made",
    TooManyLogins TOO_MANY_REQUESTS "too-many-logins" "Too many failed logins",
    TooManyUploads TOO_MANY_REQUESTS "too-many-uploads" "Too many uploads within a minute",
    Internal INTERNAL_SERVER_ERROR "internal-error" "Internal server error",
    Unavailable SERVICE_UNAVAILABLE "unavailable" "Service unavailable",
    Backlog SERVICE_UNAVAILABLE "backlog" "The account's thumbnails are behind",
    QueueFull SERVICE_UNAVAILABLE "queue-full" "Too many thumbnails are waiting",
    UnknownHost MISDIRECTED_REQUEST "unknown-host" "Unknown host name",
    OverQuota INSUFFICIENT_STORAGE "over-quota" "The account's storage is full",
    StorageFull INSUFFICIENT_STORAGE "storage-full" "The disk of the service is full",
}

impl ProblemCode {
    /// Whether the code says what is wrong with an uploaded file.
    pub(super) fn is_about_a_file(self) -> bool {
        matches!(
            self,
            Self::MissingFile
                | Self::SeveralFiles
                | Self::EmptyFile
                | Self::NotAnImage
                | Self::UnsupportedImage
                | Self::TruncatedImage
                | Self::CorruptImage
                | Self::TooManyPixels
                | Self::SideTooLong
                | Self::TooManyScans
        )
    }
}

/// By hand, as the derived schema does not see the names that the macro above gives.
impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let names = Self::ALL.iter().map(|code| code.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for ProblemCode {}
