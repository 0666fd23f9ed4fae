//! What the API asks the worker to do: the payloads, their queues, and how one is enqueued.
//!
//! A job is enqueued in the transaction that makes it necessary, so that it exists exactly when its cause does;
//! the worker hears of it when that transaction commits.

use apalis::prelude::{TaskBuilder, TaskId};
use apalis_postgres::{Error, queries::push_tasks};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use ulid::Ulid;

use crate::domain::ThumbnailId;

/// A payload that a worker knows what to do with.
pub trait Job: Serialize {
    /// The queue's name, which is part of the stored form: it never follows a type's name.
    const QUEUE: &'static str;
    /// How often the job is tried before it is given up.
    const MAX_ATTEMPTS: usize;
}

/// Every queue.
pub const QUEUES: [&str; 3] = [GenerateThumbnail::QUEUE, DeleteObjects::QUEUE, CleanUp::QUEUE];

/// Make a thumbnail that somebody asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GenerateThumbnail {
    /// Which.
    pub thumbnail: ThumbnailId,
}

impl Job for GenerateThumbnail {
    const QUEUE: &'static str = "thumbnails";
    const MAX_ATTEMPTS: usize = 5;
}

/// Delete the files of an image that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteObjects {
    /// Storage keys as [`StorageKey`](crate::storage::StorageKey) spells them.
    pub keys: Vec<String>,
}

impl Job for DeleteObjects {
    const QUEUE: &'static str = "object-deletion";
    const MAX_ATTEMPTS: usize = 20;
}

/// Delete what has expired and repair what crashes left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CleanUp {
    /// The tick that asked for it, in seconds since 1970.
    pub tick: u64,
}

impl Job for CleanUp {
    const QUEUE: &'static str = "clean-up";
    const MAX_ATTEMPTS: usize = 5;
}

/// A job's id in the queue: a ULID.
#[derive(Clone, Copy, Debug)]
pub struct JobId(Ulid);

impl JobId {
    /// A fresh one.
    pub fn fresh() -> Self {
        Self(Ulid::generate())
    }

    /// The id of a task, if it is one of ours.
    pub fn of_task(id: &TaskId) -> Option<Self> {
        id.to_string().parse().ok().map(Self)
    }
}

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Adds the job to its queue as part of the caller's transaction.
pub async fn enqueue<J: Job>(connection: &mut PgConnection, id: JobId, job: &J) -> sqlx::Result<()> {
    let payload = serde_json::to_vec(job).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let task =
        TaskBuilder::new(payload).task_id(TaskId::from_ulid(id.0)).max_attempts(J::MAX_ATTEMPTS).build();
    push_tasks(connection, J::QUEUE, vec![task]).await.map_err(|error| match error {
        Error::Database(error) => error,
        other => sqlx::Error::Encode(other.into()),
    })
}
