//! The pages for people: HTML from the templates in `api/templates`, over the same services as the
//! JSON. Everything works without JavaScript, but for seeing progress live; what the scripts in
//! `api/assets` add is told there.
//!
//! A form that cannot be taken is shown again as it was typed, each complaint beside its field
//! ([`forms`]). Any other problem becomes a page of its own ([`problem`]).

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod assets;
mod format;
mod forms;
pub(crate) mod gallery;
pub(crate) mod image;
pub(crate) mod links;
mod picture;
pub(crate) mod problem;
pub(crate) mod session;
pub(crate) mod tokens;

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};
use shared::domain::{Actor, User};
use tower_sessions::Session;

use crate::{
    AppState,
    auth::SessionUser,
    error::{Problem, ProblemCode, Rendered},
};

/// A page loads nothing but what this server has, runs no script that stands in it, and is framed
/// by nobody. `data:` is for the tiny pictures that stand for thumbnails.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Where the message is kept that the next page shows once.
const NOTICE: &str = "notice";

/// The headers that every page has. A page is one account's: neither a proxy nor the browser of the
/// next person keeps it.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &str); 3] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Adds the headers to what a page's route answers.
pub(crate) async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // a picture among the pages says itself how long it keeps
    let cache = headers.remove(header::CACHE_CONTROL);
    add_headers(headers);
    headers.extend(cache.map(|cache| (Some(header::CACHE_CONTROL), cache)));
    response
}

/// What the frame around every page needs.
pub(crate) struct Layout {
    user: Option<User>,
    notice: Option<String>,
    assets: &'static str,
}

impl Layout {
    /// For whoever is not logged in.
    fn anonymous() -> Self {
        Self { user: None, notice: None, assets: assets::version() }
    }

    /// The account's pages show whether it is an administrator's.
    fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.is_admin)
    }

    fn has_default_password(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.password_is_default)
    }
}

/// Who looks at a page, and the message that waits for them. Without a login the request ends at
/// the login page.
pub(crate) struct Visitor {
    user: User,
    session: Session,
}

impl Visitor {
    fn actor(&self) -> Actor<'_> {
        Actor::Admin(&self.user)
    }

    /// The frame of the page that is shown now; it takes the message that waits.
    async fn layout(&self) -> Result<Layout, Problem> {
        let waiting = self.session.get::<String>(NOTICE).await?;
        if waiting.is_some() {
            self.session.remove_value(NOTICE).await?;
        }
        Ok(Layout { user: Some(self.user.clone()), notice: waiting, assets: assets::version() })
    }

    /// Leaves a message for the page that is shown next, and goes there.
    async fn go(&self, path: &str, notice: &str) -> Result<Response, Problem> {
        self.session.insert(NOTICE, notice).await?;
        Ok(Redirect::to(path).into_response())
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let SessionUser(user) = SessionUser::from_request_parts(parts, state).await?;
        let session = parts.extensions.get::<Session>().cloned();
        let session =
            session.ok_or_else(|| Problem::new(ProblemCode::NotLoggedIn, "log in first"))?;
        Ok(Self { user, session })
    }
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        // the form of a refused request is its answer: the layer that renders problems leaves it
        // alone
        Ok(html) => (status, axum::Extension(Rendered), Html(html)).into_response(),
        Err(error) => Problem::internal(&error).into_response(),
    }
}
