//! What can happen.

use crate::{APIS, ATTEMPTS, Bounds, DELETION, JOBS, Outcome, RUNS, WORKERS};

/// One transaction of the database, one operation on the object store, or one fault. Heights,
/// workers, jobs and runs are indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `thumbnails::insert_missing`, for a height that the tier gained.
    InsertMissing(u8),
    /// `services::thumbnails::request`: `db::thumbnails::request` and `jobs::enqueue_thumbnail`.
    Request(u8),
    /// `services::thumbnails::retry`: `db::thumbnails::request_failed` and a second job.
    RequestFailed(u8),
    /// `db::admin::jobs::retry` of a job that was given up.
    RetryJob(u8),
    /// `services::images::delete`: `db::images::lock`.
    LockImage,
    /// Without `job_with_row` or `objects_job_with_deletion`: the job gets a transaction of its own.
    InsertJob(u8),
    /// `services::images::delete_locked` reads the thumbnails' attempts.
    ReadAttempts,
    /// `services::images::delete_locked`: `db::images::delete`, `jobs::enqueue`, and the commit.
    DeleteImage,

    /// `thumbnail_events::wait_for_thumbnail`: registers, and looks at the row.
    WaitFor(u8),
    /// `Teller::hear`: a notification of the triggers `thumbnails_finished`, `thumbnails_deleted`.
    Hear(u8),
    /// `Teller::look`, once a second.
    Look(u8),

    /// `apalis.get_jobs`: a worker takes a waiting job.
    GetJobs { worker: u8, job: u8 },
    /// Without `take_along_locks`: the part of `db::claims::claim` that looks for others.
    ReadOthers { run: u8 },
    /// `db::claims::claim`.
    Claim { run: u8 },
    /// `storage.put` of a claim's target.
    Put { run: u8 },
    /// `db::images::set_placeholder` begins the transaction of `keep`.
    SetPlaceholder { run: u8 },
    /// `db::claims::mark_ready`, and the commit, or the rollback when the claim was lost.
    MarkReady { run: u8 },
    /// `storage.delete` of the target of a claim that was lost.
    DeleteOwnObject { run: u8 },
    /// `db::claims::mark_failed`: the image cannot be decoded.
    MarkFailed { run: u8 },
    /// `delete_objects`: `storage.delete` of what its job names.
    DeleteObjects { run: u8 },
    /// `handle_result.sql` of apalis, and the triggers `jobs_guard` and `jobs_dead`.
    Acknowledge { run: u8 },
    /// `return_due_job`: the delay after a failure is over.
    ReturnDueJob(u8),
    /// `reenqueue_orphaned.sql` of apalis, in the heartbeat of another worker, and the triggers
    /// `jobs_guard` and `jobs_dead`.
    ReenqueueOrphaned(u8),
    /// `keep_alive_untracked.sql` of apalis by a worker that was silent, and the trigger
    /// `workers_returned`.
    KeepAlive(u8),

    /// `orphans::clean_shard` sees an object that no row names.
    SightOrphan { height: u8, attempt: u8 },
    /// `orphans::delete_seen_twice` looks for a row again; `forget_orphans` if there is one.
    LookAgain,
    /// `orphans::delete_seen_twice`: `storage.delete`.
    DeleteOrphan,

    /// A worker's process ends at once; another is started.
    CrashWorker(u8),
    /// API processes end at once: what they have not committed is rolled back.
    CrashApis,
    /// Four of a worker's heartbeats in a row fail, while its runs may go on.
    MissHeartbeats(u8),
    /// A run ends with an error: the store or the database is away, or the job panics.
    Fail { run: u8, outcome: Outcome },
    /// The notification of an end does not reach this API process.
    LoseEnd(u8),
    /// The notification of a new job does not reach the workers.
    LoseNewJob,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody may do so, or not.
    User,
    /// The program does so sooner or later.
    System,
    /// Something goes wrong.
    Fault,
}

impl Action {
    /// Who does this.
    pub fn actor(self) -> Actor {
        match self {
            Self::InsertMissing(_)
            | Self::Request(_)
            | Self::RequestFailed(_)
            | Self::RetryJob(_)
            | Self::LockImage
            | Self::WaitFor(_) => Actor::User,
            Self::CrashWorker(_)
            | Self::CrashApis
            | Self::MissHeartbeats(_)
            | Self::Fail { .. }
            | Self::LoseEnd(_)
            | Self::LoseNewJob => Actor::Fault,
            _ => Actor::System,
        }
    }

    /// Every action within the bounds, whether it is possible now or not.
    pub fn all(bounds: &Bounds) -> Vec<Self> {
        let mut all = vec![
            Self::ReadAttempts,
            Self::DeleteImage,
            Self::LookAgain,
            Self::DeleteOrphan,
            Self::CrashApis,
            Self::LoseNewJob,
        ];
        if bounds.deletion {
            all.push(Self::LockImage);
        }
        for height in indices(bounds.heights) {
            all.extend([
                Self::InsertMissing(height),
                Self::Request(height),
                Self::RequestFailed(height),
            ]);
            all.extend((0..ATTEMPTS).map(|attempt| Self::SightOrphan { height, attempt }));
        }
        for job in indices(JOBS) {
            all.extend([
                Self::InsertJob(job),
                Self::ReturnDueJob(job),
                Self::ReenqueueOrphaned(job),
            ]);
            all.extend(indices(WORKERS).map(|worker| Self::GetJobs { worker, job }));
        }
        all.extend(indices(DELETION).map(Self::RetryJob));
        for run in indices(RUNS) {
            all.extend([
                Self::ReadOthers { run },
                Self::Claim { run },
                Self::Put { run },
                Self::SetPlaceholder { run },
                Self::MarkReady { run },
                Self::DeleteOwnObject { run },
                Self::MarkFailed { run },
                Self::DeleteObjects { run },
                Self::Acknowledge { run },
                Self::Fail { run, outcome: Outcome::Failed },
                Self::Fail { run, outcome: Outcome::Transient },
            ]);
        }
        for worker in indices(WORKERS) {
            all.extend([
                Self::KeepAlive(worker),
                Self::CrashWorker(worker),
                Self::MissHeartbeats(worker),
            ]);
        }
        if bounds.waiting {
            for api in indices(APIS) {
                all.extend([
                    Self::WaitFor(api),
                    Self::Hear(api),
                    Self::Look(api),
                    Self::LoseEnd(api),
                ]);
            }
        }
        all
    }
}

fn indices(count: usize) -> impl Iterator<Item = u8> {
    (0..).take(count)
}
