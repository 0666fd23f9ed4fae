//! `pictier load-tiers`.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, bail};
use shared::{
    administration::{TierChange, load_tiers, plan_tiers},
    clock::Clock,
    db,
    domain::{Tier, TierSpec},
    postgres,
};

use super::consent::Consent;
use crate::{
    cli::Config,
    database::{Database, Schema},
};

/// Creates and changes tiers as a file says, after telling what that is.
pub(crate) async fn load(
    config: &Config,
    database: &Database,
    file: &Path,
    consent: Consent,
) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let specs: Vec<TierSpec> =
        serde_json::from_str(&text).with_context(|| format!("{} is no list of tiers", file.display()))?;
    let (pool, _) = database.open(config, Schema::Expect).await?;
    let existing = db::tiers::all(&mut *pool.acquire().await?).await?;
    let plan = plan_tiers(&existing, specs.clone())?;
    for change in &plan {
        tell(change);
    }
    let overwrites = plan.iter().filter(|change| matches!(change, TierChange::Overwrite { .. })).count();
    if overwrites > 0 && !consent.to(&format!("Overwrite {overwrites} tier(s)?"))? {
        return Ok(ExitCode::FAILURE);
    }
    // nobody is asked in a transaction, so what was told may have become wrong meanwhile
    let mut tx = postgres::begin(&pool).await?;
    let existing = db::tiers::lock_all(&mut tx).await?;
    if plan_tiers(&existing, specs)? != plan {
        bail!("The tiers were changed meanwhile, and nothing was changed by this command. Run it again.");
    }
    load_tiers(&mut tx, &plan, &Clock::measured(&pool).await?).await?;
    tx.commit().await?;
    Ok(ExitCode::SUCCESS)
}

fn tell(change: &TierChange) {
    match change {
        TierChange::Keep(name) => println!("keep      {name}"),
        TierChange::Create(spec) => println!("create    {}: {}", spec.name, describe(spec)),
        TierChange::Overwrite { before: Tier { spec, .. }, after } => {
            println!("overwrite {}: {}", after.name, describe(spec));
            println!("     with {}: {}", after.name, describe(after));
        }
    }
}

fn describe(spec: &TierSpec) -> String {
    let heights: Vec<_> = spec.thumbnail_heights.iter().map(|height| height.to_string()).collect();
    let mut parts =
        vec![format!("{} px", if heights.is_empty() { "0".to_owned() } else { heights.join(", ") })];
    parts.extend(spec.original_access.then(|| "original".to_owned()));
    parts.extend(spec.expiring_links.then(|| "expiring links".to_owned()));
    parts.push(format!("uploads up to {} bytes", spec.max_upload_bytes.as_u64()));
    parts.push(format!("{} bytes in all", spec.storage_quota_bytes.as_u64()));
    parts.extend(spec.is_default.then(|| "for new users".to_owned()));
    parts.join(", ")
}
