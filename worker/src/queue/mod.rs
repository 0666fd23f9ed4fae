//! The queue: apalis and apalis-postgres 1.0.0, with a guard for each of their behaviours that
//! would lose a job, run one twice, or wait. What each guard answers stands beside it; a test fails
//! without it.

mod error;
mod guard;
mod supervisor;
mod wake;

use std::{future::Future, time::Duration};

use apalis::prelude::{
    BoxDynError, PollWith, TaskId, WorkerBuilder, WorkerBuilderExt, WorkerContext,
};
use apalis_cron::{CronScheduler, Tick};
use apalis_postgres::{Config, PostgresStorage};
use futures::FutureExt;
use serde::de::DeserializeOwned;
use shared::{
    db,
    jobs::{Job, JobId, StoredJob},
};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

pub use self::error::{JobError, Trouble, WorkerError};
use self::{
    guard::{guarded, measured, start_counts},
    supervisor::{Pulse, Supervised, supervise},
    wake::{Notices, PollSchedule},
};

/// After so many missed signs of life a worker counts as dead, and its jobs go to another.
const MISSED_HEARTBEATS: usize = 4;
/// Acknowledgements that apalis buffers are four for each job of a batch. At a stop nothing reads
/// them until the last job has ended, so all jobs that run must fit. Our `get_jobs` takes one job
/// at a time whatever the batch is.
const BATCH_FOR_EACH_JOB: usize = 2;
/// The server ends a statement whose client is gone within this time, or has committed it.
const LATE_POLL_TIME: Duration = Duration::from_millis(200);
const TICK_LIMIT: Duration = Duration::from_secs(30);

/// A job as its handler gets it.
#[derive(Clone, Debug)]
pub struct HeldJob {
    /// The job's id.
    pub id: JobId,
    /// The name of the worker that holds it.
    pub worker: String,
}

/// Queues of one process, and the handlers of their jobs.
pub struct Queues {
    pool: PgPool,
    heartbeat: Duration,
    name: String,
    notices: Notices,
    workers: Vec<Supervised>,
}

impl Queues {
    /// No queues yet. One connection listens for all of them until `stop`.
    pub fn new(pool: PgPool, heartbeat: Duration, stop: CancellationToken) -> Self {
        let notices = Notices::listen(&pool, stop);
        Self { pool, heartbeat, name: process_name(), notices, workers: Vec::new() }
    }

    /// Handles the jobs of a queue, `concurrency` at a time, each within `limit`.
    #[must_use]
    pub fn handle<J, H, F>(mut self, concurrency: usize, limit: Duration, handler: H) -> Self
    where
        J: Job + DeserializeOwned + Send + Sync + Unpin + 'static,
        H: Fn(J, HeldJob) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let (pool, notices, heartbeat) = (self.pool.clone(), self.notices.clone(), self.heartbeat);
        start_counts(J::QUEUE);
        let missed = u32::try_from(MISSED_HEARTBEATS).unwrap_or(u32::MAX);
        let pulse = Pulse { pool: self.pool.clone(), limit: heartbeat * missed };
        self.supervise(J::QUEUE, Some(pulse), move |context| {
            let (handler, worker) = (handler.clone(), context.name().to_owned());
            let handle = move |stored: StoredJob<J>, task: TaskId| {
                let StoredJob { job, request_id } = stored;
                let request_id = request_id.map(tracing::field::display);
                let span = tracing::info_span!("job", queue = J::QUEUE, id = %task, request_id);
                let held = JobId::of_task(&task).map(|id| HeldJob { id, worker: worker.clone() });
                let running = held.map(|held| measured(J::QUEUE, limit, handler(job, held)));
                async move { running.ok_or(JobError::ForeignId)?.await.map_err(BoxDynError::from) }
                    .instrument(span)
            };
            WorkerBuilder::new(context)
                .backend(backend::<J>(&pool, heartbeat, concurrency, &notices))
                .concurrency(concurrency)
                .build(handle)
                .run()
                .boxed()
        });
        self
    }

    /// Calls `on_tick` whenever the schedule says, in every process that has it. `name` tells
    /// schedules apart.
    #[must_use]
    pub fn tick<H, F>(mut self, name: &str, schedule: cron::Schedule, on_tick: H) -> Self
    where
        H: Fn(u64) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.supervise(&format!("tick-{name}"), None, move |context| {
            let on_tick = on_tick.clone();
            let handle = move |tick: Tick| {
                let ticked = guarded("tick", TICK_LIMIT, on_tick(tick.get_timestamp()));
                async move { ticked.await.map_err(BoxDynError::from) }
            };
            let backend = CronScheduler::new(schedule.clone());
            WorkerBuilder::new(context).backend(backend).build(handle).run().boxed()
        });
        self
    }

    fn supervise<S>(&mut self, queue: &str, pulse: Option<Pulse>, start: S)
    where
        S: Fn(WorkerContext) -> supervisor::Running + Send + 'static,
    {
        self.workers.push(Supervised {
            name: format!("{}-{queue}", self.name),
            pulse,
            start: Box::new(start),
        });
    }

    /// Works until `stop`; then jobs that run get 25 s to end, and those that have not go back to
    /// their queues.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let mut workers = JoinSet::new();
        for worker in self.workers {
            workers.spawn(supervise(worker, stop.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        release(&self.pool, &self.name).await;
        // a poll that was under way when its worker stopped may have taken a job a moment later
        tokio::time::sleep(LATE_POLL_TIME).await;
        release(&self.pool, &self.name).await;
        Ok(())
    }
}

/// At a stop, gives back what this process holds, so that others need not find out that it is gone.
async fn release(pool: &PgPool, process: &str) {
    let released = async { db::queue::release(&mut *pool.acquire().await?, process).await };
    match released.await {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(jobs, "returned jobs that did not end before the stop"),
        Err(error) => {
            tracing::warn!(%error, "cannot return jobs; other workers will take them over");
        }
    }
}

fn backend<J>(
    pool: &PgPool,
    heartbeat: Duration,
    concurrency: usize,
    notices: &Notices,
) -> PollWith<PostgresStorage<StoredJob<J>>, PollSchedule>
where
    J: Job + Send + Sync + Unpin + 'static,
{
    let config = Config::default()
        .queue(J::QUEUE)
        .batch_size(concurrency.saturating_mul(BATCH_FOR_EACH_JOB))
        // another write for each job, which says nothing that 'Queued' does not; on a row that
        // somebody has locked it would end the worker
        .lock_tasks(false)
        // the default finds a dead worker's jobs after five minutes
        .heartbeat_interval(heartbeat)
        .missed_heartbeats(MISSED_HEARTBEATS);
    let storage = PostgresStorage::<StoredJob<J>>::new(pool).with_config(config);
    PollWith::new(storage, PollSchedule::new(notices.subscribe(J::QUEUE)))
}

/// Unique for each start of a process: the host's name for people, and random bits.
fn process_name() -> String {
    format!("{}-{}", host_name(), Uuid::now_v7())
}

/// The host's name, with which the names of its workers start.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
