//! Deleting an account that was closed, with everything that it has.

use std::{sync::Arc, time::Duration};

use shared::{
    domain::UserId,
    jobs::{self, DeleteAccount, JobId},
    postgres,
    services::account_deletion::{self, Progress},
};

use super::{JobContext, RunnableJob};
use crate::{
    Context,
    queue::{HeldJob, JobError},
};

/// Images deleted in one transaction.
const BATCH_IMAGES: i64 = 500;
/// After so many batches a job ends and leaves the rest to a new one, so that other accounts get
/// their turn.
const BATCHES_PER_JOB: usize = 40;
/// Entries of the audit log changed in one transaction.
const BATCH_ENTRIES: i64 = 1000;

impl RunnableJob for DeleteAccount {
    fn time_limit(_: &JobContext) -> Duration {
        Duration::from_mins(10)
    }

    /// Each batch is a transaction, so a run that was killed is gone on with, and a second one finds
    /// nothing to do.
    async fn run(self, _: HeldJob, context: Arc<JobContext>) -> Result<(), JobError> {
        let user = self.user;
        loop {
            if let Images::Remain = delete_images(&context, user).await? {
                return Ok(());
            }
            remove_name(&context, user).await?;
            let mut tx = postgres::begin(&context.pool).await?;
            if let Progress::Gone = account_deletion::finish(&mut tx, user).await? {
                tx.commit().await?;
                tracing::info!(%user, "deleted an account");
                return Ok(());
            }
        }
    }
}

/// How far a job came with the images.
enum Images {
    Gone,
    /// Another job deletes them.
    Remain,
}

async fn delete_images(context: &Context, user: UserId) -> Result<Images, JobError> {
    let mut last = None;
    for batch in 1.. {
        let mut tx = postgres::begin(&context.pool).await?;
        last = account_deletion::delete_images(&mut tx, user, last, BATCH_IMAGES).await?;
        if last.is_none() {
            break;
        }
        let is_last_batch = batch == BATCHES_PER_JOB;
        if is_last_batch {
            jobs::enqueue(&mut tx, JobId::fresh(), &DeleteAccount { user }).await?;
        }
        tx.commit().await?;
        tracing::info!(%user, batch, "deleted images of a closed account");
        if is_last_batch {
            return Ok(Images::Remain);
        }
    }
    Ok(Images::Gone)
}

async fn remove_name(context: &Context, user: UserId) -> Result<(), JobError> {
    let mut last = None;
    loop {
        let mut connection = context.pool.acquire().await?;
        last = account_deletion::remove_name(&mut connection, user, last, BATCH_ENTRIES).await?;
        if last.is_none() {
            return Ok(());
        }
    }
}
