//! Why a job did not succeed, and what follows from it.

use std::time::Duration;

use shared::{installation::InstallationError, postgres, storage::StorageError};
use tokio::task::JoinError;

/// A job did not succeed.
///
/// The text of a transient failure starts with `transient: `, by which the guard of the jobs' table
/// tells that it costs no attempt.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Trouble that may pass. The job is tried again without a limit on its attempts, for a day.
    #[error("transient: {0}")]
    Transient(Trouble),
    /// The job itself failed. It is tried again until its attempts are used up.
    #[error("{0}")]
    Failed(String),
    /// The job panicked. It is tried again until its attempts are used up.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The job was enqueued by another program, in another way.
    #[error("its id is not a ULID")]
    ForeignId,
}

/// What may pass.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The object store failed or is away.
    #[error("storage: {0}")]
    Storage(#[from] StorageError),
    /// The database failed or is away.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The local disk failed.
    #[error("disk: {0}")]
    Disk(#[from] std::io::Error),
    /// The database must not delete from the store.
    #[error("installation: {0}")]
    Installation(#[from] InstallationError),
    /// The job deletes objects, and a backup may still need them.
    #[error("a backup runs; files are deleted when it has ended")]
    BackupRuns,
    /// The store is there and the original is not.
    #[error("original: {0} is missing from the storage")]
    OriginalMissing(String),
    /// The original is of another size than it was when it was uploaded.
    #[error("original: {0} is damaged in the storage")]
    OriginalDamaged(String),
    /// The image needs more memory than this machine has; another worker may have it.
    #[error(
        "The picture needs {needed_mib} MiB of memory, and this worker's machine has {machine_mib} MiB."
    )]
    TooLittleMemory {
        /// By the file's header.
        needed_mib: u64,
        machine_mib: u64,
    },
    /// There was no memory when it was asked for.
    #[error("There was not enough memory to decode the picture.")]
    MemoryUsedUp,
    /// The job took longer than it may. The process may have been frozen, so that says nothing
    /// about the job.
    #[error("time: took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// The worker cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("a queue's task ended: {0}")]
pub struct WorkerError(#[from] JoinError);

// without a source: the text of the trouble has its cause already
impl From<Trouble> for JobError {
    fn from(trouble: Trouble) -> Self {
        Self::Transient(trouble)
    }
}

impl From<StorageError> for JobError {
    fn from(error: StorageError) -> Self {
        Trouble::from(error).into()
    }
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(explanation) = postgres::explain(&error) {
            tracing::error!("{explanation}");
        }
        Trouble::from(error).into()
    }
}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Trouble::from(error).into()
    }
}

impl From<InstallationError> for JobError {
    fn from(error: InstallationError) -> Self {
        match error {
            InstallationError::Storage(error) => error.into(),
            InstallationError::Database(error) => error.into(),
            other => Trouble::from(other).into(),
        }
    }
}
