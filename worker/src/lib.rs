//! The worker: makes thumbnails, deletes files and cleans up, as the jobs in the queue say. Any
//! number of workers share one database; none is told of the others.

mod audit;
mod backup;
mod copy_storage;
mod decode_pool;
mod jobs;
mod memory;
pub mod queue;
mod repair;
mod schedule;
mod scheduled_audit;
mod transfer;
mod verify;

use std::{sync::Arc, time::Duration};

use shared::{
    clock::Clock,
    config::{LimitsConfig, RetentionConfig, ScheduleConfig},
    log_limit::LogLimit,
    storage::Storage,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use audit::{AuditReport, audit};
pub use backup::{Backup, NewBackup, back_up};
pub use copy_storage::copy_storage;
pub use jobs::{
    clean_up::{CleanedUp, clean_up},
    orphans::{delete_unknown_originals, unknown_originals},
};
pub use queue::host_name;
pub use repair::{RepairPlan, Repaired, plan_repair, repair, retry_failed};
pub use transfer::{TransferError, TransferReport};
pub use verify::{VerifyReport, verify};

use crate::{
    decode_pool::DecodePool,
    jobs::JobContext,
    memory::MemoryBudget,
    queue::{Queues, WorkerError},
    scheduled_audit::audit_by,
};

#[derive(Clone, Debug)]
pub struct Worker {
    /// The database; of at least `concurrency` and [`shared::config::WORKER_EXTRA_CONNECTIONS`]
    /// connections.
    pub pool: PgPool,
    pub storage: Storage,
    pub clock: Clock,
    pub limits: LimitsConfig,
    /// How long obsolete data are kept.
    pub retention: RetentionConfig,
    /// Thumbnails made at a time.
    pub concurrency: usize,
    /// MiB that decodes may use at a time; half of the machine's when it is not said.
    pub memory_mib: Option<u64>,
    /// Between two signs of life; after four missed ones the jobs go to another worker.
    pub heartbeat: Duration,
    /// When jobs by the clock run.
    pub schedules: ScheduleConfig,
}

#[derive(Clone, Debug)]
pub struct Context {
    pub pool: PgPool,
    pub storage: Storage,
    pub clock: Clock,
    /// How long obsolete data are kept.
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
    /// Works until `stop`; then jobs that run get 25 s to end. The database may be away meanwhile,
    /// however long.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let context = Context::new(self.pool, self.storage, self.clock, self.retention);
        let memory = MemoryBudget::new(self.memory_mib);
        let decode_pool = DecodePool::new(
            self.concurrency,
            memory,
            self.limits.decode_time(),
            self.limits.imaging(),
        );
        tokio::spawn(context.clock.clone().follow(context.pool.clone(), stop.clone()));
        if let Some(schedule) = self.schedules.audit_schedule.clone() {
            tokio::spawn(audit_by(schedule, context.clone(), stop.clone()));
        }
        let queues = Queues::new(context.pool.clone(), self.heartbeat, stop.clone());
        tracing::info!(thumbnails_at_a_time = self.concurrency, "working");

        jobs::register(queues, JobContext { context, decode_pool }, self.schedules).run(stop).await
    }
}
