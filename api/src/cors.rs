//! What pages of other origins may read (Fetch standard, section 3.3). The API answers the
//! configured origins only, and never with credentials: such a page sends a token. Files are open
//! to any page, as their links are to anybody.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use shared::config::HttpConfig;
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::request_log::REQUEST_ID;

/// How long a browser may keep the answer to a preflight request; the longest that any takes.
const PREFLIGHT_AGE: Duration = Duration::from_hours(24);
const API: &str = "/api/";
const MEDIA: &str = "/user_content/";

/// What a page may read of an answer besides its status and body.
fn exposed() -> [HeaderName; 9] {
    [
        header::LOCATION,
        header::LINK,
        header::RETRY_AFTER,
        header::ETAG,
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        HeaderName::from_static("www-authenticate"),
        REQUEST_ID,
    ]
}

#[derive(Clone)]
pub(crate) struct Cors {
    /// None while no origin is configured.
    api: Option<CorsLayer>,
    media: CorsLayer,
}

impl Cors {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let origins = config.cors_origins.iter().flat_map(|origins| &origins.0);
        let origins: Vec<_> = origins
            .filter_map(|origin| HeaderValue::try_from(origin.browser_origin()).ok())
            .collect();
        let methods =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let of_api = CorsLayer::new()
            .allow_methods(methods)
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed())
            .max_age(PREFLIGHT_AGE);
        let of_media = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::GET, Method::HEAD])
            .allow_headers(Any)
            .expose_headers(Any)
            .max_age(PREFLIGHT_AGE)
            // the same for everybody, so that caches keep one answer
            .vary([]);
        Self { api: (!origins.is_empty()).then(|| of_api.allow_origin(origins)), media: of_media }
    }

    fn of_path(&self, path: &str) -> Option<&CorsLayer> {
        if path.starts_with(API) {
            self.api.as_ref()
        } else {
            path.starts_with(MEDIA).then_some(&self.media)
        }
    }
}

pub(crate) async fn apply(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    match cors.of_path(request.uri().path()) {
        Some(layer) => {
            layer.layer(next).oneshot(request).await.unwrap_or_else(|never| match never {})
        }
        None => next.run(request).await,
    }
}
