//! The first start: the built-in tiers and the first superuser.

use serde_json::json;
use sqlx::{Acquire, PgConnection};

use super::ServiceError;
use crate::{
    clock::Clock,
    config::SuperuserConfig,
    db::{self, users::NewUser},
    domain::{Actor, AuditAction, AuditEntry, AuditObject, Password, Tier, TierSpec, Username},
    passwords::{self, Memory},
};

/// The tier of administrators unless another is named: it includes everything.
pub const ADMIN_TIER: &str = "Enterprise";

/// Adds the built-in tiers and the first superuser to a database that has none. Returns the
/// superuser's name if it was created.
pub async fn prepare(
    connection: &mut PgConnection,
    superuser: &SuperuserConfig,
    clock: &Clock,
) -> Result<Option<Username>, ServiceError> {
    let mut tx = connection.begin().await?;
    // several processes may start at once: the first prepares, the others find everything there
    db::lock_preparation(&mut tx).await?;
    if db::tiers::lock_all(&mut tx).await?.is_empty() {
        for spec in TierSpec::built_in() {
            db::tiers::insert(&mut tx, &spec, clock.now()).await?;
        }
    }
    if db::users::any(&mut tx).await? {
        tx.commit().await?;
        return Ok(None);
    }
    let username: Username = superuser.superuser_username.parse()?;
    let password = Password::of_first_superuser(superuser.superuser_password.clone())?;
    insert_superuser(&mut tx, &username, &password, clock).await?;
    tx.commit().await?;
    Ok(Some(username))
}

async fn insert_superuser(
    connection: &mut PgConnection,
    username: &Username,
    password: &Password,
    clock: &Clock,
) -> Result<(), ServiceError> {
    let tier = superusers_tier(connection).await?;
    let superuser = NewUser {
        username,
        password_hash: &passwords::hash(password, &mut Memory::default())?,
        password_is_default: password.is_default(),
        tier: tier.id,
        is_admin: true,
    };
    let id = db::users::insert(connection, &superuser, clock.now()).await?;
    let entry = AuditEntry {
        actor: Actor::CommandLine,
        action: AuditAction::Create,
        object: AuditObject::user(id, username),
        changes: json!({"is_admin": true, "tier": tier.spec.name}),
    };
    db::audit_log::insert(connection, &entry, clock.now()).await?;
    Ok(())
}

async fn superusers_tier(connection: &mut PgConnection) -> Result<Tier, ServiceError> {
    if let Some(tier) = db::tiers::by_name(connection, ADMIN_TIER).await? {
        return Ok(tier);
    }
    db::tiers::lock_all(connection).await?.pop().ok_or(ServiceError::NotFound("tier"))
}
