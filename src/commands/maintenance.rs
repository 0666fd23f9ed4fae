//! `pictier cleanup`, `audit`, `repair`, `retry-failed` and `adopt-storage`.

use std::process::ExitCode;

use futures::TryStreamExt;
use pictier::{Config, Process};
use shared::{db, installation, services::Services, storage::StorageError};
use worker::Context;

use super::{consent::Consent, exit_code, progress::Progress, services};
use crate::database::{Database, Schema};

/// What the hourly job does, now.
pub(crate) async fn clean_up(config: &Config, database: &Database) -> anyhow::Result<()> {
    let cleaned_up = worker::clean_up(&context(config, database).await?).await?;
    println!("{cleaned_up}");
    Ok(())
}

/// Lists the originals that nothing in the database names, asks, and deletes them.
pub(crate) async fn delete_unknown_originals(
    config: &Config,
    database: &Database,
    consent: Consent,
) -> anyhow::Result<ExitCode> {
    let context = context(config, database).await?;
    let unknown = worker::unknown_originals(&context).await?;
    for key in &unknown {
        println!("{key}");
    }
    if unknown.is_empty() {
        println!("The database names every original in {}.", context.storage.place());
        return Ok(ExitCode::SUCCESS);
    }
    let question =
        format!("Delete these {} originals from {}?", unknown.len(), context.storage.place());
    if !consent.to(&question)? {
        return Ok(ExitCode::FAILURE);
    }
    println!("Deleted {} originals.", worker::delete_unknown_originals(&context, unknown).await?);
    Ok(ExitCode::SUCCESS)
}

/// Prints what is wrong; fails when anything is.
pub(crate) async fn audit(config: &Config, database: &Database) -> anyhow::Result<ExitCode> {
    let report = worker::audit(&context(config, database).await?).await?;
    print!("{report}");
    Ok(exit_code(report.is_clean()))
}

/// Compares files with their rows; fails when one differs.
pub(crate) async fn verify(
    config: &Config,
    database: &Database,
    sample: Option<u32>,
) -> anyhow::Result<ExitCode> {
    let context = context(config, database).await?;
    let progress = Progress::of_files(&context.pool, sample).await?;
    let report = worker::verify(&context, sample, &|objects| progress.advance(objects)).await?;
    progress.finish();
    print!("{report}");
    Ok(exit_code(report.is_clean()))
}

/// Says what can be mended, asks, and mends it. Fails when only a backup can mend the rest.
pub(crate) async fn repair(
    config: &Config,
    database: &Database,
    consent: Consent,
) -> anyhow::Result<ExitCode> {
    let context = context(config, database).await?;
    let plan = worker::plan_repair(&context).await?;
    print!("{plan}");
    if !plan.is_empty() {
        if !consent.to("Do this?")? {
            return Ok(ExitCode::FAILURE);
        }
        println!("Done: {}.", worker::repair(&context, &plan).await?);
    }
    Ok(if plan.needs_backup() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Has thumbnails that failed tried again.
pub(crate) async fn retry_failed(
    config: &Config,
    database: &Database,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let retried = worker::retry_failed(&context(config, database).await?, reason).await?;
    println!("{retried} thumbnails are tried again.");
    Ok(())
}

/// Shows what the database and the storage hold, asks, and makes them a pair.
pub(crate) async fn adopt_storage(
    config: &Config,
    database: &Database,
    consent: Consent,
) -> anyhow::Result<ExitCode> {
    let Services { pool, storage, .. } = services(config, database).await?;
    let images = db::installation::count_images(&mut *pool.acquire().await?).await?;
    let originals =
        storage.list_originals().try_fold(0_u64, |count, _| async move { Ok(count + 1) }).await?;
    let marker = match storage.read_marker().await {
        Ok(None) => "no marker".to_owned(),
        Ok(Some(marker)) => format!("the marker of installation {}", marker.installation),
        Err(StorageError::BadMarker { error, .. }) => format!("a damaged marker ({error})"),
        Err(error) => return Err(error.into()),
    };
    println!("The database has {images} images.");
    println!("{} has {originals} originals and {marker}.", storage.place());
    println!("Compared: {}.", installation::compare(&pool, &storage).await?);
    println!(
        "Cleanups of this database will delete thumbnails from the storage that it does not know."
    );
    if !consent.to("Does this storage belong to this database?")? {
        return Ok(ExitCode::FAILURE);
    }
    installation::adopt(&pool, &storage).await?;
    println!("The storage belongs to this database now.");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn context(config: &Config, database: &Database) -> anyhow::Result<Context> {
    let (pool, _) = database.open(config, Schema::Expect).await?;
    Ok(Process::open(config.clone(), pool).await?.job_context())
}
