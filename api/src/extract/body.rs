//! Bodies without files: JSON and forms for programs, forms for pages.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        FromRequest, Multipart, Request, multipart::MultipartError, rejection::BytesRejection,
    },
    http::{StatusCode, header},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::query::{deserialize, deserialize_fields, parse_pairs};
use crate::error::{BODY, Problem, ProblemCode};

/// The longest time to read a body of JSON or of a form's fields.
const BODY_TIME: Duration = Duration::from_secs(20);
/// A form's token against forged requests. Clients of the source system send it; here browsers' own
/// headers count.
const TOKEN_FIELD: &str = "csrfmiddlewaretoken";

const JSON: &str = "application/json";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// A body of one object, as JSON or as a form of either kind. A malformed body and one that breaks
/// a rule are different problems.
pub(crate) struct Body<T>(pub(crate) T);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = media_type(&request);
        let value = if media_type.eq_ignore_ascii_case(JSON) {
            // first as any JSON, so that a rule that is broken before the JSON is does not hide it
            serde_json::from_slice(&read(request, state).await?)
                .map_err(|error| Problem::new(ProblemCode::MalformedJson, error.to_string()))?
        } else if media_type.eq_ignore_ascii_case(URL_ENCODED) {
            form_object(parse_pairs(&read(request, state).await?)?)
        } else if media_type.eq_ignore_ascii_case(MULTIPART) {
            form_object(read_multipart(request, state).await?)
        } else {
            return Err(unsupported(&[JSON, URL_ENCODED, MULTIPART]));
        };
        deserialize(value, BODY).map(Self)
    }
}

/// A form's fields as an object of texts. Of a field that is sent twice the last counts, and an
/// empty one was left out.
fn form_object(pairs: Vec<(String, String)>) -> Value {
    let filled = pairs.into_iter().filter(|(name, value)| name != TOKEN_FIELD && !value.is_empty());
    Value::Object(filled.map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}

async fn read_multipart<S>(request: Request, state: &S) -> Result<Vec<(String, String)>, Problem>
where
    S: Send + Sync,
{
    let reading = async {
        let mut form = Multipart::from_request(request, state).await.map_err(|rejection| {
            Problem::new(ProblemCode::MalformedMultipart, rejection.body_text())
        })?;
        let mut pairs = Vec::new();
        while let Some(field) = form.next_field().await.map_err(|error| broken_form(&error))? {
            let name = field.name().unwrap_or_default().to_owned();
            let value = field.bytes().await.map_err(|error| broken_form(&error))?;
            let text = String::from_utf8(value.into())
                .map_err(|_| Problem::field(name.clone(), "Send text in UTF-8."))?;
            pairs.push((name, text));
        }
        Ok(pairs)
    };
    tokio::time::timeout(BODY_TIME, reading).await.map_err(|_| too_slow())?
}

/// The fields of a form that a page sent. What they say is for the domain's types to parse: a
/// form's own type takes any text, so that it can be shown again as it was typed.
pub(crate) struct Form<T>(pub(crate) T);

impl<S, T> FromRequest<S> for Form<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !media_type(&request).eq_ignore_ascii_case(URL_ENCODED) {
            return Err(unsupported(&[URL_ENCODED]));
        }
        deserialize_fields(&read(request, state).await?, "form").map(Self)
    }
}

/// The media type that a request says its body has, without parameters.
fn media_type(request: &Request) -> String {
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
}

fn unsupported(accepted: &[&str]) -> Problem {
    let detail = format!("Send the body as {}, and say so in Content-Type.", accepted.join(" or "));
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
}

async fn read<S>(request: Request, state: &S) -> Result<Bytes, Problem>
where
    S: Send + Sync,
{
    let reading = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await;
    reading.map_err(|_| too_slow())?.map_err(|rejection| unread(&rejection))
}

fn too_slow() -> Problem {
    Problem::new(
        ProblemCode::RequestTimeout,
        format!("The body did not arrive within {} seconds.", BODY_TIME.as_secs()),
    )
}

fn unread(rejection: &BytesRejection) -> Problem {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::TooLarge,
        _ => ProblemCode::MalformedRequest,
    };
    Problem::new(code, rejection.body_text())
}

fn broken_form(error: &MultipartError) -> Problem {
    let code = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::TooLarge,
        _ => ProblemCode::MalformedMultipart,
    };
    Problem::new(code, error.body_text())
}
