//! `pictier backup`, `restore` and `copy-storage`.

use std::{path::Path, process::ExitCode};

use pictier::{Config, Process, service};
use shared::{config::StoragePlace, services::Services, storage::Storage};
use worker::{Backup, Context};

use super::{exit_code, maintenance, progress::Progress, services};
use crate::database::Database;

/// Backs everything up; fails when a file is missing or damaged.
pub(crate) async fn back_up(
    config: &Config,
    database: &Database,
    dir: &Path,
) -> anyhow::Result<ExitCode> {
    let context = maintenance::context(config, database).await?;
    let progress = Progress::of_files(&context.pool, None).await?;
    let backup = worker::back_up(&context, dir, &|objects| progress.advance(objects)).await?;
    progress.finish();
    print!("{}", backup.report);
    println!("The backup is {}.", dir.join(backup.name).display());
    Ok(exit_code(backup.report.is_clean()))
}

/// Restores a backup and looks at what it restored; fails when something is missing or damaged.
pub(crate) async fn restore(
    config: &Config,
    database: &Database,
    dir: &Path,
    name: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let backup = Backup::open(dir, name)?;
    let Services { pool, storage, .. } =
        service::open_services(config, database.connect().await?).await?;
    let progress = Progress::start(backup.objects(), "files");
    let restored = backup.restore(&pool, &storage, &|objects| progress.advance(objects)).await?;
    progress.finish();
    println!("The backup {} is restored:", backup.name());
    print!("{restored}");

    let context = Process::open(config.clone(), pool).await?.job_context();
    let progress = Progress::of_files(&context.pool, None).await?;
    let verified = worker::verify(&context, None, &|objects| progress.advance(objects)).await?;
    progress.finish();
    let audited = worker::audit(&context).await?;
    println!("What pictier verify finds:");
    print!("{verified}");
    println!("What pictier audit finds:");
    print!("{audited}");
    Ok(exit_code(restored.is_clean() && verified.is_clean() && audited.is_clean()))
}

/// Copies all files to another storage; fails when one is missing or damaged.
pub(crate) async fn copy_storage(
    config: &Config,
    database: &Database,
    from: &StoragePlace,
    to: &StoragePlace,
) -> anyhow::Result<ExitCode> {
    let Services { pool, clock, .. } = services(config, database).await?;
    let [from, to] = [from, to].map(|place| Storage::open(&config.storage.at(place)));
    let (context, to) = (Context::new(pool, from?, clock, config.retention), to?);
    let progress = Progress::of_files(&context.pool, None).await?;
    let report = worker::copy_storage(&context, &to, &|objects| progress.advance(objects)).await?;
    progress.finish();
    print!("{report}");
    println!("{} belongs to the installation now. Change the storage settings.", to.place());
    Ok(exit_code(report.is_clean()))
}
