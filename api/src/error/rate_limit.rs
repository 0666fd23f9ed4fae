use std::convert::Infallible;

use axum::{
    http::{HeaderName, HeaderValue},
    response::{IntoResponseParts, ResponseParts},
};
use shared::services::RateLimit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The fields of a response that say what a client may still do
/// (draft-ietf-httpapi-ratelimit-headers-10, section 3 and 4).
pub(crate) struct RateLimitFields(pub(crate) RateLimit);

impl IntoResponseParts for RateLimitFields {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let RateLimit { policy, quota, window, remaining, reset_seconds } = self.0;
        let seconds = window.as_secs();
        for (name, value) in [
            (POLICY, format!("\"{policy}\";q={quota};w={seconds}")),
            (LIMIT, format!("\"{policy}\";r={remaining};t={reset_seconds}")),
        ] {
            let value = HeaderValue::from_str(&value).expect("names and digits are a header");
            parts.headers_mut().insert(name, value);
        }
        Ok(parts)
    }
}
