//! Tiers. A change takes effect on the next request of the tier's accounts; nothing that they own
//! is deleted.

use std::collections::HashSet;

use serde_json::json;
use sqlx::PgConnection;

use super::{ServiceError, Services};
use crate::{
    db::{self, admin::tiers::IN_USE, tiers::NAME_KEY},
    domain::{Actor, AuditAction, AuditObject, Tier, TierId, TierName, TierSpec, ValidationError},
};

/// Creates a tier. A default tier replaces the previous default.
pub async fn create(
    services: &Services,
    actor: Actor<'_>,
    spec: &TierSpec,
) -> Result<TierId, ServiceError> {
    let mut tx = services.begin().await?;
    db::tiers::lock_changes(&mut tx).await?;
    let id = insert(services, &mut tx, actor, spec).await?;
    tx.commit().await?;
    Ok(id)
}

async fn insert(
    services: &Services,
    connection: &mut PgConnection,
    actor: Actor<'_>,
    spec: &TierSpec,
) -> Result<TierId, ServiceError> {
    if spec.is_default {
        clear_default(services, connection, actor).await?;
    }
    let inserted = db::tiers::insert(connection, spec, services.clock.now()).await;
    let id = inserted.map_err(|error| name_taken(error, spec))?;
    let tier = Tier { id, spec: spec.clone() };
    let object = AuditObject::tier(&tier);
    let changes = json!({ "after": spec });
    services.record(connection, actor, AuditAction::Create, object, changes).await?;
    Ok(id)
}

/// Changes a tier. A default tier stays the default until another one becomes it.
pub async fn change(
    services: &Services,
    actor: Actor<'_>,
    id: TierId,
    spec: &TierSpec,
) -> Result<(), ServiceError> {
    let mut tx = services.begin().await?;
    db::tiers::lock_changes(&mut tx).await?;
    let before =
        db::admin::tiers::lock(&mut tx, id).await?.ok_or(ServiceError::NotFound("tier"))?;
    if before.spec.is_default && !spec.is_default {
        let rule = "New users need a tier. Make another one the default instead.";
        return Err(ValidationError::new("default", rule).into());
    }
    update(services, &mut tx, actor, &before, spec).await?;
    tx.commit().await?;
    Ok(())
}

async fn update(
    services: &Services,
    connection: &mut PgConnection,
    actor: Actor<'_>,
    before: &Tier,
    after: &TierSpec,
) -> Result<(), ServiceError> {
    if after.is_default && !before.spec.is_default {
        clear_default(services, connection, actor).await?;
    }
    let updated = db::tiers::update(connection, before.id, after).await;
    updated.map_err(|error| name_taken(error, after))?;
    let changes = json!({"before": before.spec, "after": after});
    let tier = Tier { id: before.id, spec: after.clone() };
    services
        .record(connection, actor, AuditAction::Update, AuditObject::tier(&tier), changes)
        .await?;
    Ok(())
}

/// Deletes a tier that no account has and that is not the default.
pub async fn delete(services: &Services, actor: Actor<'_>, id: TierId) -> Result<(), ServiceError> {
    let mut tx = services.begin().await?;
    db::tiers::lock_changes(&mut tx).await?;
    let tier = db::admin::tiers::lock(&mut tx, id).await?.ok_or(ServiceError::NotFound("tier"))?;
    if tier.spec.is_default {
        let reason = "New users get this tier. Make another one the default first.";
        return Err(ServiceError::TierInUse(reason));
    }
    db::admin::tiers::delete(&mut tx, id).await.map_err(|error| {
        match db::broken_constraint(&error) {
            Some(IN_USE) => {
                ServiceError::TierInUse("Users have this tier. Move them to another one first.")
            }
            _ => error.into(),
        }
    })?;
    let object = AuditObject::tier(&tier);
    let changes = json!({ "before": tier.spec });
    services.record(&mut tx, actor, AuditAction::Delete, object, changes).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes the default from the tier that has it.
async fn clear_default(
    services: &Services,
    connection: &mut PgConnection,
    actor: Actor<'_>,
) -> sqlx::Result<()> {
    let tiers = db::tiers::all(connection).await?;
    db::tiers::clear_default(connection).await?;
    let Some(before) = tiers.into_iter().find(|tier| tier.spec.is_default) else {
        return Ok(());
    };
    let after = TierSpec { is_default: false, ..before.spec.clone() };
    let changes = json!({"before": before.spec, "after": after});
    services
        .record(connection, actor, AuditAction::Update, AuditObject::tier(&before), changes)
        .await
}

fn name_taken(error: sqlx::Error, spec: &TierSpec) -> ServiceError {
    match db::broken_constraint(&error) {
        Some(NAME_KEY) => ValidationError::new(
            "name",
            format!("There is already a tier {:?}.", spec.name.as_str()),
        )
        .into(),
        _ => error.into(),
    }
}

/// What loading a tier would do.
#[derive(Debug, PartialEq, Eq)]
pub enum TierChange {
    /// No tier has this name.
    Create(TierSpec),
    /// One of this name is different.
    Overwrite {
        before: Tier,
        /// As the file says.
        after: TierSpec,
    },
    /// One of this name is the same.
    Keep(TierName),
}

/// What loading a file of tiers would do, tier by tier. Tiers that it does not name stay as they
/// are.
pub fn plan_changes(
    existing: &[Tier],
    file: Vec<TierSpec>,
) -> Result<Vec<TierChange>, ServiceError> {
    let mut names = HashSet::new();
    if let Some(twice) = file.iter().find(|spec| !names.insert(spec.name.clone())) {
        return Err(ServiceError::TierFile(format!(
            "The file has the tier {:?} twice.",
            twice.name.as_str()
        )));
    }
    if file.iter().filter(|spec| spec.is_default).count() > 1 {
        return Err(ServiceError::TierFile("The file has more than one default tier.".to_owned()));
    }
    let file_has_default = file.iter().any(|spec| spec.is_default);
    let of_name = |name: &TierName| existing.iter().find(|tier| tier.spec.name == *name);
    let lost_default =
        existing.iter().any(|tier| tier.spec.is_default && names.contains(&tier.spec.name));
    if lost_default && !file_has_default {
        return Err(ServiceError::TierFile("The file leaves no tier as the default.".to_owned()));
    }
    let change = |spec: TierSpec| match of_name(&spec.name) {
        None => TierChange::Create(spec),
        Some(tier) if tier.spec == spec => TierChange::Keep(spec.name),
        Some(tier) => TierChange::Overwrite { before: tier.clone(), after: spec },
    };
    Ok(file.into_iter().map(change).collect())
}

/// Creates and changes the tiers of a file, if that is still what `plan` says; nobody is asked
/// inside a transaction.
pub async fn load(
    services: &Services,
    actor: Actor<'_>,
    file: Vec<TierSpec>,
    plan: &[TierChange],
) -> Result<(), ServiceError> {
    let mut tx = services.begin().await?;
    if plan_changes(&db::tiers::lock_all(&mut tx).await?, file)? != plan {
        let reason = "The tiers were changed meanwhile, and nothing was changed by this command. Run it again.";
        return Err(ServiceError::TierFile(reason.to_owned()));
    }
    for change in plan {
        match change {
            TierChange::Create(spec) => {
                insert(services, &mut tx, actor, spec).await?;
            }
            TierChange::Overwrite { before, after } => {
                update(services, &mut tx, actor, before, after).await?;
            }
            TierChange::Keep(_) => {}
        }
    }
    tx.commit().await?;
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
        let plan = plan_changes(&built_in(), TierSpec::built_in()).expect("a plan");
        assert!(plan.iter().all(|change| matches!(change, TierChange::Keep(_))));
    }

    #[test]
    fn a_tier_that_differs_is_overwritten_and_one_that_is_new_is_created() {
        let mut file = TierSpec::built_in();
        file[1].expiring_links = true;
        file[2].name = TierName::try_from("Ultimate".to_owned()).expect("a name");
        let plan = plan_changes(&built_in(), file).expect("a plan");
        assert!(matches!(&plan[0], TierChange::Keep(name) if name.as_str() == "Basic"));
        assert!(matches!(&plan[1], TierChange::Overwrite { after, .. } if after.expiring_links));
        assert!(matches!(&plan[2], TierChange::Create(spec) if spec.name.as_str() == "Ultimate"));
    }

    #[test]
    fn a_file_names_each_tier_once() {
        let mut file = TierSpec::built_in();
        file.push(file[2].clone());
        assert!(plan_changes(&[], file).is_err());
    }

    #[test]
    fn a_file_cannot_leave_new_users_without_a_tier() {
        let mut file = TierSpec::built_in();
        file[0].is_default = false;
        assert!(plan_changes(&built_in(), file.clone()).is_err());
        file[1].is_default = true;
        assert!(plan_changes(&built_in(), file).is_ok());
    }
}
