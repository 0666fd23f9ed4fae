//! `pictier load-tiers`.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use pictier::Config;
use shared::{
    db,
    domain::{Actor, Tier, TierSpec},
    services::tiers::{self, TierChange},
};

use super::{consent::Consent, services};
use crate::database::Database;

/// Creates and changes tiers as a file says, after telling what that is.
pub(crate) async fn load(
    config: &Config,
    database: &Database,
    file: &Path,
    consent: Consent,
) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let specs: Vec<TierSpec> = serde_json::from_str(&text)
        .with_context(|| format!("{} is no list of tiers", file.display()))?;
    let services = services(config, database).await?;
    let existing = db::tiers::all(&mut *services.connection().await?).await?;
    let plan = tiers::plan_changes(&existing, specs.clone())?;
    for change in &plan {
        tell(change);
    }
    let overwrites =
        plan.iter().filter(|change| matches!(change, TierChange::Overwrite { .. })).count();
    if overwrites > 0 && !consent.to(&format!("Overwrite {overwrites} tier(s)?"))? {
        return Ok(ExitCode::FAILURE);
    }
    tiers::load(&services, Actor::CommandLine, specs, &plan).await?;
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
    let mut parts = vec![format!(
        "{} px",
        if heights.is_empty() { "0".to_owned() } else { heights.join(", ") }
    )];
    parts.extend(spec.original_access.then(|| "original".to_owned()));
    parts.extend(spec.expiring_links.then(|| "expiring links".to_owned()));
    parts.push(format!("uploads up to {} bytes", spec.max_upload_bytes.as_u64()));
    parts.push(format!("{} bytes in all", spec.storage_quota_bytes.as_u64()));
    parts.extend(spec.is_default.then(|| "for new users".to_owned()));
    parts.join(", ")
}
