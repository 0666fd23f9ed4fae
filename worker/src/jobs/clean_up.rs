//! Deleting what has expired and repairing what crashes left. `pictier cleanup` does the same, now.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use shared::{
    db, postgres,
    storage::{ListedObject, StorageKey},
};

use crate::{Context, queue::JobError};

/// Rows deleted in one transaction.
const BATCH_ROWS: i64 = 1000;
/// Objects held against the database at a time.
const BATCH_OBJECTS: usize = 500;
const DONE_JOB_AGE: Duration = Duration::from_hours(24);
const DEAD_JOB_AGE: Duration = Duration::from_hours(14 * 24);
const GONE_WORKER_AGE: Duration = Duration::from_hours(1);

/// How many of each were dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanedUp {
    /// Links that had expired.
    pub links: u64,
    /// Sessions that had expired.
    pub sessions: u64,
    /// Counters whose window had ended.
    pub rate_limits: u64,
    /// Jobs that had ended long ago.
    pub jobs: u64,
    /// Workers that are gone.
    pub workers: u64,
    /// Thumbnails whose job was given up.
    pub failed_thumbnails: u64,
    /// Thumbnails that were pending without a job.
    pub released_thumbnails: u64,
    /// Temporary files that were left behind.
    pub temp_files: u64,
    /// Files that belonged to no row.
    pub orphans: u64,
}

impl fmt::Display for CleanedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} expired links, {} expired sessions, {} ended counters, {} ended jobs, {} gone workers, {} dead \
             thumbnails, {} thumbnails without a job, {} temporary files, {} orphaned files",
            self.links,
            self.sessions,
            self.rate_limits,
            self.jobs,
            self.workers,
            self.failed_thumbnails,
            self.released_thumbnails,
            self.temp_files,
            self.orphans,
        )
    }
}

/// Deletes, a batch at a time, what calls itself expired until there is no more of it.
macro_rules! in_batches {
    ($context:expr, |$connection:ident| $delete:expr) => {{
        let mut deleted = 0;
        loop {
            let $connection = &mut *$context.pool.acquire().await?;
            let batch: u64 = $delete.await?;
            deleted += batch;
            if batch < BATCH_ROWS.unsigned_abs() {
                break deleted;
            }
        }
    }};
}

/// Cleans up everything that there is to clean up.
pub async fn clean_up(context: &Context) -> Result<CleanedUp, JobError> {
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    let failed_thumbnails = db::thumbnails::fail_dead(&mut connection, now).await?;
    let released_thumbnails = db::thumbnails::release_jobless(&mut connection).await?;
    let workers = db::queue::delete_gone_workers(&mut connection, GONE_WORKER_AGE).await?;
    drop(connection);
    Ok(CleanedUp {
        links: in_batches!(context, |rows| db::links::delete_expired(rows, now, BATCH_ROWS)),
        sessions: in_batches!(context, |rows| db::sessions::delete_expired(rows, now, BATCH_ROWS)),
        rate_limits: in_batches!(context, |rows| db::rate_limits::delete_expired(rows, now, BATCH_ROWS)),
        jobs: in_batches!(context, |rows| db::queue::delete_ended(
            rows,
            DONE_JOB_AGE,
            DEAD_JOB_AGE,
            BATCH_ROWS
        )),
        workers,
        failed_thumbnails,
        released_thumbnails,
        temp_files: delete_temp_files(context, now).await?,
        orphans: delete_orphans(context, now).await?,
    })
}

async fn delete_temp_files(context: &Context, now: DateTime<Utc>) -> Result<u64, JobError> {
    let before = now - Duration::from_secs(context.retention.temp_file_age_seconds);
    let mut deleted = 0;
    for file in context.storage.abandoned_temp_files(before).await? {
        match tokio::fs::remove_file(&file).await {
            Ok(()) => deleted += 1,
            // another cleanup was first
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(deleted)
}

async fn delete_orphans(context: &Context, now: DateTime<Utc>) -> Result<u64, JobError> {
    let before = now - Duration::from_secs(context.retention.orphan_age_seconds);
    let is_old = |object: &ListedObject| object.last_modified <= before;
    let keys = context.storage.list().try_filter_map(|object| {
        let key = if is_old(&object) { StorageKey::parse(&object.path) } else { None };
        std::future::ready(Ok(key))
    });
    let mut batches = keys.try_chunks(BATCH_OBJECTS);
    let mut deleted = 0;
    while let Some(keys) = batches.try_next().await.map_err(|error| error.1)? {
        deleted += delete_orphans_among(context, keys).await?;
    }
    Ok(deleted)
}

/// Looks for the rows in the transaction in which the files are deleted.
async fn delete_orphans_among(context: &Context, keys: Vec<StorageKey>) -> Result<u64, JobError> {
    let mut tx = postgres::begin(&context.pool).await?;
    let orphans = db::integrity::without_row(&mut tx, keys).await?;
    let count = orphans.len() as u64;
    context.storage.delete(orphans).await?;
    tx.commit().await?;
    Ok(count)
}
