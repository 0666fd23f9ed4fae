//! One's API tokens: the list, the form for another, and its text, once.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::{
    domain::{Scope, Scopes, Token, TokenLifetime, TokenName, TokenSecret},
    services::tokens,
};

use super::{
    Layout, Visitor, format,
    forms::{Choice, Fields, FormErrors},
    page,
};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, Path, TokenPath},
    urls::page_paths,
};

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    layout: Layout,
    tokens: Vec<Token>,
    now: DateTime<Utc>,
    /// The token that was created just now.
    created: Option<(Token, TokenSecret)>,
    form: TokenForm,
    scopes: Vec<Choice>,
    lifetimes: Vec<Choice>,
    errors: FormErrors,
}

/// Which token to create, as it was chosen.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenForm {
    name: String,
    scopes: Vec<String>,
    /// Days; empty: for ever.
    expires_in_days: String,
}

/// What the form offers, in days.
const LIFETIMES: [(&str, &str); 5] =
    [("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Never")];
const DEFAULT_LIFETIME: &str = "90";

impl TokenForm {
    fn empty() -> Self {
        Self { expires_in_days: DEFAULT_LIFETIME.to_owned(), ..Self::default() }
    }

    fn parse(&self) -> Result<tokens::Request, Problem> {
        let mut fields = Fields::default();
        let name = fields.parse("name", TokenName::try_from(self.name.clone()));
        let scopes = fields.parse("scopes", Scopes::try_from(self.scopes.clone()));
        let days = Some(self.expires_in_days.as_str()).filter(|days| !days.is_empty());
        let lifetime = fields.parse("expires_in_days", days.map(TokenLifetime::parse).transpose());
        let parsed = name.zip(scopes).zip(lifetime);
        let ((name, scopes), lifetime) = fields.finish(parsed)?;
        Ok(tokens::Request { name, scopes, lifetime })
    }

    /// The scopes that an account can give to a token.
    fn scopes(&self, is_admin: bool) -> Vec<Choice> {
        let usable = |scope: &Scope| is_admin || !scope.is_for_administrators();
        let choice = |scope: Scope| Choice {
            value: scope.to_string(),
            label: scope.description().to_owned(),
            is_selected: self.scopes.iter().any(|chosen| chosen == scope.as_str()),
        };
        Scope::ALL.into_iter().filter(usable).map(choice).collect()
    }
}

/// `GET /account/tokens`
pub(crate) async fn show_tokens(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    show(&state, &visitor, TokenForm::empty(), FormErrors::default(), None).await
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    form: TokenForm,
    errors: FormErrors,
    created: Option<(Token, TokenSecret)>,
) -> Result<Response, Problem> {
    let status = if created.is_some() { StatusCode::CREATED } else { errors.status() };
    let lifetimes = LIFETIMES.map(|(days, label)| (days.to_owned(), label.to_owned()));
    let tokens_page = TokensPage {
        layout: visitor.layout().await?,
        tokens: tokens::list(&state.services, &visitor.user).await?,
        now: state.services.clock.now(),
        created,
        scopes: form.scopes(visitor.user.is_admin),
        lifetimes: Choice::list(lifetimes, &form.expires_in_days),
        form,
        errors,
    };
    Ok(page(status, &tokens_page))
}

/// `POST /account/tokens`: the answer itself shows the token, as it is kept nowhere.
pub(crate) async fn create_token(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(form): Form<TokenForm>,
) -> Result<Response, Problem> {
    let creating = async {
        let request = form.parse()?;
        Ok::<_, Problem>(tokens::create(&state.services, &visitor.user, &request).await?)
    };
    match creating.await {
        Ok(created) => {
            let errors = FormErrors::default();
            show(&state, &visitor, TokenForm::empty(), errors, Some(created)).await
        }
        Err(problem) => show(&state, &visitor, form, FormErrors::of(problem)?, None).await,
    }
}

/// `POST /account/tokens/{id}/revoke`
pub(crate) async fn revoke_token(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(TokenPath { id }): Path<TokenPath>,
) -> Result<Response, Problem> {
    tokens::revoke(&state.services, &visitor.user, id).await?;
    visitor.go(page_paths::TOKENS, "Token revoked.").await
}
