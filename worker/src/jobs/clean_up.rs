//! Deleting what has expired and repairing what crashes left. `pictier cleanup` does the same, now.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use shared::{
    db,
    installation::{self, InstallationError},
    jobs::{self, CleanUp, DeleteAccount, JobId},
    metrics::CLEANUP_DELETED,
    services::idempotency,
};

use sqlx::PgConnection;

use super::{
    JobContext, RunnableJob,
    orphans::{delete_abandoned_uploads, delete_orphans},
};
use crate::{
    Context,
    queue::{HeldJob, JobError},
};

/// Rows deleted in one transaction.
const BATCH_ROWS: i64 = 1000;
const DONE_JOB_AGE: Duration = Duration::from_hours(24);
const DEAD_JOB_AGE: Duration = Duration::from_hours(14 * 24);
/// Clients that have not asked for so long start anew.
const CHANGE_AGE: Duration = Duration::from_hours(7 * 24);
/// Owners see meanwhile why a token is refused.
const EXPIRED_TOKEN_AGE: Duration = Duration::from_hours(30 * 24);
const GONE_WORKER_AGE: Duration = Duration::from_hours(1);

impl RunnableJob for CleanUp {
    fn time_limit(_: &JobContext) -> Duration {
        Duration::from_mins(10)
    }

    async fn run(self, _: HeldJob, context: Arc<JobContext>) -> Result<(), JobError> {
        let cleaned_up = clean_up(&context).await?;
        for (kind, count) in cleaned_up.by_kind() {
            CLEANUP_DELETED.add([kind], count);
        }
        tracing::info!(tick = self.tick, "cleaned up: {cleaned_up}");
        Ok(())
    }
}

/// How many of each were dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanedUp {
    /// Links that had expired.
    pub links: u64,
    /// Sessions that had expired.
    pub sessions: u64,
    /// Tokens that expired more than 30 days ago.
    pub tokens: u64,
    /// Changes that are no longer kept for clients.
    pub changes: u64,
    /// Idempotency keys whose outcomes are no longer kept.
    pub idempotency_keys: u64,
    /// Counters whose window had ended.
    pub rate_limits: u64,
    /// Shares of the queue that say nothing any longer.
    pub shares: u64,
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
    /// Originals of uploads that were interrupted.
    pub abandoned_uploads: u64,
    /// Thumbnails' files that no row named.
    pub orphans: u64,
    /// Closed accounts whose deletion had no job any more; they have a new one.
    pub resumed_deletions: u64,
}

impl CleanedUp {
    /// The counts, as metrics name their kinds.
    fn by_kind(&self) -> [(&'static str, u64); 15] {
        [
            ("links", self.links),
            ("sessions", self.sessions),
            ("tokens", self.tokens),
            ("changes", self.changes),
            ("idempotency_keys", self.idempotency_keys),
            ("rate_limits", self.rate_limits),
            ("queue_shares", self.shares),
            ("jobs", self.jobs),
            ("workers", self.workers),
            ("failed_thumbnails", self.failed_thumbnails),
            ("jobless_thumbnails", self.released_thumbnails),
            ("temp_files", self.temp_files),
            ("interrupted_uploads", self.abandoned_uploads),
            ("orphans", self.orphans),
            ("resumed_deletions", self.resumed_deletions),
        ]
    }
}

impl fmt::Display for CleanedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} expired links, {} expired sessions, {} expired tokens, {} old changes, {} old idempotency keys, \
             {} ended counters, {} spent shares, {} ended jobs, {} gone workers, {} dead thumbnails, {} thumbnails \
             without a job, {} temporary files, {} interrupted uploads, {} orphaned files, \
             {} resumed deletions of accounts",
            self.links,
            self.sessions,
            self.tokens,
            self.changes,
            self.idempotency_keys,
            self.rate_limits,
            self.shares,
            self.jobs,
            self.workers,
            self.failed_thumbnails,
            self.released_thumbnails,
            self.temp_files,
            self.abandoned_uploads,
            self.orphans,
            self.resumed_deletions,
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

/// Cleans up everything that there is to clean up, if the store belongs to this database.
pub async fn clean_up(context: &Context) -> Result<CleanedUp, JobError> {
    renew_generation(context).await?;
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    let failed_thumbnails = db::thumbnails::fail_dead(&mut connection, now).await?;
    let released_thumbnails = db::thumbnails::release_jobless(&mut connection).await?;
    let resumed_deletions = resume_deletions(&mut connection).await?;
    let workers = db::queue::delete_gone_workers(&mut connection, GONE_WORKER_AGE).await?;
    drop(connection);
    Ok(CleanedUp {
        links: in_batches!(context, |rows| db::links::delete_expired(rows, now, BATCH_ROWS)),
        sessions: in_batches!(context, |rows| db::sessions::delete_expired(rows, now, BATCH_ROWS)),
        tokens: in_batches!(context, |rows| db::tokens::delete_expired(
            rows,
            now - EXPIRED_TOKEN_AGE,
            BATCH_ROWS
        )),
        changes: in_batches!(context, |rows| db::changes::delete_old(rows, CHANGE_AGE, BATCH_ROWS)),
        idempotency_keys: in_batches!(context, |rows| db::idempotency::delete_old(
            rows,
            idempotency::LIFETIME,
            BATCH_ROWS
        )),
        rate_limits: in_batches!(context, |rows| db::rate_limits::delete_expired(
            rows, now, BATCH_ROWS
        )),
        shares: in_batches!(context, |rows| db::queue::delete_spent_shares(rows, BATCH_ROWS)),
        jobs: in_batches!(context, |rows| db::queue::delete_ended(
            rows,
            DONE_JOB_AGE,
            DEAD_JOB_AGE,
            BATCH_ROWS
        )),
        workers,
        failed_thumbnails,
        released_thumbnails,
        temp_files: delete_temp_files(context).await?,
        abandoned_uploads: delete_abandoned_uploads(context).await?,
        orphans: delete_orphans(context).await?,
        resumed_deletions,
    })
}

/// Enqueues the deletions of closed accounts whose job was given up or discarded; how many.
async fn resume_deletions(connection: &mut PgConnection) -> Result<u64, JobError> {
    let closed = db::users::closed_without_job(connection, BATCH_ROWS).await?;
    for user in &closed {
        jobs::enqueue(connection, JobId::fresh(), &DeleteAccount { user: *user }).await?;
    }
    Ok(closed.len() as u64)
}

async fn renew_generation(context: &Context) -> Result<(), JobError> {
    let renewed = installation::renew_generation(&context.pool, &context.storage).await;
    if let Err(error) = &renewed
        && !matches!(error, InstallationError::Database(_))
        && context.ownership_log.allows()
    {
        tracing::error!("nothing is cleaned up: {error}");
    }
    Ok(renewed?)
}

/// Temporary files of a certain age, which killed processes left on the local disk.
pub(crate) async fn abandoned_temp_files(context: &Context) -> Result<Vec<PathBuf>, JobError> {
    let age = Duration::from_secs(context.retention.temp_file_age_seconds);
    Ok(context.storage.abandoned_temp_files(age).await?)
}

/// Deletes what killed processes left on the local disk. `pictier repair` does the same.
pub(crate) async fn delete_temp_files(context: &Context) -> Result<u64, JobError> {
    let mut deleted = 0;
    for file in abandoned_temp_files(context).await? {
        match tokio::fs::remove_file(&file).await {
            Ok(()) => deleted += 1,
            // another cleanup was first
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(deleted)
}
