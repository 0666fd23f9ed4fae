//! Accounts, which only administrators create and change.

use serde_json::json;
use sqlx::PgConnection;

use super::{ServiceError, Services};
use crate::{
    db::{
        self,
        admin::{
            tiers::IN_USE,
            users::{ListedUser, UserChange},
        },
        users::{NewUser, USERNAME_KEY},
    },
    domain::{
        Actor, AuditAction, AuditObject, Password, Tier, TierId, UserId, Username, ValidationError,
    },
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
pub async fn set_tier(
    services: &Services,
    actor: Actor<'_>,
    ids: &[UserId],
    tier_id: TierId,
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let tier = find_tier(&mut tx, tier_id).await?;
    let locked = db::admin::users::lock(&mut tx, ids).await?;
    let moved: Vec<ListedUser> =
        locked.into_iter().filter(|user| user.tier_id != tier_id).collect();
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

pub(super) async fn lock(
    connection: &mut PgConnection,
    id: UserId,
) -> Result<ListedUser, ServiceError> {
    let locked = db::admin::users::lock(connection, &[id]).await?;
    locked.into_iter().next().ok_or(ServiceError::NotFound("user"))
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
