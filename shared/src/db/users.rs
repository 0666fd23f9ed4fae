//! Accounts.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{signed, tiers::joined_tier, undecodable, unsigned};
use crate::{
    domain::{CredentialVersion, Login, PasswordHash, TierId, User, UserId, Username},
    jobs::{DeleteAccount, Job},
};

/// What logging in needs of an account.
#[derive(Debug)]
pub struct Credentials {
    /// What checking the password proves.
    pub login: Login,
    pub password_hash: PasswordHash,
    /// Whether the account may log in.
    pub is_active: bool,
}

/// An account to be made.
#[derive(Debug)]
pub struct NewUser<'a> {
    pub username: &'a Username,
    pub password_hash: &'a PasswordHash,
    /// Whether everybody knows the password.
    pub password_is_default: bool,
    pub tier: TierId,
    pub is_admin: bool,
}

/// The unique index that refuses a second account of one name, whatever its case.
pub const USERNAME_KEY: &str = "users_username_key";

/// Adds an account.
///
/// # Errors
/// [`USERNAME_KEY`] when there is one of this name.
pub async fn insert(
    connection: &mut PgConnection,
    user: &NewUser<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<UserId> {
    let id = sqlx::query_scalar!(
        "INSERT INTO users (username, password_hash, password_is_default, tier_id, is_admin, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         RETURNING id",
        user.username.as_str(),
        user.password_hash.as_str(),
        user.password_is_default,
        user.tier.0,
        user.is_admin,
        now,
    );
    Ok(UserId(id.fetch_one(connection).await?))
}

/// What is needed to check a login.
pub async fn credentials(
    connection: &mut PgConnection,
    username: &Username,
) -> sqlx::Result<Option<Credentials>> {
    let row = sqlx::query!(
        "SELECT id, password_hash, credential_version, is_active FROM users WHERE lower(username) = lower($1)",
        username.as_str()
    );
    let row = row.fetch_optional(connection).await?;
    Ok(row.map(|row| Credentials {
        login: Login {
            user: UserId(row.id),
            credentials: CredentialVersion(row.credential_version),
        },
        password_hash: row.password_hash.into(),
        is_active: row.is_active,
    }))
}

/// The account of a login, with its tier as it is now; none when it was deactivated or its password
/// was changed.
pub async fn active(connection: &mut PgConnection, login: Login) -> sqlx::Result<Option<User>> {
    let row = sqlx::query!(
        "SELECT u.id, u.username, u.is_admin, u.used_bytes, u.password_is_default,
                t.id AS tier_id, t.name AS tier_name, t.is_default, t.thumbnail_heights, t.original_access,
                t.expiring_links, t.max_upload_bytes, t.storage_quota_bytes
         FROM users u JOIN tiers t ON t.id = u.tier_id
         WHERE u.id = $1 AND u.credential_version = $2 AND u.is_active",
        login.user.0,
        login.credentials.0,
    );
    let Some(row) = row.fetch_optional(connection).await? else {
        return Ok(None);
    };
    Ok(Some(User {
        id: UserId(row.id),
        username: Username::try_from(row.username).map_err(undecodable)?,
        is_admin: row.is_admin,
        used_bytes: unsigned(row.used_bytes)?,
        password_is_default: row.password_is_default,
        tier: joined_tier!(row)?,
    }))
}

/// Whether there is any account at all.
pub async fn any(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM users) AS "exist!""#)
        .fetch_one(connection)
        .await
}

/// The names of administrators who can log in with the password that everybody knows.
pub async fn admins_with_default_password(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT username FROM users WHERE is_admin AND is_active AND password_is_default ORDER BY id"
    )
    .fetch_all(connection)
    .await
}

/// Adds an original's size to what the account uses, unless that would be more than `quota` bytes
/// or the account was closed; whether it did.
pub async fn reserve_bytes(
    connection: &mut PgConnection,
    id: UserId,
    bytes: u64,
    quota: u64,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        "UPDATE users SET used_bytes = used_bytes + $2
         WHERE id = $1 AND closed_at IS NULL AND used_bytes + $2 <= $3",
        id.0,
        signed::<_, i64>(bytes)?,
        signed::<_, i64>(quota)?,
    );
    Ok(updated.execute(connection).await?.rows_affected() == 1)
}

/// Takes an original's size off what the account uses.
pub async fn release_bytes(
    connection: &mut PgConnection,
    id: UserId,
    bytes: u64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET used_bytes = used_bytes - $2 WHERE id = $1",
        id.0,
        signed::<_, i64>(bytes)?
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives the account a new password, which ends every login with the old one.
pub async fn set_password(
    connection: &mut PgConnection,
    id: UserId,
    password_hash: &PasswordHash,
    password_is_default: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users
         SET password_hash = $2, password_is_default = $3, credential_version = credential_version + 1
         WHERE id = $1",
        id.0,
        password_hash.as_str(),
        password_is_default,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// As [`set_password`], unless the credentials of the login were replaced since; the login with the
/// new ones.
pub async fn replace_password(
    connection: &mut PgConnection,
    login: Login,
    password_hash: &PasswordHash,
    password_is_default: bool,
) -> sqlx::Result<Option<Login>> {
    let version = sqlx::query_scalar!(
        "UPDATE users
         SET password_hash = $3, password_is_default = $4, credential_version = credential_version + 1
         WHERE id = $1 AND credential_version = $2
         RETURNING credential_version",
        login.user.0,
        login.credentials.0,
        password_hash.as_str(),
        password_is_default,
    );
    let version = version.fetch_optional(connection).await?;
    Ok(version.map(|version| Login { credentials: CredentialVersion(version), ..login }))
}

/// Keeps the account from logging in, and ends its logins, those that are being checked among them.
pub async fn deactivate(connection: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET is_active = false, credential_version = credential_version + 1 WHERE id = $1",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves the account to another tier, effective on its next request.
pub async fn set_tier(connection: &mut PgConnection, id: UserId, tier: TierId) -> sqlx::Result<()> {
    sqlx::query!("UPDATE users SET tier_id = $2 WHERE id = $1", id.0, tier.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Closes accounts for good: nobody can log in to them, and their logins end, those that are being
/// checked among them.
pub async fn close(
    connection: &mut PgConnection,
    ids: &[UserId],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        "UPDATE users
         SET closed_at = $2, is_active = false, credential_version = credential_version + 1
         WHERE id = ANY ($1) AND closed_at IS NULL",
        &ids,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether an account was closed, or is gone.
pub async fn is_closed(connection: &mut PgConnection, id: UserId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (SELECT FROM users WHERE id = $1 AND closed_at IS NULL) AS "is_closed!""#,
        id.0
    )
    .fetch_one(connection)
    .await
}

/// The name of a closed account, which is locked until the transaction ends: nothing that names the
/// account is committed meanwhile. `None` for an open account and for one that is gone.
pub async fn lock_closed(
    connection: &mut PgConnection,
    id: UserId,
) -> sqlx::Result<Option<Username>> {
    let name = sqlx::query_scalar!(
        "SELECT username FROM users WHERE id = $1 AND closed_at IS NOT NULL FOR UPDATE",
        id.0
    );
    let name = name.fetch_optional(connection).await?;
    name.map(Username::try_from).transpose().map_err(undecodable)
}

/// Deletes a closed account that has no images, and with it its sessions.
pub async fn delete_closed(connection: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM users WHERE id = $1 AND closed_at IS NOT NULL", id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// At most `limit` closed accounts that no job is going to delete.
pub async fn closed_without_job(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<UserId>> {
    let ids = sqlx::query_scalar!(
        "SELECT u.id FROM users u
         WHERE u.closed_at IS NOT NULL
           AND NOT EXISTS (
               SELECT FROM apalis.jobs j
               WHERE j.job_type = $1
                 AND (j.status IN ('Pending', 'Queued', 'Running')
                      OR (j.status = 'Failed' AND j.attempts < j.max_attempts))
                 AND (convert_from(j.job, 'UTF8')::jsonb ->> 'user')::bigint = u.id)
         ORDER BY u.id LIMIT $2",
        DeleteAccount::QUEUE,
        limit,
    );
    Ok(ids.fetch_all(connection).await?.into_iter().map(UserId).collect())
}
