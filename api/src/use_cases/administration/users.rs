//! Accounts: nobody registers, administrators make them.

use serde_json::{Value, json};
use shared::{
    administration,
    db::{
        self,
        admin::users::{ListedUser, UserChange},
        users::{NewUser, USERNAME_KEY},
    },
    domain::{Password, Tier, TierId, User, UserId, Username},
    postgres,
};
use sqlx::PgConnection;

use super::{Done, actor, record};
use crate::{AppState, error::Problem};

/// What an administrator says of an account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) username: Username,
    pub(crate) tier: TierId,
    pub(crate) is_admin: bool,
    pub(crate) is_active: bool,
}

/// Creates an account.
pub(crate) async fn create_user(
    state: &AppState,
    admin: &User,
    account: &Account,
    password: Password,
) -> Result<UserId, Problem> {
    let hash = state.passwords.hash(password).await?;
    let mut tx = postgres::begin(&state.pool).await?;
    let tier = tier(&mut tx, account.tier).await?;
    let new = NewUser {
        username: &account.username,
        password_hash: &hash,
        password_is_default: false,
        tier: tier.id,
        is_admin: account.is_admin,
    };
    let id = administration::create_user(&mut tx, actor(admin), &new, &tier, &state.clock).await?;
    if !account.is_active {
        db::users::deactivate(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Changes an account, effective on its next request. One that is deactivated loses its sessions.
pub(crate) async fn change_user(
    state: &AppState,
    admin: &User,
    id: UserId,
    account: &Account,
) -> Result<(), Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    db::admin::users::lock_administrators(&mut tx).await?;
    let before = lock(&mut tx, id).await?;
    let tier = tier(&mut tx, account.tier).await?;
    let change = UserChange {
        username: &account.username,
        tier: account.tier,
        is_admin: account.is_admin,
        is_active: account.is_active,
    };
    let updated = db::admin::users::update(&mut tx, id, &change).await;
    updated.map_err(|error| match db::broken_constraint(&error) {
        Some(USERNAME_KEY) => {
            Problem::field("username", format!("there is a user {} already", account.username))
        }
        _ => error.into(),
    })?;
    if before.is_admin && before.is_active && db::admin::users::count_active_admins(&mut tx).await? == 0 {
        return Err(Problem::field(
            "is_admin",
            "this is the last active administrator; make another one first",
        ));
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
    record_user(&mut tx, state, admin, "update", id, &account.username, changes).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives an account a new password and ends its sessions.
pub(crate) async fn set_password(
    state: &AppState,
    admin: &User,
    id: UserId,
    password: Password,
) -> Result<(), Problem> {
    let hash = state.passwords.hash(password).await?;
    let mut tx = postgres::begin(&state.pool).await?;
    let user = lock(&mut tx, id).await?;
    db::users::set_password(&mut tx, id, &hash, false).await?;
    let ended = db::sessions::delete_of_user(&mut tx, id).await?;
    let changes = json!({"password": "changed", "ended_sessions": ended});
    record_user(&mut tx, state, admin, "set password", id, &user.username, changes).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends all sessions of an account; how many there were.
pub(crate) async fn end_sessions(state: &AppState, admin: &User, id: UserId) -> Result<u64, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let user = lock(&mut tx, id).await?;
    let ended = db::sessions::delete_of_user(&mut tx, id).await?;
    let changes = json!({ "ended_sessions": ended });
    record_user(&mut tx, state, admin, "sign out", id, &user.username, changes).await?;
    tx.commit().await?;
    Ok(ended)
}

/// Moves accounts to another tier, effective on their next requests; how many had another one.
pub(crate) async fn set_tier(
    state: &AppState,
    admin: &User,
    ids: &[UserId],
    tier_id: TierId,
) -> Result<u64, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let tier = tier(&mut tx, tier_id).await?;
    let locked = db::admin::users::lock(&mut tx, ids).await?;
    let moved: Vec<ListedUser> = locked.into_iter().filter(|user| user.tier_id != tier_id).collect();
    let moved_ids: Vec<UserId> = moved.iter().map(|user| user.id).collect();
    db::admin::users::set_tier(&mut tx, &moved_ids, tier_id).await?;
    for user in &moved {
        let changes = json!({"before": {"tier": user.tier_name}, "after": {"tier": tier.spec.name}});
        record_user(&mut tx, state, admin, "update", user.id, &user.username, changes).await?;
    }
    tx.commit().await?;
    Ok(moved.len() as u64)
}

async fn lock(connection: &mut PgConnection, id: UserId) -> Result<ListedUser, Problem> {
    let locked = db::admin::users::lock(connection, &[id]).await?;
    locked.into_iter().next().ok_or_else(|| Problem::not_found("user"))
}

async fn tier(connection: &mut PgConnection, id: TierId) -> Result<Tier, Problem> {
    let found = db::admin::tiers::find(connection, id).await?;
    found.ok_or_else(|| Problem::field("tier", "there is no such tier any more"))
}

async fn record_user(
    connection: &mut PgConnection,
    state: &AppState,
    admin: &User,
    action: &str,
    id: UserId,
    username: &Username,
    changes: Value,
) -> sqlx::Result<()> {
    let done = Done {
        action,
        object_type: "user",
        object_id: id.to_string(),
        object_label: username.as_str(),
        changes,
    };
    record(connection, state, admin, done).await
}
