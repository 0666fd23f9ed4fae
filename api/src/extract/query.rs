//! Query strings, and what they share with forms: names and texts, whose problems name the field.

use std::fmt::Display;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserializer, de::DeserializeOwned};

use crate::{
    error::{Problem, ProblemCode},
    urls::page_paths,
};

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

/// The query string of a page, as a form makes it: a field that is empty was not given.
pub(crate) struct FormQuery<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for FormQuery<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        deserialize_given_fields(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Deserializes the fields of a query string that hold more than space.
pub(crate) fn deserialize_given_fields<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = parse_pairs(query.as_bytes())?;
    let trimmed = pairs.iter().map(|(name, value)| (name, value.trim()));
    let given: Vec<_> = trimmed.filter(|(_, value)| !value.is_empty()).collect();
    deserialize_fields(page_paths::query(&given).as_bytes(), "query")
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
            None if path == "." => Problem::field(whole, sentence(rule)),
            None => Problem::field(path, sentence(rule)),
        }
    })
}

/// What serde says about a value that a person may have typed into a URL, as a sentence.
fn sentence(rule: String) -> String {
    let unknown =
        rule.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "));
    match unknown {
        Some((value, known)) => format!("{value} has no meaning here. Use {known}."),
        None if rule == "invalid digit found in string" => {
            "This must be a whole number.".to_owned()
        }
        None => rule,
    }
}

/// The field that serde misses: its path is that of the object, and only its text names it.
fn missing_field(rule: &str) -> Option<&str> {
    rule.strip_prefix("missing field `")?.split('`').next()
}
