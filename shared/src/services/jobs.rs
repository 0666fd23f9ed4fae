//! Jobs of the queue: retrying and discarding them.

use serde_json::json;
use sqlx::PgConnection;

use super::{ServiceError, Services};
use crate::{
    db::{
        self,
        admin::jobs::{ChangedJob, JobState},
    },
    domain::{Actor, AuditAction, AuditObject},
};

/// The most jobs that one call retries: each of them is an entry of the audit log.
pub(super) const RETRY_MAX: i64 = 1000;

#[derive(Clone, Debug)]
pub enum Selection {
    Ids(Vec<String>),
    /// The first 1,000 in a state.
    All {
        state: JobState,
        queue: Option<String>,
    },
}

/// Makes failed and dead jobs due now; returns how many.
pub async fn retry(
    services: &Services,
    actor: Actor<'_>,
    selection: &Selection,
) -> Result<u64, ServiceError> {
    let now = services.clock.now();
    let mut tx = services.begin().await?;
    let retried = match selection {
        Selection::Ids(ids) => db::admin::jobs::retry(&mut tx, ids, now).await?,
        Selection::All { state, queue } => {
            db::admin::jobs::retry_all(&mut tx, *state, queue.as_deref(), RETRY_MAX, now).await?
        }
    };
    record(services, &mut tx, actor, AuditAction::Retry, &retried).await?;
    tx.commit().await?;
    Ok(retried.len() as u64)
}

/// Deletes jobs that no worker runs; returns how many.
pub async fn discard(
    services: &Services,
    actor: Actor<'_>,
    ids: &[String],
) -> Result<u64, ServiceError> {
    let mut tx = services.begin().await?;
    let discarded = db::admin::jobs::discard(&mut tx, ids).await?;
    record(services, &mut tx, actor, AuditAction::Discard, &discarded).await?;
    tx.commit().await?;
    Ok(discarded.len() as u64)
}

async fn record(
    services: &Services,
    connection: &mut PgConnection,
    actor: Actor<'_>,
    action: AuditAction,
    jobs: &[ChangedJob],
) -> sqlx::Result<()> {
    for job in jobs {
        let object = AuditObject::job(&job.id, &job.queue);
        services.record(connection, actor, action, object, json!({})).await?;
    }
    Ok(())
}
