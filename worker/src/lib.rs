//! The worker: makes thumbnails, deletes files and cleans up, as the jobs in the queue say. Any number of workers
//! share one database; none is told of the others.

mod audit;
mod decode_pool;
mod jobs;
mod memory;
pub mod queue;
mod repair;
mod schedule;

use std::{sync::Arc, time::Duration};

use shared::{
    clock::Clock,
    config::{LimitsConfig, RetentionConfig},
    jobs::{CleanUp, DeleteObjects, GenerateThumbnail},
    log_limit::LogLimit,
    storage::Storage,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use audit::{AuditReport, audit};
pub use jobs::{
    clean_up::{CleanedUp, clean_up},
    orphans::{delete_unknown_originals, unknown_originals},
};
pub use queue::host_name;
pub use repair::{RepairPlan, Repaired, plan_repair, repair, retry_failed};
pub use schedule::{ScheduleError, parse_schedule};

use crate::{
    decode_pool::DecodePool,
    jobs::{delete_objects::delete_objects, generate_thumbnail::generate_thumbnail},
    memory::MemoryBudget,
    queue::{Queues, WorkerError},
};

/// A thumbnail's job gets so many times the CPU time of a decode, as it may be tried once more alone, on busy cores.
const DECODE_TIMES: u32 = 4;
/// Besides decoding, a thumbnail's job reads and writes files: it gets this much longer.
const FILE_TIME: Duration = Duration::from_secs(40);
const DELETION_LIMIT: Duration = Duration::from_mins(1);
const CLEANUP_LIMIT: Duration = Duration::from_mins(10);

/// A worker, ready to run.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The database; of at least `concurrency` and 6 more connections.
    pub pool: PgPool,
    /// Where files are.
    pub storage: Storage,
    /// The time.
    pub clock: Clock,
    /// Limits.
    pub limits: LimitsConfig,
    /// How long what is no longer needed stays.
    pub retention: RetentionConfig,
    /// Thumbnails made at a time.
    pub concurrency: usize,
    /// MiB that decodes may use at a time; half of the machine's when it is not said.
    pub memory_mib: Option<u64>,
    /// Between two signs of life; after four missed ones the jobs go to another worker.
    pub heartbeat: Duration,
    /// When the cleanup runs.
    pub cleanup_schedule: cron::Schedule,
}

/// What jobs need.
#[derive(Clone, Debug)]
pub struct Context {
    /// The database.
    pub pool: PgPool,
    /// Where files are.
    pub storage: Storage,
    /// The time.
    pub clock: Clock,
    /// How long what is no longer needed stays.
    pub retention: RetentionConfig,
    /// Bounds the lines that say that the store does not belong to the database.
    pub ownership_log: Arc<LogLimit>,
}

impl Context {
    /// What jobs need, for a database and the store that belongs to it.
    pub fn new(pool: PgPool, storage: Storage, clock: Clock, retention: RetentionConfig) -> Self {
        Self { pool, storage, clock, retention, ownership_log: Arc::default() }
    }
}

impl Worker {
    /// Works until `stop`; then jobs that run get 25 s to end. The database may be away meanwhile, however long.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let context = Context::new(self.pool.clone(), self.storage, self.clock, self.retention);
        let decode_limit = self.limits.decode_time();
        let decode_pool = DecodePool::new(
            self.concurrency,
            MemoryBudget::new(self.memory_mib),
            decode_limit,
            self.limits.imaging(),
        );
        let thumbnail_limit = decode_limit * DECODE_TIMES + FILE_TIME;
        tokio::spawn(context.clock.clone().follow(self.pool.clone(), stop.clone()));
        let queues = Queues::new(self.pool, self.heartbeat, stop.clone());
        tracing::info!(thumbnails_at_a_time = self.concurrency, "working");

        let (thumbnails, deletion, cleanup) = (Arc::new(context.clone()), context.clone(), context.clone());
        queues
            .handle(self.concurrency, thumbnail_limit, move |_: GenerateThumbnail, job| {
                generate_thumbnail(job, thumbnails.clone(), decode_pool.clone())
            })
            .handle(1, DELETION_LIMIT, move |job: DeleteObjects, _| delete_objects(job, deletion.clone()))
            .handle(1, CLEANUP_LIMIT, move |job: CleanUp, _| {
                let context = cleanup.clone();
                async move {
                    let cleaned_up = clean_up(&context).await?;
                    tracing::info!(tick = job.tick, "cleaned up: {cleaned_up}");
                    Ok(())
                }
            })
            .tick(self.cleanup_schedule, move |tick| schedule::enqueue_clean_up(tick, context.pool.clone()))
            .run(stop)
            .await
    }
}
