//! Entity tags of JSON (RFC 9110 section 8.8.3). With one, a client downloads only what has changed,
//! and does not overwrite a change that it has not seen.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use axum_extra::headers::{ETag, HeaderMapExt, IfMatch, IfNoneMatch};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Problem, ProblemCode};

/// Bytes of the SHA-256 in a tag.
const TAG_BYTES: usize = 16;

/// The value as JSON with its tag, or 304 if the client has it.
pub(crate) fn respond(request: &HeaderMap, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    let tag = tag_of(&body);
    let is_known = request
        .typed_get::<IfNoneMatch>()
        .is_some_and(|condition| !condition.precondition_passes(&tag));
    let mut headers = HeaderMap::new();
    headers.typed_insert(tag);
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, json, body).into_response())
}

/// What a change expects of the present value.
pub(crate) fn if_match(request: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    request.typed_try_get().map_err(|_| {
        let detail = "If-Match holds entity tags in quotes, as an answer's ETag has them.";
        Problem::new(ProblemCode::MalformedRequest, detail)
    })
}

/// Whether `If-Match` allows to change what is this value now (RFC 9110 section 13.1.1).
pub(crate) fn is_expected(condition: &IfMatch, value: &impl Serialize) -> bool {
    serde_json::to_vec(value).is_ok_and(|body| condition.precondition_passes(&tag_of(&body)))
}

fn tag_of(body: &[u8]) -> ETag {
    let digits = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(body)[..TAG_BYTES]);
    format!("\"{digits}\"").parse().expect("digits in quotes are an entity tag")
}
