//! Protection against forged requests of other sites, which browsers send with the session's cookie.

use axum::{
    extract::Request,
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower::{Layer, ServiceExt};
use tower_http::csrf::CsrfLayer;

use super::bearer;

/// Refuses changes that another site's page asks for. A browser sends no token by itself, so a
/// request with one needs no check, and no cookie counts in it.
pub(crate) async fn refuse_cross_site(mut request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_some() {
        request.headers_mut().remove(header::COOKIE);
        return next.run(request).await;
    }
    CsrfLayer::new().layer(next).oneshot(request).await.into_response()
}
