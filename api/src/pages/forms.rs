//! Forms that are shown again: what was typed stays, and each complaint stands beside its field.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use shared::domain::ValidationError;

use crate::error::{FieldError, Problem, ProblemCode};

/// What is wrong with a form that was sent.
#[derive(Debug, Default)]
pub(crate) struct FormErrors {
    fields: Vec<FieldError>,
    /// What is wrong with the request as a whole.
    alert: Option<String>,
    status: StatusCode,
}

impl FormErrors {
    /// What a person can put right in the form. Anything else is a problem of its own.
    pub(crate) fn of(error: impl Into<Problem>) -> Result<Self, Problem> {
        let problem = error.into();
        let status = problem.code.status();
        let is_about_the_form = status.is_client_error()
            && !matches!(problem.code, ProblemCode::NotFound | ProblemCode::NotLoggedIn);
        if !is_about_the_form {
            return Err(problem);
        }
        let alert = problem.fields.is_empty().then_some(problem.detail);
        Ok(Self { fields: problem.fields, alert, status })
    }

    /// The complaint about a field.
    pub(crate) fn of_field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|error| error.field == name).map(|error| error.detail.as_str())
    }

    pub(crate) fn alert(&self) -> Option<&str> {
        self.alert.as_deref()
    }

    /// The status of the page that shows the form again; 200 while nothing is wrong.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

/// The value that a browser sends for a checkbox; none when it is not checked.
pub(super) fn checked(is_checked: bool) -> Option<String> {
    is_checked.then(|| "on".to_owned())
}

pub(crate) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_selected: bool,
}

impl Choice {
    /// The options, of which the one with this value is selected.
    pub(super) fn list<V: Serialize, L: ToString>(
        options: impl IntoIterator<Item = (V, L)>,
        selected: impl Serialize,
    ) -> Vec<Self> {
        let selected = field_text(&selected);
        let option = |(value, label): (V, L)| {
            let value = field_text(&value);
            Self { is_selected: value == selected, value, label: label.to_string() }
        };
        options.into_iter().map(option).collect()
    }

    /// As [`list`](Self::list), after an option that leaves the field open.
    pub(super) fn optional<V: Serialize, L: ToString>(
        open: &str,
        options: impl IntoIterator<Item = (V, L)>,
        selected: Option<&impl Serialize>,
    ) -> Vec<Self> {
        let mut choices = Self::list([((), open)], selected);
        choices.extend(Self::list(options, selected));
        choices
    }
}

/// A value as a form sends it; nothing is empty.
pub(super) fn field_text(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) | Err(_) => String::new(),
        Ok(other) => other.to_string(),
    }
}

/// Parses a form's fields one by one and remembers every complaint, so that all of them are shown
/// at once.
#[derive(Default)]
pub(crate) struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// The field's value, or a complaint under the field's name.
    pub(crate) fn parse<T>(
        &mut self,
        field: &str,
        parsed: Result<T, ValidationError>,
    ) -> Option<T> {
        parsed
            .map_err(|invalid| {
                self.errors.push(FieldError { field: field.to_owned(), detail: invalid.message });
            })
            .ok()
    }

    /// What was made of the fields, if each of them was in order.
    pub(crate) fn finish<T>(self, parsed: Option<T>) -> Result<T, Problem> {
        parsed.filter(|_| self.errors.is_empty()).ok_or_else(|| Problem::fields(self.errors))
    }
}

#[cfg(test)]
mod tests {
    use shared::domain::{Height, ValidFor};

    use super::*;

    #[test]
    fn every_complaint_is_shown_beside_its_field() {
        let mut fields = Fields::default();
        let height = fields.parse("height", "0".parse::<Height>());
        let valid_for = fields.parse("valid_for", "soon".parse::<ValidFor>());
        let problem = fields.finish(height.zip(valid_for)).expect_err("two complaints");
        let errors = FormErrors::of(problem).expect("a form's errors");
        assert_eq!(errors.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(errors.of_field("height").is_some_and(|rule| rule.contains("4000")));
        assert!(errors.of_field("valid_for").is_some_and(|rule| rule.contains("soon")));
        assert_eq!((errors.of_field("title"), errors.alert()), (None, None));
    }

    #[test]
    fn what_no_form_can_put_right_is_a_problem_of_its_own() {
        assert!(FormErrors::of(Problem::not_found("image")).is_err());
        assert!(FormErrors::of(Problem::new(ProblemCode::Internal, "broken")).is_err());
    }
}
