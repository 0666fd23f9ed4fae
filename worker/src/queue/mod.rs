//! The queue: apalis and apalis-postgres 1.0.0, with a guard for each of their behaviours that would lose a job, run
//! one twice, or wait. What each guard answers stands beside it; a test fails without it.

mod guard;
mod wake;

use std::{future::Future, time::Duration};

use apalis::prelude::{
    BoxDynError, Monitor, MonitorError, PollWith, TaskId, WorkerBuilder, WorkerBuilderExt,
};
use apalis_cron::{CronScheduler, Tick};
use apalis_postgres::{Config, PostgresStorage};
use serde::de::DeserializeOwned;
use shared::jobs::{Job, JobId};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    guard::guarded,
    wake::{Notices, Wake},
};

/// After so many missed signs of life a worker counts as dead, and its jobs go to another.
const MISSED_HEARTBEATS: usize = 4;
/// Jobs that run at a stop get this long to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);

/// A job did not succeed and will be tried again, until its attempts are used up.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The job itself failed.
    #[error("{0}")]
    Failed(String),
    /// The job panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The job was enqueued by somebody else, in another way.
    #[error("its id is not a ULID")]
    ForeignId,
    /// The job took longer than it may.
    #[error("took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// The worker cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the queue ended: {0}")]
pub struct WorkerError(#[from] MonitorError);

/// Queues of one process, and the handlers of their jobs.
pub struct Queues {
    pool: PgPool,
    heartbeat: Duration,
    name: String,
    notices: Notices,
    monitor: Monitor,
}

impl Queues {
    /// No queues yet. One connection listens for all of them until `stop`.
    pub fn new(pool: PgPool, heartbeat: Duration, stop: CancellationToken) -> Self {
        // apalis ends a worker whose poll failed, as all polls do while the database is away: start another in its
        // place, however often
        let monitor = Monitor::new().shutdown_timeout(SHUTDOWN_LIMIT).should_restart(|worker, error| {
            tracing::warn!(worker = worker.name(), %error, "a queue's worker ended; starting another");
            true
        });
        let notices = Notices::listen(pool.clone(), stop);
        Self { pool, heartbeat, name: process_name(), notices, monitor }
    }

    /// Handles the jobs of a queue, each with its id, `concurrency` at a time, each within `limit`.
    #[must_use]
    pub fn handle<J, H, F>(mut self, concurrency: usize, limit: Duration, handler: H) -> Self
    where
        J: Job + DeserializeOwned + Send + Sync + Unpin + 'static,
        H: Fn(J, JobId) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let (pool, notices, heartbeat) = (self.pool.clone(), self.notices.clone(), self.heartbeat);
        let name = format!("{}-{}", self.name, J::QUEUE);
        self.monitor = self.monitor.register(move |restarts| {
            let handler = handler.clone();
            // a name that was used before would inherit the heartbeat of the dead, and its jobs with it
            WorkerBuilder::new(format!("{name}-{restarts}"))
                .backend(backend::<J>(&pool, heartbeat, &notices))
                .concurrency(concurrency)
                .build(move |job: J, task: TaskId| {
                    let id = JobId::of_task(&task).ok_or(JobError::ForeignId);
                    let guarded = id.map(|id| guarded(J::QUEUE, limit, handler(job, id)));
                    async move { guarded?.await.map_err(BoxDynError::from) }
                })
        });
        self
    }

    /// Calls `on_tick` whenever the schedule says, in every process that has it.
    #[must_use]
    pub fn tick<H, F>(mut self, schedule: cron::Schedule, on_tick: H) -> Self
    where
        H: Fn(u64) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let name = format!("{}-tick", self.name);
        self.monitor = self.monitor.register(move |restarts| {
            let on_tick = on_tick.clone();
            WorkerBuilder::new(format!("{name}-{restarts}"))
                .backend(CronScheduler::new(schedule.clone()))
                .build(move |tick: Tick| {
                    let ticked = guarded("tick", TICK_LIMIT, on_tick(tick.get_timestamp()));
                    async move { ticked.await.map_err(BoxDynError::from) }
                })
        });
        self
    }

    /// Works until `stop`; then jobs that run get 25 s to end.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let stopped = async move {
            stop.cancelled().await;
            Ok(())
        };
        self.monitor.run_with_signal(stopped).await?;
        Ok(())
    }
}

const TICK_LIMIT: Duration = Duration::from_secs(30);

fn backend<J>(pool: &PgPool, heartbeat: Duration, notices: &Notices) -> PollWith<PostgresStorage<J>, Wake>
where
    J: Job + Send + Sync + Unpin + 'static,
{
    let config = Config::default()
        .queue(J::QUEUE)
        // a larger batch hoards jobs: while some wait in the buffer the heartbeat stops, and live workers' jobs were
        // seen to run twice
        .batch_size(1)
        // the default finds a dead worker's jobs after five minutes
        .heartbeat_interval(heartbeat)
        .missed_heartbeats(MISSED_HEARTBEATS);
    let storage = PostgresStorage::<J>::new(pool).with_config(config);
    PollWith::new(storage, Wake::new(notices.subscribe(J::QUEUE)))
}

/// Unique for each start of a process: the host's name for people, and random bits.
fn process_name() -> String {
    format!("{}-{}", host_name(), Uuid::now_v7())
}

/// The host's name, with which the names of its workers start.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
