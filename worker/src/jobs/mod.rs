//! One job in a file. Each may run twice, or be killed at any point, and the next run sets things
//! right.

pub(crate) mod clean_up;
pub(crate) mod delete_account;
pub(crate) mod delete_objects;
pub(crate) mod generate_thumbnail;
pub(crate) mod orphans;

use std::{future::Future, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use shared::{
    config::ScheduleConfig,
    jobs::{CleanUp, DeleteAccount, DeleteObjects, GenerateThumbnail, Job},
};

use crate::{
    Context,
    decode_pool::DecodePool,
    queue::{HeldJob, JobError, Queues},
};

/// What jobs share in one process.
#[derive(Debug)]
pub(crate) struct JobContext {
    pub(crate) context: Context,
    pub(crate) decode_pool: DecodePool,
}

impl std::ops::Deref for JobContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// A job that a worker runs.
pub(crate) trait RunnableJob:
    Job + DeserializeOwned + Send + Sync + Unpin + 'static
{
    /// How many run at a time in one process.
    fn concurrency(_: &JobContext) -> usize {
        1
    }

    fn time_limit(context: &JobContext) -> Duration;

    fn run(
        self,
        held: HeldJob,
        context: Arc<JobContext>,
    ) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// Has the jobs of every queue run, and enqueued at their times.
pub(crate) fn register(queues: Queues, context: JobContext, schedules: ScheduleConfig) -> Queues {
    let registry = Registry { queues, context: Arc::new(context) }
        .register::<GenerateThumbnail>()
        .register::<DeleteObjects>()
        .register::<DeleteAccount>()
        .register::<CleanUp>()
        .schedule(schedules.cleanup_schedule, |tick| CleanUp { tick });
    registry.queues
}

/// Registers jobs with the queues of a process.
struct Registry {
    queues: Queues,
    context: Arc<JobContext>,
}

impl Registry {
    /// Has the jobs of this type run.
    fn register<J: RunnableJob>(self) -> Self {
        let Self { queues, context } = self;
        let (concurrency, limit) = (J::concurrency(&context), J::time_limit(&context));
        let shared = context.clone();
        let queues =
            queues.handle(concurrency, limit, move |job: J, held| job.run(held, shared.clone()));
        Self { queues, context }
    }

    /// Has a job enqueued at each tick of the schedule, in seconds since 1970, once for all
    /// processes.
    fn schedule<J: RunnableJob>(self, schedule: cron::Schedule, job_of: fn(u64) -> J) -> Self {
        let pool = self.context.pool.clone();
        let queues = self.queues.tick(J::QUEUE, schedule, move |tick| {
            let (job, pool) = (job_of(tick), pool.clone());
            async move { crate::schedule::enqueue(&job, tick, &pool).await }
        });
        Self { queues, ..self }
    }
}
