//! Query strings, and what they share with forms: names and texts, whose problems name the field.

use std::fmt::Display;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserializer, de::DeserializeOwned};

use crate::error::{Problem, ProblemCode};

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        deserialize_fields(query.as_bytes(), "query").map(Self)
    }
}

/// Deserializes a query string or a URL-encoded form.
pub(super) fn deserialize_fields<T: DeserializeOwned>(
    text: &[u8],
    whole: &str,
) -> Result<T, Problem> {
    refuse_nul(&parse_pairs(text)?)?;
    deserialize(serde_html_form::Deserializer::from_bytes(text), whole)
}

/// The names and texts of a query string or a URL-encoded form.
pub(super) fn parse_pairs(text: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    serde_html_form::from_bytes(text)
        .map_err(|error| Problem::new(ProblemCode::MalformedRequest, error.to_string()))
}

/// Refuses the one character that the database keeps in no text.
fn refuse_nul(pairs: &[(String, String)]) -> Result<(), Problem> {
    match pairs.iter().find(|(_, value)| value.contains('\0')) {
        Some((name, _)) => Err(Problem::field(name, "Leave out the NUL character.")),
        None => Ok(()),
    }
}

/// Deserializes, and names the field that breaks a rule; `whole` names what no field can be blamed
/// for.
pub(super) fn deserialize<'de, D, T>(deserializer: D, whole: &str) -> Result<T, Problem>
where
    D: Deserializer<'de, Error: Display>,
    T: DeserializeOwned,
{
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let rule = error.into_inner().to_string();
        match missing_field(&rule) {
            Some(field) => Problem::field(field, "This field is required."),
            None if path == "." => Problem::field(whole, rule),
            None => Problem::field(path, rule),
        }
    })
}

/// The field that serde misses: its path is that of the object, and only its text names it.
fn missing_field(rule: &str) -> Option<&str> {
    rule.strip_prefix("missing field `")?.split('`').next()
}
