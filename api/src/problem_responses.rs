//! The layer that gives every failed request a problem+json body with its request id, whoever
//! refused it: a handler, the router, or a layer on the way.

use std::{any::Any, collections::BTreeMap};

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header, response::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tower_http::request_id::RequestId;
use utoipa::ToSchema;

use crate::{
    error::{FieldError, Problem, ProblemCode, Rendered},
    pages,
};

/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// Identifies the kind of problem: `urn:pictier:problem:` and the code.
    #[schema(example = "urn:pictier:problem:not-found")]
    r#type: String,
    /// What the code means.
    title: &'static str,
    /// The response's status.
    #[schema(example = 404)]
    status: u16,
    /// This occurrence in words for a person.
    detail: String,
    /// Stable; for programs.
    code: ProblemCode,
    /// What to quote when asking about this response.
    request_id: String,
    /// The fields that break rules, for `invalid-field`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The same once more under each field's own name, as the source system had it; `file` for a
    /// file that is refused.
    #[serde(flatten)]
    by_field: BTreeMap<String, Vec<String>>,
}

/// Members of a problem, which a field of the same name does not replace.
const MEMBERS: [&str; 7] = ["type", "title", "status", "detail", "code", "request_id", "errors"];

pub(crate) async fn render(request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let reader = Reader::of(&request);
    let response = next.run(request).await;
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    if !is_failure || response.extensions().get::<Rendered>().is_some() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let problem = parts.extensions.remove::<Problem>().unwrap_or_else(|| of_status(status));
    parts.headers.remove(header::CONTENT_LENGTH);
    let request_id =
        request_id.as_ref().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    match reader {
        Reader::Program => json(parts, problem, request_id),
        Reader::Person { return_to } => {
            pages::problem::respond(parts, &problem, request_id, return_to.as_deref())
        }
    }
}

/// Who reads the answer.
enum Reader {
    Program,
    /// Somebody in front of a browser, who followed a link to this path and query or, where there
    /// is none, sent a form.
    Person {
        return_to: Option<String>,
    },
}

impl Reader {
    /// Browsers say that they want HTML when a page is to be shown, and only then.
    fn of(request: &Request) -> Self {
        let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let is_api = request.uri().path().starts_with("/api/");
        if is_api || !accepted.is_some_and(|accepted| accepted.contains("text/html")) {
            return Self::Program;
        }
        let path = request.uri().path_and_query().map(ToString::to_string);
        Self::Person { return_to: path.filter(|_| request.method() == Method::GET) }
    }
}

fn json(mut parts: Parts, problem: Problem, request_id: &str) -> Response {
    let mut by_field = problem.by_field();
    by_field.retain(|field, _| !MEMBERS.contains(&field.as_str()));
    let body = ProblemBody {
        r#type: format!("urn:pictier:problem:{}", problem.code.as_str()),
        title: problem.code.title(),
        status: problem.code.status().as_u16(),
        detail: problem.detail,
        code: problem.code,
        request_id: request_id.to_owned(),
        errors: problem.fields,
        by_field,
    };
    let (rendered, body) = Json(body).into_response().into_parts();
    parts.status = problem.code.status();
    parts.headers.extend(rendered.headers);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(parts, body)
}

/// The problem of a response that no handler of ours made.
fn of_status(status: StatusCode) -> Problem {
    let code = match status {
        StatusCode::NOT_FOUND => return Problem::not_found("page"),
        StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
        StatusCode::FORBIDDEN => ProblemCode::CrossSiteRequest,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::TooLarge,
        StatusCode::REQUEST_TIMEOUT => ProblemCode::RequestTimeout,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedMediaType,
        status if status.is_client_error() => ProblemCode::MalformedRequest,
        _ => ProblemCode::Internal,
    };
    Problem::new(code, code.title())
}

/// The answer to a request whose handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer asks for")]
pub(crate) fn of_panic(panic: Box<dyn Any + Send>) -> Response<Body> {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = said, "request panicked");
    Problem::new(ProblemCode::Internal, "The server's log has the cause under this request id.")
        .into_response()
}
