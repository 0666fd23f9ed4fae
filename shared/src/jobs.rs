//! What the API asks the worker to do: the payloads, their queues, and how one is enqueued.
//!
//! A job is enqueued in the transaction that makes it necessary, so that it exists exactly when its
//! cause does; the worker hears of it when that transaction commits.

use std::future::Future;

use apalis::prelude::TaskId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use ulid::Ulid;
use uuid::Uuid;

use crate::{
    db,
    domain::{ThumbnailId, UserId},
};

/// A payload that a worker knows what to do with.
pub trait Job: Serialize {
    /// The queue's name, which is part of the stored form: it never follows a type's name.
    const QUEUE: &'static str;
    /// How often the job is tried before it is given up.
    const MAX_ATTEMPTS: i32;
}

pub const QUEUES: [&str; 4] =
    [GenerateThumbnail::QUEUE, DeleteObjects::QUEUE, DeleteAccount::QUEUE, CleanUp::QUEUE];

/// Make a thumbnail that somebody asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GenerateThumbnail {
    pub thumbnail: ThumbnailId,
}

impl Job for GenerateThumbnail {
    const QUEUE: &'static str = "thumbnails";
    const MAX_ATTEMPTS: i32 = 5;
}

/// Delete the files of images that were deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteObjects {
    /// Storage keys as [`StorageKey`](crate::storage::StorageKey) spells them.
    pub keys: Vec<String>,
}

impl DeleteObjects {
    /// So many keys at most are in one job, which then ends within its time limit.
    pub const MAX_KEYS: usize = 1000;
}

impl Job for DeleteObjects {
    const QUEUE: &'static str = "object-deletion";
    const MAX_ATTEMPTS: i32 = 20;
}

/// Delete everything of an account that was closed, and then the account.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct DeleteAccount {
    pub user: UserId,
}

impl Job for DeleteAccount {
    const QUEUE: &'static str = "account-deletion";
    const MAX_ATTEMPTS: i32 = 20;
}

/// Delete what has expired and repair what crashes left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CleanUp {
    /// The tick that asked for it, in seconds since 1970.
    pub tick: u64,
}

impl Job for CleanUp {
    const QUEUE: &'static str = "clean-up";
    const MAX_ATTEMPTS: i32 = 5;
}

tokio::task_local! {
    static REQUEST_ID: Uuid;
}

/// Runs the future of a request: jobs that it enqueues name the request as their cause.
pub async fn with_request_id<F: Future>(id: Uuid, request: F) -> F::Output {
    REQUEST_ID.scope(id, request).await
}

/// A job as it is stored, with its cause.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StoredJob<J> {
    #[serde(flatten)]
    pub job: J,
    /// The request that enqueued it; none for a job of a schedule, a command or another job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
}

/// A job's id in the queue: a ULID.
#[derive(Clone, Copy, Debug)]
pub struct JobId(Ulid);

impl JobId {
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

/// Adds the job to its queue as part of the caller's transaction. It is due at once by the
/// database's clock.
pub async fn enqueue<J: Job>(
    connection: &mut PgConnection,
    id: JobId,
    job: &J,
) -> sqlx::Result<()> {
    db::queue::insert(connection, id, J::QUEUE, &encode(job)?, J::MAX_ATTEMPTS).await
}

/// Which of its owner's two flows a thumbnail's job belongs to. Flows share the workers fairly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Somebody waits for the thumbnail.
    WaitedFor,
    /// Nobody waits for it: it takes four times as much of its flow's share.
    Prepared,
}

/// As [`enqueue`], for a thumbnail, at the end of its flow. The caller locks nothing afterwards but
/// the flows of owners with greater ids.
pub async fn enqueue_thumbnail(
    connection: &mut PgConnection,
    id: JobId,
    thumbnail: ThumbnailId,
    flow: Flow,
) -> sqlx::Result<()> {
    let payload = encode(&GenerateThumbnail { thumbnail })?;
    let max_attempts = GenerateThumbnail::MAX_ATTEMPTS;
    db::queue::insert_thumbnail(connection, id, thumbnail, flow, &payload, max_attempts).await
}

fn encode<J: Job>(job: &J) -> sqlx::Result<Vec<u8>> {
    let request_id = REQUEST_ID.try_with(|id| *id).ok();
    serde_json::to_vec(&StoredJob { job, request_id })
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Has at most `limit` thumbnails that failed, for this reason or for any, tried again; how many.
/// Those of one image are made by one job, as a job takes the image's other pending thumbnails
/// along.
pub async fn retry_failed_thumbnails(
    connection: &mut PgConnection,
    reason: Option<&str>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let mut retried = 0;
    for thumbnail in db::thumbnails::lock_failed(connection, reason, limit).await? {
        let job = JobId::fresh();
        if db::thumbnails::request_failed(connection, thumbnail, job, now).await? {
            enqueue_thumbnail(connection, job, thumbnail, Flow::Prepared).await?;
            retried += 1;
        }
    }
    Ok(retried)
}
