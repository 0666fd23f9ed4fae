//! The page of a request that failed.

use askama::Template;
use axum::{
    body::Body,
    http::{HeaderValue, header, response::Parts},
    response::{IntoResponse, Redirect, Response},
};

use super::{Layout, add_headers};
use crate::{
    error::{Problem, ProblemCode},
    urls::page_paths,
};

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    layout: Layout,
    problem: &'a Problem,
    request_id: &'a str,
}

/// Tells a person what went wrong. Whoever came for a page without a login is sent to log in first.
pub(crate) fn respond(
    mut parts: Parts,
    problem: &Problem,
    request_id: &str,
    return_to: Option<&str>,
) -> Response {
    if problem.code == ProblemCode::NotLoggedIn {
        let mut response = Redirect::to(&page_paths::log_in(return_to)).into_response();
        add_headers(response.headers_mut());
        return response;
    }
    parts.status = problem.code.status();
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // a file's own policy would keep the page from its style sheet
    add_headers(&mut parts.headers);
    let page = ProblemPage { layout: Layout::anonymous(), problem, request_id };
    // a page of text alone cannot fail to render but by a bug, and then the reason is better than
    // nothing
    let html = page.render().unwrap_or_else(|_| problem.code.title().to_owned());
    Response::from_parts(parts, Body::from(html))
}
