use serde::Serialize;
use shared::domain::{Scope, Token, TokenSecret};
use utoipa::ToSchema;

use super::Timestamp;

/// An API token, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenJson {
    /// Names the token, for revoking it.
    id: i64,
    #[schema(example = "backup script")]
    name: String,
    #[schema(value_type = Vec<String>, example = json!(["images:read", "links:write"]))]
    scopes: Vec<Scope>,
    created_at: Timestamp,
    /// The token is refused from this time on; null: never.
    expires_at: Option<Timestamp>,
    /// When it was used last, to the minute; null: never.
    last_used_at: Option<Timestamp>,
}

impl TokenJson {
    pub(crate) fn new(token: &Token) -> Self {
        Self {
            id: token.id.0,
            name: token.name.to_string(),
            scopes: token.scopes.iter().collect(),
            created_at: Timestamp(token.created_at),
            expires_at: token.expires_at.map(Timestamp),
            last_used_at: token.last_used_at.map(Timestamp),
        }
    }
}

/// A token that was created just now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewTokenJson {
    #[serde(flatten)]
    token: TokenJson,
    /// The token's text, which cannot be shown again.
    #[serde(rename = "token")]
    #[schema(example = "pic_0123456789abcdefghijklmnopqrst0pJEQg")]
    text: String,
}

impl NewTokenJson {
    pub(crate) fn new(token: &Token, secret: &TokenSecret) -> Self {
        Self { token: TokenJson::new(token), text: secret.reveal().to_owned() }
    }
}
