//! Every URL of the service, and the layers that a request passes on its way to it.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header},
    middleware,
    routing::{get, post},
};
use serde_json::Value;
use tower::{ServiceBuilder, util::MapRequestLayer};
use tower_http::{
    ServiceBuilderExt,
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, Predicate, predicate::SizeAbove},
    request_id::MakeRequestUuid,
    set_header::SetResponseHeaderLayer,
};
use utoipa::{OpenApi, openapi};
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    AppState, auth,
    cors::{self, Cors},
    handlers::{
        account, changes, events, expiring_links, health, images, media, session, thumbnails,
        tokens, upload,
    },
    hosts::{self, HostNames},
    openapi::{Description, describe_problems},
    pages, problem_responses, request_log, time_limits,
};

/// Longest body that is no upload, in bytes.
const BODY_MAX_BYTES: usize = 64 << 10;
/// Longest form without files, in bytes.
const FORM_MAX_BYTES: usize = 64 << 10;
/// The media types of answers that are compressed.
const COMPRESSED_TYPES: [&str; 6] = [
    "text/html",
    "text/css",
    "text/javascript",
    "application/json",
    "application/problem+json",
    "image/svg+xml",
];
/// Shorter answers fit into a packet as they are.
const COMPRESSED_MIN_BYTES: u64 = 1024;
/// Answers that a session decides are kept by nobody else, and not shown again unasked.
const SESSION_CACHE: &str = "private, no-cache";
/// Nothing in a file runs, whatever it is. The style is the one that browsers themselves give to a
/// picture shown alone.
const MEDIA_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
const OPENAPI_URL: &str = "/api/openapi.json";
const DOCS_URL: &str = "/api/docs";

/// What needs a session.
fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        // /api/session
        .routes(routes!(session::log_in, session::show_session, session::log_out))
        // /api/session/password
        .routes(routes!(session::change_password))
        // /api/tokens
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        // /api/tokens/{id}
        .routes(routes!(tokens::revoke_token))
        // /api/account
        .routes(routes!(account::delete_account))
        // /api/images
        .routes(routes!(images::list_images))
        // /api/images/{pk}
        .routes(routes!(images::show_image, images::rename_image, images::delete_image))
        // /api/images/{pk}/thumbnails/{height}
        .routes(routes!(thumbnails::show_thumbnail))
        // /api/images/{pk}/thumbnails/{height}/retry
        .routes(routes!(thumbnails::retry_thumbnail))
        // /api/images/{pk}/events
        .routes(routes!(events::image_events))
        // /api/events
        .routes(routes!(events::all_events))
        // /api/changes
        .routes(routes!(changes::follow_changes))
        // /api/thumbnails
        .routes(routes!(thumbnails::list_thumbnails))
        // /api/thumbnails/prepare
        .routes(routes!(thumbnails::prepare_thumbnails))
        // /api/images/{pk}/expiring_links
        .routes(routes!(expiring_links::list_expiring_links, expiring_links::create_expiring_link))
        // /api/images/{pk}/expiring_links/{id}
        .routes(routes!(expiring_links::revoke_expiring_link))
        .layer(fixed_header(header::CACHE_CONTROL, SESSION_CACHE))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
}

/// What needs a session and takes files, whose size the handler limits as it reads.
fn uploads() -> OpenApiRouter<AppState> {
    // POST /api/images
    OpenApiRouter::new()
        .routes(routes!(upload::upload_image))
        .layer(fixed_header(header::CACHE_CONTROL, SESSION_CACHE))
        .layer(DefaultBodyLimit::disable())
}

/// The pages, which need a session as well.
fn pages() -> Router<AppState> {
    let forms = Router::new()
        .route("/login", get(pages::session::show_login).post(pages::session::log_in))
        .route("/logout", post(pages::session::log_out))
        .route("/account", get(pages::account::show_account))
        .route("/account/password", post(pages::account::change))
        .route("/account/tokens", get(pages::tokens::show_tokens).post(pages::tokens::create_token))
        .route("/account/tokens/{id}/revoke", post(pages::tokens::revoke_token))
        .route(
            "/account/delete",
            get(pages::account::confirm_deletion).post(pages::account::delete_account),
        )
        .route("/", get(pages::gallery::show_gallery))
        .route("/images/{pk}", get(pages::image::show_image))
        .route("/images/{pk}/tile", get(pages::gallery::show_tile))
        .route("/images/{pk}/title", post(pages::image::rename_image))
        .route(
            "/images/{pk}/delete",
            get(pages::image::confirm_deletion).post(pages::image::delete_image),
        )
        .route("/images/{pk}/thumbnails/{height}/retry", post(pages::image::retry_thumbnail))
        .route("/images/{pk}/links", post(pages::image::create_link))
        .route("/images/{pk}/links/{id}/revoke", post(pages::image::revoke_link))
        .merge(administration())
        .layer(DefaultBodyLimit::max(FORM_MAX_BYTES));
    let uploads = Router::new()
        .route("/images", get(pages::gallery::leave_upload).post(pages::gallery::upload_images))
        .layer(DefaultBodyLimit::disable());
    forms.merge(uploads).layer(middleware::map_response(pages::with_headers))
}

/// The pages that only administrators see.
fn administration() -> Router<AppState> {
    use pages::admin::{dashboard, delete_users, history, images, jobs, links, tiers, users};
    Router::new()
        .route("/admin", get(dashboard::show_dashboard))
        .route("/admin/users", get(users::list_users))
        .route("/admin/users/tier", post(users::set_tier))
        .route(
            "/admin/users/delete",
            get(delete_users::confirm_deletion).post(delete_users::delete_users),
        )
        .route("/admin/users/new", get(users::show_new_user).post(users::create_user))
        .route("/admin/users/{id}", get(users::show_user).post(users::change_user))
        .route("/admin/users/{id}/password", post(users::set_password))
        .route("/admin/users/{id}/sign-out", post(users::end_sessions))
        .route("/admin/users/{id}/revoke-tokens", post(users::revoke_tokens))
        .route("/admin/tiers", get(tiers::list_tiers))
        .route("/admin/tiers/new", get(tiers::show_new_tier).post(tiers::create_tier))
        .route("/admin/tiers/{id}", get(tiers::show_tier).post(tiers::change_tier))
        .route("/admin/tiers/{id}/delete", get(tiers::confirm_deletion).post(tiers::delete_tier))
        .route("/admin/images", get(images::list_images))
        .route("/admin/images/delete", get(images::confirm_deletion).post(images::delete_images))
        .route("/admin/images/{pk}/preview", get(images::show_preview))
        .route("/admin/links", get(links::list_links))
        .route("/admin/links/{id}/revoke", post(links::revoke_link))
        .route("/admin/jobs", get(jobs::list_jobs))
        .route("/admin/jobs/retry", post(jobs::retry_jobs))
        .route("/admin/jobs/discard", post(jobs::discard_jobs))
        .route("/admin/thumbnails/retry", post(jobs::retry_thumbnails))
        .route("/admin/history", get(history::show_history))
}

/// What pages are made of, the same for everybody.
fn assets() -> Router<AppState> {
    Router::new()
        .route("/assets/{version}/{name}", get(pages::assets::show_asset))
        .route("/favicon.ico", get(pages::assets::show_icon))
}

/// What is public to whoever has the URL.
fn media() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        // /user_content/original/{slug}-{uuid}.{ext}
        .routes(routes!(media::download_original))
        // /user_content/resized/{slug}-{uuid}.{ext}
        .routes(routes!(media::download_thumbnail))
        // /user_content/expiring/{uuid}/
        .routes(routes!(media::download_expiring))
        .layer(fixed_header(header::CONTENT_SECURITY_POLICY, MEDIA_POLICY))
        .layer(fixed_header(
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ))
}

fn operation() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        // /healthz
        .routes(routes!(health::is_alive))
        // /readyz
        .routes(routes!(health::is_ready))
}

fn split() -> (Router<AppState>, Router<AppState>, openapi::OpenApi) {
    let (with_session, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(api())
        .merge(uploads())
        .split_for_parts();
    let (public, public_description) = media().merge(operation()).split_for_parts();
    description.merge(public_description);
    describe_problems(&mut description);
    (with_session, public, description)
}

/// The description of the API as JSON.
///
/// # Panics
/// Never: a test makes it.
pub fn openapi_document() -> Value {
    serde_json::to_value(split().2).expect("a description is JSON")
}

/// All routes with all layers.
pub(crate) fn service(state: AppState, hosts: HostNames, cors: Cors) -> Router {
    let (with_session, public, description) = split();
    let with_session = with_session.merge(pages()).layer(auth::session_layer(&state));
    let limit = middleware::from_fn_with_state(state.database.clone(), time_limits::limit);
    let docs = SwaggerUi::new(DOCS_URL).config(Config::from(OPENAPI_URL).with_credentials(true));
    let routes = Router::new()
        .merge(with_session)
        .merge(public)
        .route(OPENAPI_URL, get(|| async move { Json(description) }))
        .merge(docs)
        .merge(assets())
        .layer(MapRequestLayer::new(request_log::note_route))
        .with_state(state);
    let layers = ServiceBuilder::new()
        .layer(MapRequestLayer::new(trim_trailing_slash))
        .layer(MapRequestLayer::new(forget_request_id))
        .set_x_request_id(MakeRequestUuid)
        .layer(middleware::from_fn(request_log::log))
        .propagate_x_request_id()
        .layer(fixed_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(middleware::from_fn_with_state(cors, cors::apply))
        .layer(MapRequestLayer::new(allow_identity))
        .layer(compression())
        .layer(middleware::from_fn(problem_responses::render))
        .layer(CatchPanicLayer::custom(problem_responses::of_panic))
        .layer(middleware::from_fn_with_state(hosts, hosts::check))
        .layer(limit)
        .layer(middleware::from_fn(auth::refuse_cross_site));
    // around the router rather than on its routes: the path has to be trimmed before it is matched
    Router::new().fallback_service(layers.service(routes))
}

fn fixed_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

/// A client may refuse every encoding that we have, `identity` too; it gets that one (RFC 9110
/// section 12.5.3), as refusing would come after the request has taken effect.
fn allow_identity(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let accepted =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let refuses_identity = accepted.flat_map(|value| value.split(',')).any(|element| {
        let (coding, weight) = element.split_once(';').unwrap_or((element, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        ["*", "identity"].contains(&coding.trim()) && weight == Some(0.0)
    });
    if refuses_identity {
        headers.remove(header::ACCEPT_ENCODING);
    }
    request
}

/// Text is compressed; images are already, and events must not be held back.
fn compression() -> CompressionLayer<impl Predicate> {
    let is_text = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default();
        COMPRESSED_TYPES.contains(&media_type)
    };
    CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_MIN_BYTES).and(is_text))
}

/// Requests get ids of ours: one that a client makes up could be anybody's, and of any length.
fn forget_request_id(mut request: Request) -> Request {
    request.headers_mut().remove(request_log::REQUEST_ID);
    request
}

/// Every path works with and without a trailing slash, but for the docs page, which redirects to
/// its own slash.
fn trim_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    if path.len() == 1 || !path.ends_with('/') || path.starts_with(DOCS_URL) {
        return request;
    }
    let trimmed = path.trim_end_matches('/');
    let trimmed = if trimmed.is_empty() { "/" } else { trimmed };
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = path_and_query.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}
