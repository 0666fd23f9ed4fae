//! API tokens: creating, listing and revoking them, and what a request with one may do.

use chrono::TimeDelta;
use serde_json::json;

use super::{ServiceError, Services, users};
use crate::{
    db::{
        self,
        tokens::{Bearer, NewToken},
    },
    domain::{
        Actor, AuditAction, AuditObject, Scopes, Token, TokenId, TokenLifetime, TokenName,
        TokenSecret, User, UserId,
    },
};

/// Tokens of one account, expired ones included.
pub const TOKENS_MAX: i64 = 100;
/// How exactly the last use of a token is known.
const USE_PRECISION: TimeDelta = TimeDelta::minutes(1);

/// A token to be created.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: TokenName,
    pub scopes: Scopes,
    /// None: the token never expires.
    pub lifetime: Option<TokenLifetime>,
}

/// Creates a token. Its text is known to the caller alone.
pub async fn create(
    services: &Services,
    user: &User,
    request: &Request,
) -> Result<(Token, TokenSecret), ServiceError> {
    request.scopes.check_owner(user)?;
    let secret = TokenSecret::random();
    let now = services.clock.now();
    let new = NewToken {
        owner: user.id,
        name: &request.name,
        sha256: secret.digest(),
        scopes: &request.scopes,
        expires_at: request.lifetime.map(|lifetime| lifetime.expiry(now)),
    };
    let mut tx = services.begin().await?;
    if db::tokens::lock_and_count(&mut tx, user.id).await? >= TOKENS_MAX {
        return Err(ServiceError::TooManyTokens { max: TOKENS_MAX });
    }
    let token = db::tokens::insert(&mut tx, &new, now).await?;
    tx.commit().await?;
    Ok((token, secret))
}

/// An account's tokens, the newest first.
pub async fn list(services: &Services, user: &User) -> Result<Vec<Token>, ServiceError> {
    Ok(db::tokens::of_user(&mut *services.connection().await?, user.id).await?)
}

/// Revokes one of an account's tokens.
pub async fn revoke(services: &Services, user: &User, id: TokenId) -> Result<(), ServiceError> {
    let revoked = db::tokens::delete(&mut *services.connection().await?, user.id, id).await?;
    revoked.then_some(()).ok_or(ServiceError::NotFound("token"))
}

/// Revokes all tokens of an account; returns how many there were.
pub async fn revoke_all(
    services: &Services,
    actor: Actor<'_>,
    id: UserId,
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let user = users::lock(&mut tx, id).await?;
    let revoked = db::tokens::delete_of_user(&mut tx, id).await?;
    let changes = json!({ "revoked_tokens": revoked });
    let object = AuditObject::user(id, &user.username);
    services.record(&mut tx, actor, AuditAction::RevokeTokens, object, changes).await?;
    tx.commit().await?;
    Ok(revoked)
}

/// The token that a request was sent with, and its account; none when it cannot be used.
pub async fn authenticate(
    services: &Services,
    secret: &TokenSecret,
) -> Result<Option<(Bearer, User)>, ServiceError> {
    let now = services.clock.now();
    let mut connection = services.connection().await?;
    let Some(bearer) = db::tokens::find(&mut connection, secret.digest(), now).await? else {
        return Ok(None);
    };
    let Some(user) = db::users::active(&mut connection, bearer.login).await? else {
        return Ok(None);
    };
    if bearer.last_used_at.is_none_or(|at| now - at >= USE_PRECISION) {
        db::tokens::note_use(&mut connection, bearer.token, now, USE_PRECISION).await?;
    }
    Ok(Some((bearer, user)))
}
