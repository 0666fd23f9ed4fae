//! One line of log for each request, when the last byte of its answer was handed over, and the
//! metrics of requests.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request},
    http::{HeaderName, Method, StatusCode},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use shared::{
    domain::UserId,
    jobs::with_request_id,
    metrics::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS},
};
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::handlers::health;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The status in logs and metrics of a request whose client closed the connection before the
/// answer; it is never sent.
const CLIENT_CLOSED: u16 = 499;
/// The route in metrics of a request that no route took.
const UNMATCHED: &str = "unmatched";

/// What inner layers and handlers learn about a request, for its line.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestFacts(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    route: OnceLock<MatchedPath>,
    user: OnceLock<UserId>,
}

impl RequestFacts {
    /// Notes who sent the request.
    pub(crate) fn set_user(&self, user: UserId) {
        // the same user, if a second extractor asks
        let _ = self.0.user.set(user);
    }

    fn route(&self) -> Option<&str> {
        self.0.route.get().map(MatchedPath::as_str)
    }
}

/// The layer inside of the router, where the route is known.
pub(crate) fn note_route(request: Request) -> Request {
    let extensions = request.extensions();
    if let (Some(RequestFacts(facts)), Some(route)) =
        (extensions.get::<RequestFacts>(), extensions.get::<MatchedPath>())
    {
        // a nested router does not change it
        let _ = facts.route.set(route.clone());
    }
    request
}

/// The layer around all others except the one that gives a request its id.
pub(crate) async fn log(mut request: Request, next: Next) -> Response {
    let facts = RequestFacts::default();
    request.extensions_mut().insert(facts.clone());
    let is_check = health::CHECKS.contains(&request.uri().path());
    let span = span(&request, is_check);
    let method = method(request.method());
    let mut line =
        Line { facts, method, is_check, started: Instant::now(), status: None, bytes: 0, span };
    let id = request_id(&request).and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
    let response = with_request_id(id, next.run(request)).instrument(line.span.clone()).await;
    line.answered(response.status());
    response.map(|body| Body::new(Logged { body, line }))
}

fn request_id(request: &Request) -> Option<&str> {
    request.headers().get(REQUEST_ID)?.to_str().ok()
}

/// Health checks come every few seconds, so theirs are only for debugging.
fn span(request: &Request, is_check: bool) -> Span {
    let id = request_id(request).unwrap_or_default();
    let (method, path) = (request.method(), request.uri().path());
    if is_check {
        tracing::debug_span!("request", %method, path, id)
    } else {
        tracing::info_span!("request", %method, path, id)
    }
}

/// Methods that have a name in metrics: a client may invent others.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A request's line, which is written when it is dropped.
#[derive(Debug)]
struct Line {
    facts: RequestFacts,
    method: &'static str,
    is_check: bool,
    started: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    span: Span,
}

impl Line {
    fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        let route = self.facts.route().unwrap_or(UNMATCHED);
        HTTP_REQUESTS.add([route, self.method, status.as_str()], 1);
        HTTP_REQUEST_SECONDS.record_since([route, self.method], self.started);
    }

    /// Whether the answer says that the service is at fault. The cause of a 503 or 507 is outside
    /// of it, and in the log already.
    fn is_fault(&self) -> bool {
        self.status.is_some_and(|status| {
            let is_expected = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::INSUFFICIENT_STORAGE];
            status.is_server_error() && !is_expected.contains(&status)
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.status.is_none() {
            let route = self.facts.route().unwrap_or(UNMATCHED);
            HTTP_REQUESTS.add([route, self.method, "499"], 1);
        }
        let (route, user) = (self.facts.route(), self.facts.0.user.get().map(|user| user.0));
        let (status, bytes) =
            (self.status.map_or(CLIENT_CLOSED, |status| status.as_u16()), self.bytes);
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| {
            if self.is_fault() {
                tracing::error!(user, route, status, bytes, ms, "finished processing request");
            } else if self.is_check {
                tracing::debug!(user, route, status, bytes, ms, "finished processing request");
            } else {
                tracing::info!(user, route, status, bytes, ms, "finished processing request");
            }
        });
    }
}

/// The body of an answer, which counts its bytes.
struct Logged {
    body: Body,
    line: Line,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, line } = self.get_mut();
        let polled = line.span.in_scope(|| Pin::new(body).poll_frame(cx));
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
