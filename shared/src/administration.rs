//! What administrators do, at the command line of the server or in the panel: accounts and tiers. Whatever is done
//! leaves a line in the audit trail, in the same transaction.

use serde_json::{Value, json};
use sqlx::{Acquire, PgConnection};

use crate::{
    clock::Clock,
    config::SuperuserConfig,
    db::{
        self,
        admin_actions::{Actor, AdminAction},
        tiers::NAME_KEY,
        users::{NewUser, USERNAME_KEY},
    },
    domain::{Invalid, Password, Tier, TierId, TierName, TierSpec, UserId, Username},
    passwords::{self, HashError},
};

/// The tier that administrators get when none is named: everything that is built in can be tried with it.
pub const ADMIN_TIER: &str = "Enterprise";

/// A procedure could not be carried out; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// A name or password breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is an account of this name.
    #[error("there is a user {0} already")]
    UsernameTaken(Username),
    /// There is another tier of this name.
    #[error("there is a tier {0:?} already")]
    TierNameTaken(String),
    /// There is no tier of this name.
    #[error("there is no tier {0:?}")]
    NoSuchTier(String),
    /// The tiers of a file do not fit together.
    #[error("{0}")]
    TierFile(String),
    /// Hashing failed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Adds the built-in tiers and the first superuser to a database that has none; the superuser's name when it was
/// made now.
pub async fn prepare(
    connection: &mut PgConnection,
    superuser: &SuperuserConfig,
    clock: &Clock,
) -> Result<Option<Username>, AdministrationError> {
    let mut tx = connection.begin().await?;
    // several processes may start at once: the first prepares, the others find everything there
    db::lock_preparation(&mut tx).await?;
    if db::tiers::lock_all(&mut tx).await?.is_empty() {
        for spec in TierSpec::built_in() {
            db::tiers::insert(&mut tx, &spec, clock.now()).await?;
        }
    }
    if db::users::exist(&mut tx).await? {
        tx.commit().await?;
        return Ok(None);
    }
    let username: Username = superuser.superuser_username.parse()?;
    let password = Password::of_first_superuser(superuser.superuser_password.clone())?;
    let tier = administrators_tier(&mut tx).await?;
    insert_admin(&mut tx, &username, &password, &tier, clock).await?;
    tx.commit().await?;
    Ok(Some(username))
}

/// Creates an administrator of the named tier.
pub async fn create_admin(
    connection: &mut PgConnection,
    username: &Username,
    password: &Password,
    tier: &str,
    clock: &Clock,
) -> Result<UserId, AdministrationError> {
    let mut tx = connection.begin().await?;
    let found = db::tiers::by_name(&mut tx, tier).await?;
    let tier = found.ok_or_else(|| AdministrationError::NoSuchTier(tier.to_owned()))?;
    let id = insert_admin(&mut tx, username, password, &tier, clock).await?;
    tx.commit().await?;
    Ok(id)
}

async fn administrators_tier(connection: &mut PgConnection) -> Result<Tier, AdministrationError> {
    if let Some(tier) = db::tiers::by_name(connection, ADMIN_TIER).await? {
        return Ok(tier);
    }
    let tiers = db::tiers::lock_all(connection).await?;
    tiers.into_iter().last().ok_or_else(|| AdministrationError::NoSuchTier(ADMIN_TIER.to_owned()))
}

async fn insert_admin(
    connection: &mut PgConnection,
    username: &Username,
    password: &Password,
    tier: &Tier,
    clock: &Clock,
) -> Result<UserId, AdministrationError> {
    let admin = NewUser {
        username,
        password_hash: &passwords::hash(password, &mut passwords::Memory::default())?,
        password_is_default: password.is_default(),
        tier: tier.id,
        is_admin: true,
    };
    create_user(connection, Actor::CommandLine, &admin, tier, clock).await
}

/// Creates an account, whose tier `tier` is.
pub async fn create_user(
    connection: &mut PgConnection,
    actor: Actor<'_>,
    user: &NewUser<'_>,
    tier: &Tier,
    clock: &Clock,
) -> Result<UserId, AdministrationError> {
    let inserted = db::users::insert(connection, user, clock.now()).await;
    let id = inserted.map_err(|error| match db::broken_constraint(&error) {
        Some(USERNAME_KEY) => AdministrationError::UsernameTaken(user.username.clone()),
        _ => error.into(),
    })?;
    let action = AdminAction {
        actor,
        action: "create",
        object_type: "user",
        object_id: &id.to_string(),
        object_label: user.username.as_str(),
        changes: json!({"is_admin": user.is_admin, "tier": tier.spec.name}),
    };
    db::admin_actions::record(connection, &action, clock.now()).await?;
    Ok(id)
}

/// Creates a tier; the default one takes that from the one that was.
pub async fn create_tier(
    connection: &mut PgConnection,
    actor: Actor<'_>,
    spec: &TierSpec,
    clock: &Clock,
) -> Result<TierId, AdministrationError> {
    if spec.is_default {
        db::tiers::clear_default(connection).await?;
    }
    let inserted = db::tiers::insert(connection, spec, clock.now()).await;
    let id = inserted.map_err(|error| name_taken(error, spec))?;
    record_tier(
        connection,
        actor,
        "create",
        &Tier { id, spec: spec.clone() },
        json!({ "after": spec }),
        clock,
    )
    .await?;
    Ok(id)
}

/// Makes a tier what `after` says, effective on the next request of its accounts.
pub async fn change_tier(
    connection: &mut PgConnection,
    actor: Actor<'_>,
    before: &Tier,
    after: &TierSpec,
    clock: &Clock,
) -> Result<(), AdministrationError> {
    if after.is_default && !before.spec.is_default {
        db::tiers::clear_default(connection).await?;
    }
    let updated = db::tiers::update(connection, before.id, after).await;
    updated.map_err(|error| name_taken(error, after))?;
    let changes = json!({"before": before.spec, "after": after});
    let tier = Tier { id: before.id, spec: after.clone() };
    record_tier(connection, actor, "update", &tier, changes, clock).await?;
    Ok(())
}

/// Writes down what was done to a tier.
pub async fn record_tier(
    connection: &mut PgConnection,
    actor: Actor<'_>,
    action: &str,
    tier: &Tier,
    changes: Value,
    clock: &Clock,
) -> sqlx::Result<()> {
    let action = AdminAction {
        actor,
        action,
        object_type: "tier",
        object_id: &tier.id.to_string(),
        object_label: tier.spec.name.as_str(),
        changes,
    };
    db::admin_actions::record(connection, &action, clock.now()).await
}

fn name_taken(error: sqlx::Error, spec: &TierSpec) -> AdministrationError {
    match db::broken_constraint(&error) {
        Some(NAME_KEY) => AdministrationError::TierNameTaken(spec.name.to_string()),
        _ => error.into(),
    }
}

/// What loading a tier would do.
#[derive(Debug, PartialEq, Eq)]
pub enum TierChange {
    /// There is none of this name yet.
    Create(TierSpec),
    /// One of this name is different.
    Overwrite {
        /// As it is.
        before: Tier,
        /// As the file says.
        after: TierSpec,
    },
    /// One of this name is the same.
    Keep(TierName),
}

/// What loading a file of tiers would do, tier by tier. Tiers that it does not name stay as they are.
pub fn plan_tiers(existing: &[Tier], file: Vec<TierSpec>) -> Result<Vec<TierChange>, AdministrationError> {
    let mut names = std::collections::HashSet::new();
    if let Some(twice) = file.iter().find(|spec| !names.insert(spec.name.clone())) {
        return Err(AdministrationError::TierFile(format!(
            "the file has the tier {:?} twice",
            twice.name.as_str()
        )));
    }
    if file.iter().filter(|spec| spec.is_default).count() > 1 {
        return Err(AdministrationError::TierFile("the file has more than one default tier".to_owned()));
    }
    let file_has_default = file.iter().any(|spec| spec.is_default);
    let of_name = |name: &TierName| existing.iter().find(|tier| tier.spec.name == *name);
    let lost_default = existing.iter().any(|tier| tier.spec.is_default && names.contains(&tier.spec.name));
    if lost_default && !file_has_default {
        return Err(AdministrationError::TierFile(
            "the file takes the default from a tier and gives it to none".to_owned(),
        ));
    }
    let change = |spec: TierSpec| match of_name(&spec.name) {
        None => TierChange::Create(spec),
        Some(tier) if tier.spec == spec => TierChange::Keep(spec.name),
        Some(tier) => TierChange::Overwrite { before: tier.clone(), after: spec },
    };
    Ok(file.into_iter().map(change).collect())
}

/// Carries a plan out. The caller made it in the same transaction, from tiers that it locked.
pub async fn load_tiers(
    connection: &mut PgConnection,
    plan: &[TierChange],
    clock: &Clock,
) -> Result<(), AdministrationError> {
    for change in plan {
        match change {
            TierChange::Create(spec) => {
                create_tier(connection, Actor::CommandLine, spec, clock).await?;
            }
            TierChange::Overwrite { before, after } => {
                change_tier(connection, Actor::CommandLine, before, after, clock).await?;
            }
            TierChange::Keep(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Vec<Tier> {
        let numbered = TierSpec::built_in().into_iter().zip(1..);
        numbered.map(|(spec, id)| Tier { id: TierId(id), spec }).collect()
    }

    #[test]
    fn loading_the_built_in_tiers_again_changes_nothing() {
        let plan = plan_tiers(&built_in(), TierSpec::built_in()).expect("a plan");
        assert!(plan.iter().all(|change| matches!(change, TierChange::Keep(_))));
    }

    #[test]
    fn a_tier_that_differs_is_overwritten_and_one_that_is_new_is_created() {
        let mut file = TierSpec::built_in();
        file[1].expiring_links = true;
        file[2].name = TierName::try_from("Ultimate".to_owned()).expect("a name");
        let plan = plan_tiers(&built_in(), file).expect("a plan");
        assert!(matches!(&plan[0], TierChange::Keep(name) if name.as_str() == "Basic"));
        assert!(matches!(&plan[1], TierChange::Overwrite { after, .. } if after.expiring_links));
        assert!(matches!(&plan[2], TierChange::Create(spec) if spec.name.as_str() == "Ultimate"));
    }

    #[test]
    fn a_file_names_each_tier_once() {
        let mut file = TierSpec::built_in();
        file.push(file[2].clone());
        assert!(plan_tiers(&[], file).is_err());
    }

    #[test]
    fn a_file_cannot_leave_new_users_without_a_tier() {
        let mut file = TierSpec::built_in();
        file[0].is_default = false;
        assert!(plan_tiers(&built_in(), file.clone()).is_err());
        file[1].is_default = true;
        assert!(plan_tiers(&built_in(), file).is_ok());
    }
}
