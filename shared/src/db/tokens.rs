//! API tokens.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::undecodable;
use crate::domain::{CredentialVersion, Login, Scopes, Token, TokenId, TokenName, UserId};

/// A token that a request was sent with.
#[derive(Debug)]
pub struct Bearer {
    pub token: TokenId,
    pub scopes: Scopes,
    /// Its account, which is active.
    pub login: Login,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A token to be made.
#[derive(Debug)]
pub struct NewToken<'a> {
    pub owner: UserId,
    pub name: &'a TokenName,
    /// Of the token's text.
    pub sha256: [u8; 32],
    pub scopes: &'a Scopes,
    pub expires_at: Option<DateTime<Utc>>,
}

macro_rules! token {
    ($row:ident) => {
        Token {
            id: TokenId($row.id),
            name: TokenName::try_from($row.name).map_err(undecodable)?,
            scopes: Scopes::try_from($row.scopes).map_err(undecodable)?,
            created_at: $row.created_at,
            expires_at: $row.expires_at,
            last_used_at: $row.last_used_at,
        }
    };
}

pub async fn insert(
    connection: &mut PgConnection,
    new: &NewToken<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Token> {
    let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.to_string()).collect();
    let row = sqlx::query!(
        "INSERT INTO tokens (user_id, name, sha256, scopes, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         RETURNING id, name, scopes, created_at, expires_at, last_used_at",
        new.owner.0,
        new.name.as_str(),
        &new.sha256,
        &scopes,
        now,
        new.expires_at,
    );
    let row = row.fetch_one(connection).await?;
    Ok(token!(row))
}

/// An account's tokens, the newest first.
pub async fn of_user(connection: &mut PgConnection, owner: UserId) -> sqlx::Result<Vec<Token>> {
    let rows = sqlx::query!(
        "SELECT id, name, scopes, created_at, expires_at, last_used_at FROM tokens
         WHERE user_id = $1 ORDER BY id DESC",
        owner.0,
    );
    let rows = rows.fetch_all(connection).await?;
    rows.into_iter().map(|row| Ok(token!(row))).collect()
}

/// How many tokens an account has, expired ones included. The account's row is locked, so that
/// simultaneous creations are counted one after another.
pub async fn lock_and_count(connection: &mut PgConnection, owner: UserId) -> sqlx::Result<i64> {
    sqlx::query!("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", owner.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM tokens WHERE user_id = $1"#, owner.0)
        .fetch_one(connection)
        .await
}

/// The token of this SHA-256, unless it has expired or its account is not active.
pub async fn find(
    connection: &mut PgConnection,
    sha256: [u8; 32],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Bearer>> {
    let row = sqlx::query!(
        "SELECT t.id, t.scopes, t.last_used_at, t.user_id, u.credential_version
         FROM tokens t JOIN users u ON u.id = t.user_id
         WHERE t.sha256 = $1 AND u.is_active AND (t.expires_at IS NULL OR t.expires_at > $2)",
        &sha256,
        now,
    );
    let Some(row) = row.fetch_optional(connection).await? else {
        return Ok(None);
    };
    Ok(Some(Bearer {
        token: TokenId(row.id),
        scopes: Scopes::try_from(row.scopes).map_err(undecodable)?,
        login: Login {
            user: UserId(row.user_id),
            credentials: CredentialVersion(row.credential_version),
        },
        last_used_at: row.last_used_at,
    }))
}

/// Keeps when a token was used last, unless that is known to within `precision`.
pub async fn note_use(
    connection: &mut PgConnection,
    id: TokenId,
    now: DateTime<Utc>,
    precision: TimeDelta,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tokens SET last_used_at = $2
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
        id.0,
        now,
        now - precision,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Which of these tokens can no longer be used.
pub async fn ended(
    connection: &mut PgConnection,
    ids: &[TokenId],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<TokenId>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let ended = sqlx::query_scalar!(
        r#"SELECT asked.id AS "id!" FROM unnest($1::bigint[]) AS asked (id)
           WHERE NOT EXISTS (
               SELECT FROM tokens t JOIN users u ON u.id = t.user_id
               WHERE t.id = asked.id AND u.is_active AND (t.expires_at IS NULL OR t.expires_at > $2))"#,
        &ids,
        now,
    );
    Ok(ended.fetch_all(connection).await?.into_iter().map(TokenId).collect())
}

/// Revokes one of an account's tokens; whether there was one.
pub async fn delete(
    connection: &mut PgConnection,
    owner: UserId,
    id: TokenId,
) -> sqlx::Result<bool> {
    let deleted = sqlx::query!("DELETE FROM tokens WHERE id = $1 AND user_id = $2", id.0, owner.0);
    Ok(deleted.execute(connection).await?.rows_affected() == 1)
}

/// Revokes every token of an account; how many there were.
pub async fn delete_of_user(connection: &mut PgConnection, owner: UserId) -> sqlx::Result<u64> {
    let deleted =
        sqlx::query!("DELETE FROM tokens WHERE user_id = $1", owner.0).execute(connection).await?;
    Ok(deleted.rows_affected())
}

super::delete_expired!("tokens", "id", "expires_at");
