//! Extractors: what a handler gets is parsed, and what cannot be parsed is a problem with a stable code.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use shared::domain::{Height, ImageId, LinkId};
use uuid::Uuid;

use crate::error::{Code, Problem};

/// The longest time to read a body of JSON or of a form's fields.
const BODY_TIME: Duration = Duration::from_secs(20);

/// A JSON body. Malformed JSON and JSON that breaks a rule are different problems.
pub(crate) struct Json<T>(pub(crate) T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = read_body(request, state, "application/json").await?;
        // first as any JSON, so that a rule that is broken before the JSON is does not hide it
        let value: serde_json::Value = serde_json::from_slice(&body)
            .map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))?;
        serde_path_to_error::deserialize(value).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { "body".to_owned() } else { path };
            Problem::field(field, error.into_inner().to_string())
        })
    }
}

/// The fields of a form that a page sent. What they say is for the domain's types to parse: a form's own type takes
/// any text, so that it can be shown again as it was typed.
pub(crate) struct Form<T>(pub(crate) T);

impl<S, T> FromRequest<S> for Form<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = read_body(request, state, "application/x-www-form-urlencoded").await?;
        serde_html_form::from_bytes(&body)
            .map(Self)
            .map_err(|error| Problem::new(Code::MalformedRequest, error.to_string()))
    }
}

async fn read_body<S>(request: Request, state: &S, media_type: &str) -> Result<Bytes, Problem>
where
    S: Send + Sync,
{
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|content_type| is(content_type, media_type)) {
        let detail = format!("the body is {media_type}, and the Content-Type says so");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let reading = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await;
    reading.map_err(|_| too_slow())?.map_err(|rejection| unread(&rejection))
}

fn too_slow() -> Problem {
    Problem::new(
        Code::RequestTimeout,
        format!("the body did not arrive within {} seconds", BODY_TIME.as_secs()),
    )
}

fn is(content_type: &str, media_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

fn unread(rejection: &BytesRejection) -> Problem {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        _ => Code::MalformedRequest,
    };
    Problem::new(code, rejection.body_text())
}

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        serde_html_form::from_str(parts.uri.query().unwrap_or_default())
            .map(Self)
            .map_err(|error| Problem::field("query", error.to_string()))
    }
}

/// `{pk}` of the path; what is no number of an image is an image that does not exist.
pub(crate) struct Pk(pub(crate) ImageId);

/// `{pk}` and `{height}` of the path.
pub(crate) struct PkAndHeight(pub(crate) ImageId, pub(crate) Height);

/// `{pk}` and `{id}` of the path.
pub(crate) struct PkAndLink(pub(crate) ImageId, pub(crate) LinkId);

/// `{id}` of the path where it is a number.
pub(crate) struct Number(pub(crate) i64);

/// `{id}` of the path, whatever it is.
pub(crate) struct Id(pub(crate) String);

/// `{file}` of the path.
pub(crate) struct FileName(pub(crate) String);

async fn path_params<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<HashMap<String, String>, Problem> {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
    // only a path that is not UTF-8 once it is decoded gets here
    path.map(|Path(params)| params).map_err(|_| Problem::not_found("page"))
}

fn image_id(params: &HashMap<String, String>) -> Result<ImageId, Problem> {
    let pk = params.get("pk").and_then(|pk| pk.parse().ok()).filter(|pk| *pk > 0);
    pk.map(ImageId).ok_or_else(|| Problem::not_found("image"))
}

impl<S: Send + Sync> FromRequestParts<S> for Pk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        image_id(&path_params(parts, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PkAndHeight {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let height = params.get("height").and_then(|height| height.parse::<i64>().ok());
        let height = height.and_then(|px| Height::try_from(px).ok());
        Ok(Self(image_id(&params)?, height.ok_or_else(|| Problem::not_found("thumbnail"))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PkAndLink {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let id = params.get("id").and_then(|id| Uuid::try_parse(id).ok()).map(LinkId);
        Ok(Self(image_id(&params)?, id.ok_or_else(|| Problem::not_found("link"))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        id.parse().map(Self).map_err(|_| Problem::not_found("page"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut params = path_params(parts, state).await?;
        params.remove("id").map(Self).ok_or_else(|| Problem::not_found("page"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FileName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut params = path_params(parts, state).await?;
        params.remove("file").map(Self).ok_or_else(|| Problem::not_found("file"))
    }
}
