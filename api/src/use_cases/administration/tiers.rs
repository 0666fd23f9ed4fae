//! Tiers. A change is effective on the next request of its accounts; nothing that they have is deleted.

use serde_json::json;
use shared::{
    administration,
    db::{self, admin::tiers::IN_USE},
    domain::{TierId, TierSpec, User},
    postgres,
};

use super::actor;
use crate::{
    AppState,
    error::{Code, Problem},
};

/// Creates a tier.
pub(crate) async fn create_tier(state: &AppState, admin: &User, spec: &TierSpec) -> Result<TierId, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    db::tiers::lock_changes(&mut tx).await?;
    let id = administration::create_tier(&mut tx, actor(admin), spec, &state.clock).await?;
    tx.commit().await?;
    Ok(id)
}

/// Changes a tier.
pub(crate) async fn change_tier(
    state: &AppState,
    admin: &User,
    id: TierId,
    spec: &TierSpec,
) -> Result<(), Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    db::tiers::lock_changes(&mut tx).await?;
    let before = db::admin::tiers::lock(&mut tx, id).await?.ok_or_else(|| Problem::not_found("tier"))?;
    if before.spec.is_default && !spec.is_default {
        return Err(Problem::field("default", "new users need a tier: make another one the default instead"));
    }
    administration::change_tier(&mut tx, actor(admin), &before, spec, &state.clock).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes a tier that no account has and that new users do not get.
pub(crate) async fn delete_tier(state: &AppState, admin: &User, id: TierId) -> Result<(), Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    db::tiers::lock_changes(&mut tx).await?;
    let tier = db::admin::tiers::lock(&mut tx, id).await?.ok_or_else(|| Problem::not_found("tier"))?;
    if tier.spec.is_default {
        let detail = "new users get this tier: make another one the default first";
        return Err(Problem::new(Code::TierInUse, detail));
    }
    db::admin::tiers::delete(&mut tx, id).await.map_err(|error| match db::broken_constraint(&error) {
        Some(IN_USE) => Problem::new(Code::TierInUse, "users have this tier: move them to another one first"),
        _ => error.into(),
    })?;
    let changes = json!({ "before": tier.spec });
    administration::record_tier(&mut tx, actor(admin), "delete", &tier, changes, &state.clock).await?;
    tx.commit().await?;
    Ok(())
}
