//! The description of the API (OpenAPI 3.1), made from the handlers. Every code that a handler
//! lists becomes a response with the code's status; those that the layers can answer with are added
//! to each operation.

use std::collections::BTreeMap;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, HttpMethod, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use crate::{
    auth,
    error::{FieldError, ProblemCode},
    handlers::health,
    problem_responses::{PROBLEM_JSON, ProblemBody},
};

/// The codes of a handler's problems.
const PROBLEMS: &str = "x-problems";
/// The scope that a token needs for the call; null: any token will do.
const SCOPE: &str = "x-scope";
/// Marks a call that a token cannot make.
const SESSION_ONLY: &str = "x-session";
const SESSION_SCHEME: &str = "session";
const TOKEN_SCHEME: &str = "token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pictier",
        description = "Image upload with account tiers. Log in with `POST /api/session`; the cookie does the rest. \
            Programs send a token instead: `Authorization: Bearer pic_…`. \
            Failed requests answer with problem details (RFC 9457) whose `code` never changes its meaning."
    ),
    components(schemas(ProblemBody, FieldError, ProblemCode)),
    modifiers(&SecuritySchemes),
    tags(
        (name = "session", description = "Logging in and out"),
        (name = "tokens", description = "API tokens for programs"),
        (name = "account", description = "Your account"),
        (name = "images", description = "Your images and their thumbnails"),
        (name = "expiring links", description = "Links that anybody may use, for a time"),
        (name = "files", description = "What the links show"),
        (name = "operation", description = "For whoever runs the service"),
    )
)]
pub(crate) struct Description;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(auth::COOKIE)));
        components.add_security_scheme(SESSION_SCHEME, cookie);
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `POST /api/tokens`, with the scope that a call names."));
        components.add_security_scheme(TOKEN_SCHEME, SecurityScheme::Http(token.build()));
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
    let mut marked =
        |name| operation.extensions.as_mut().and_then(|extensions| extensions.remove(name));
    let mut codes: Vec<ProblemCode> = marked(PROBLEMS)
        .map(|codes| serde_json::from_value(codes).expect("handlers list codes that exist"))
        .unwrap_or_default();
    let (scope, is_session_only) = (marked(SCOPE), marked(SESSION_ONLY).is_some());
    let session = || SecurityRequirement::new::<_, [&str; 0], &str>(SESSION_SCHEME, []);
    if let Some(scope) = scope {
        let scopes = scope.as_str().into_iter();
        codes.extend([ProblemCode::NotLoggedIn, ProblemCode::InvalidToken]);
        codes.extend(scopes.clone().map(|_| ProblemCode::InsufficientScope));
        let token = SecurityRequirement::new(TOKEN_SCHEME, scopes);
        operation.security = Some(vec![session(), token]);
    } else if is_session_only {
        codes.extend([ProblemCode::NotLoggedIn, ProblemCode::SessionRequired]);
        operation.security = Some(vec![session()]);
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
