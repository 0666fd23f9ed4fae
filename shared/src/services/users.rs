//! Accounts, which only administrators create and change. Deleting one closes it at once; a job does
//! the rest ([`account_deletion`](super::account_deletion)).

use serde_json::json;
use sqlx::PgConnection;

use super::{ServiceError, Services};
use crate::{
    db::{
        self,
        admin::{
            tiers::IN_USE,
            users::{CascadeFigures, ListedUser, UserChange},
        },
        users::{NewUser, USERNAME_KEY},
    },
    domain::{
        Actor, AuditAction, AuditObject, Password, Tier, TierId, UserId, Username, ValidationError,
    },
    jobs::{self, DeleteAccount, JobId},
};

/// The fields of an account that an administrator sets.
#[derive(Clone, Debug)]
pub struct Account {
    pub username: Username,
    pub tier: TierId,
    /// Whether it may use the admin panel.
    pub is_admin: bool,
    /// Whether it can log in.
    pub is_active: bool,
}

pub async fn create(
    services: &Services,
    actor: Actor<'_>,
    account: &Account,
    password: Password,
) -> Result<UserId, ServiceError> {
    let password_is_default = password.is_default();
    let hash = services.passwords.hash(password).await?;
    let mut tx = services.begin().await?;
    let tier = find_tier(&mut tx, account.tier).await?;
    let new = NewUser {
        username: &account.username,
        password_hash: &hash,
        password_is_default,
        tier: tier.id,
        is_admin: account.is_admin,
    };
    let inserted = db::users::insert(&mut tx, &new, services.clock.now()).await;
    let id = inserted.map_err(|error| broken_rule(error, &account.username))?;
    let changes = json!({
        "is_admin": account.is_admin, "is_active": account.is_active, "tier": tier.spec.name,
    });
    let object = AuditObject::user(id, &account.username);
    services.record(&mut tx, actor, AuditAction::Create, object, changes).await?;
    if !account.is_active {
        db::users::deactivate(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Changes an account from its next request on. A deactivated one loses its sessions.
pub async fn change(
    services: &Services,
    actor: Actor<'_>,
    id: UserId,
    account: &Account,
) -> Result<(), ServiceError> {
    let mut tx = services.begin().await?;
    db::admin::users::lock_administrators(&mut tx).await?;
    let before = lock(&mut tx, id).await?;
    let tier = find_tier(&mut tx, account.tier).await?;
    let change = UserChange {
        username: &account.username,
        tier: account.tier,
        is_admin: account.is_admin,
        is_active: account.is_active,
    };
    let updated = db::admin::users::update(&mut tx, id, &change).await;
    updated.map_err(|error| broken_rule(error, &account.username))?;
    if before.is_admin
        && before.is_active
        && db::admin::users::count_active_admins(&mut tx).await? == 0
    {
        let rule = "This is the last active administrator. Create another one first.";
        return Err(ValidationError::new("is_admin", rule).into());
    }
    if !account.is_active {
        db::sessions::delete_of_user(&mut tx, id).await?;
    }
    let changes = json!({
        "before": {
            "username": before.username, "tier": before.tier_name,
            "is_admin": before.is_admin, "is_active": before.is_active,
        },
        "after": {
            "username": account.username, "tier": tier.spec.name,
            "is_admin": account.is_admin, "is_active": account.is_active,
        },
    });
    let object = AuditObject::user(id, &account.username);
    services.record(&mut tx, actor, AuditAction::Update, object, changes).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives an account a new password and ends its sessions.
pub async fn set_password(
    services: &Services,
    actor: Actor<'_>,
    id: UserId,
    password: Password,
) -> Result<(), ServiceError> {
    let hash = services.passwords.hash(password).await?;
    let mut tx = services.begin().await?;
    let user = lock(&mut tx, id).await?;
    db::users::set_password(&mut tx, id, &hash, false).await?;
    let ended = db::sessions::delete_of_user(&mut tx, id).await?;
    let changes = json!({"password": "changed", "ended_sessions": ended});
    let object = AuditObject::user(id, &user.username);
    services.record(&mut tx, actor, AuditAction::SetPassword, object, changes).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends all sessions of an account; returns how many there were.
pub async fn end_sessions(
    services: &Services,
    actor: Actor<'_>,
    id: UserId,
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let user = lock(&mut tx, id).await?;
    let ended = db::sessions::delete_of_user(&mut tx, id).await?;
    let changes = json!({ "ended_sessions": ended });
    let object = AuditObject::user(id, &user.username);
    services.record(&mut tx, actor, AuditAction::SignOut, object, changes).await?;
    tx.commit().await?;
    Ok(ended)
}

/// Moves accounts to another tier from their next requests on; returns how many had another one.
/// Those that are being deleted stay as they are.
pub async fn set_tier(
    services: &Services,
    actor: Actor<'_>,
    ids: &[UserId],
    tier_id: TierId,
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let tier = find_tier(&mut tx, tier_id).await?;
    let locked = db::admin::users::lock(&mut tx, ids).await?;
    let has_another = |user: &ListedUser| user.tier_id != tier_id && user.closed_at.is_none();
    let moved: Vec<ListedUser> = locked.into_iter().filter(has_another).collect();
    let moved_ids: Vec<UserId> = moved.iter().map(|user| user.id).collect();
    // the tier may have been deleted since it was read
    let set = db::admin::users::set_tier(&mut tx, &moved_ids, tier_id).await;
    set.map_err(|error| match db::broken_constraint(&error) {
        Some(IN_USE) => tier_gone().into(),
        _ => ServiceError::from(error),
    })?;
    for user in &moved {
        let changes =
            json!({"before": {"tier": user.tier_name}, "after": {"tier": tier.spec.name}});
        let object = AuditObject::user(user.id, &user.username);
        services.record(&mut tx, actor, AuditAction::Update, object, changes).await?;
    }
    tx.commit().await?;
    Ok(moved.len() as u64)
}

/// An account with what goes with it when it is deleted.
#[derive(Debug)]
pub struct Cascade {
    pub user: ListedUser,
    pub figures: CascadeFigures,
}

/// What [`delete`] would delete; accounts that are being deleted already, or are gone, are left out.
pub async fn cascades(services: &Services, ids: &[UserId]) -> Result<Vec<Cascade>, ServiceError> {
    let mut connection = services.connection().await?;
    let mut users = db::admin::users::find_all(&mut connection, ids).await?;
    users.retain(|user| user.closed_at.is_none());
    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    let now = services.clock.now();
    let figures = db::admin::users::cascade_figures(&mut connection, &ids, now).await?;
    let with_figures = users.into_iter().zip(figures);
    Ok(with_figures.map(|(user, figures)| Cascade { user, figures }).collect())
}

/// Closes accounts for good; jobs delete what they have. Accounts that are being deleted already, or
/// are gone, are left out; returns how many were closed.
pub async fn delete(
    services: &Services,
    actor: Actor<'_>,
    ids: &[UserId],
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let closed = close(services, &mut tx, actor, ids).await?;
    tx.commit().await?;
    Ok(closed)
}

/// As [`delete`], in the caller's transaction.
pub(super) async fn close(
    services: &Services,
    connection: &mut PgConnection,
    actor: Actor<'_>,
    ids: &[UserId],
) -> Result<u64, ServiceError> {
    db::admin::users::lock_administrators(connection).await?;
    let mut users = db::admin::users::lock(connection, ids).await?;
    users.retain(|user| user.closed_at.is_none());
    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    db::users::close(connection, &ids, services.clock.now()).await?;
    let had_administrator = users.iter().any(|user| user.is_admin && user.is_active);
    if had_administrator && db::admin::users::count_active_admins(connection).await? == 0 {
        return Err(ServiceError::LastAdministrator);
    }
    for user in &users {
        let ended = db::sessions::delete_of_user(connection, user.id).await?;
        let revoked = db::tokens::delete_of_user(connection, user.id).await?;
        let changes = json!({
            "tier": user.tier_name, "is_admin": user.is_admin, "used_bytes": user.used_bytes,
            "ended_sessions": ended, "revoked_tokens": revoked,
        });
        let object = AuditObject::user(user.id, &user.username);
        services.record(connection, actor, AuditAction::Delete, object, changes).await?;
        jobs::enqueue(connection, JobId::fresh(), &DeleteAccount { user: user.id }).await?;
    }
    Ok(users.len() as u64)
}

pub(super) async fn lock(
    connection: &mut PgConnection,
    id: UserId,
) -> Result<ListedUser, ServiceError> {
    let locked = db::admin::users::lock(connection, &[id]).await?;
    let user = locked.into_iter().next().ok_or(ServiceError::NotFound("user"))?;
    if user.closed_at.is_some() {
        return Err(ServiceError::AccountClosed);
    }
    Ok(user)
}

async fn find_tier(connection: &mut PgConnection, id: TierId) -> Result<Tier, ServiceError> {
    let found = db::admin::tiers::find(connection, id).await?;
    Ok(found.ok_or_else(tier_gone)?)
}

fn tier_gone() -> ValidationError {
    ValidationError::new("tier", "This tier no longer exists.")
}

fn broken_rule(error: sqlx::Error, username: &Username) -> ServiceError {
    match db::broken_constraint(&error) {
        Some(USERNAME_KEY) => {
            ValidationError::new("username", format!("There is already a user {username}.")).into()
        }
        Some(IN_USE) => tier_gone().into(),
        _ => error.into(),
    }
}
