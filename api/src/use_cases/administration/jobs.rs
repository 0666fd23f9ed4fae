//! Trying jobs again, and giving them up.

use serde_json::json;
use shared::{
    db::{
        self,
        admin::jobs::{ChangedJob, JobState},
    },
    domain::User,
    jobs, postgres,
};
use sqlx::PgConnection;

use super::{Done, record};
use crate::{AppState, error::Problem};

/// Jobs that one request tries again: each of them is a line in the audit trail.
const RETRY_MAX_JOBS: i64 = 1000;

/// Which jobs.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// These.
    Ids(Vec<String>),
    /// The first thousand of a state, in one queue or all.
    All { state: JobState, queue: Option<String> },
}

/// Has jobs that failed or were given up tried again at once; how many.
pub(crate) async fn retry_jobs(
    state: &AppState,
    admin: &User,
    selection: &Selection,
) -> Result<u64, Problem> {
    let now = state.clock.now();
    let mut tx = postgres::begin(&state.pool).await?;
    let retried = match selection {
        Selection::Ids(ids) => db::admin::jobs::retry(&mut tx, ids, now).await?,
        Selection::All { state, queue } => {
            db::admin::jobs::retry_all(&mut tx, *state, queue.as_deref(), RETRY_MAX_JOBS, now).await?
        }
    };
    record_jobs(&mut tx, state, admin, "retry", &retried).await?;
    tx.commit().await?;
    Ok(retried.len() as u64)
}

/// Has thumbnails that failed for this reason tried again, at most a thousand; how many.
pub(crate) async fn retry_failed_thumbnails(
    state: &AppState,
    admin: &User,
    reason: &str,
) -> Result<u64, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let now = state.clock.now();
    let retried = jobs::retry_failed_thumbnails(&mut tx, Some(reason), RETRY_MAX_JOBS, now).await?;
    if retried > 0 {
        let done = Done {
            action: "retry",
            object_type: "thumbnails",
            object_id: String::new(),
            object_label: reason,
            changes: json!({ "count": retried }),
        };
        record(&mut tx, state, admin, done).await?;
    }
    tx.commit().await?;
    Ok(retried)
}

/// Deletes jobs that no worker has; how many.
pub(crate) async fn discard_jobs(state: &AppState, admin: &User, ids: &[String]) -> Result<u64, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let discarded = db::admin::jobs::discard(&mut tx, ids).await?;
    record_jobs(&mut tx, state, admin, "discard", &discarded).await?;
    tx.commit().await?;
    Ok(discarded.len() as u64)
}

async fn record_jobs(
    connection: &mut PgConnection,
    state: &AppState,
    admin: &User,
    action: &str,
    jobs: &[ChangedJob],
) -> sqlx::Result<()> {
    for job in jobs {
        let done = Done {
            action,
            object_type: "job",
            object_id: job.id.clone(),
            object_label: &job.queue,
            changes: json!({}),
        };
        record(connection, state, admin, done).await?;
    }
    Ok(())
}
