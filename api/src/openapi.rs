//! The description of the API (OpenAPI 3.1), made from the handlers. Every code that a handler
//! lists becomes a response with the code's status; those that the layers can answer with are added
//! to each operation.

use std::collections::BTreeMap;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, HttpMethod, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
    },
};

use crate::{
    auth,
    error::{FieldError, ProblemCode},
    handlers::health,
    problem_responses::{PROBLEM_JSON, ProblemBody},
};

const EXTENSION: &str = "x-problems";
const SCHEME: &str = "session";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pictier",
        description = "Image upload with account tiers. Log in with `POST /api/session`; the cookie does the rest. \
            Failed requests answer with problem details (RFC 9457) whose `code` never changes its meaning."
    ),
    components(schemas(ProblemBody, FieldError, ProblemCode)),
    modifiers(&CookieScheme),
    tags(
        (name = "session", description = "Logging in and out"),
        (name = "account", description = "Your account"),
        (name = "images", description = "Your images and their thumbnails"),
        (name = "expiring links", description = "Links that anybody may use, for a time"),
        (name = "files", description = "What the links show"),
        (name = "operation", description = "For whoever runs the service"),
    )
)]
pub(crate) struct Description;

struct CookieScheme;

impl Modify for CookieScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(auth::COOKIE)));
        openapi.components.get_or_insert_default().add_security_scheme(SCHEME, cookie);
    }
}

/// Turns the codes that the handlers list into responses.
pub(crate) fn describe_problems(openapi: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut openapi.paths.paths {
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Patch, &mut item.patch),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                describe(path, &method, operation);
            }
        }
    }
}

fn describe(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let listed = operation.extensions.as_mut().and_then(|extensions| extensions.remove(EXTENSION));
    let mut codes: Vec<ProblemCode> = listed
        .map(|codes| serde_json::from_value(codes).expect("handlers list codes that exist"))
        .unwrap_or_default();
    if codes.contains(&ProblemCode::NotLoggedIn) {
        let needs_cookie = SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, []);
        operation.security = Some(vec![needs_cookie]);
    }
    if !matches!(method, HttpMethod::Get) {
        codes.push(ProblemCode::CrossSiteRequest);
    }
    codes.extend([ProblemCode::Internal, ProblemCode::Unavailable]);
    if !health::CHECKS.contains(&path) {
        codes.push(ProblemCode::UnknownHost);
    }
    let mut by_status = BTreeMap::<u16, Vec<ProblemCode>>::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let lines = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title()));
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
        let response = ResponseBuilder::new()
            .description(lines.collect::<Vec<_>>().join("; "))
            .content(PROBLEM_JSON, body)
            .build();
        operation.responses.responses.insert(status.to_string(), RefOr::T(response));
    }
}
