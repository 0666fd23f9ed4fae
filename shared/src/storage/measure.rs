//! What metrics say about the storage.

use std::time::Instant;

use super::StorageError;
use crate::metrics::{STORAGE_ERRORS, STORAGE_SECONDS};

/// What is asked of the store. An object that is not there is an answer, not an error.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Get,
    Head,
    Put,
    Delete,
    /// A look at the marker.
    Verify,
    /// The bytes of an object that was opened.
    Read,
    List,
}

impl Operation {
    const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Put, Self::Delete, Self::Verify, Self::Read, Self::List];

    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Verify => "verify",
            Self::Read => "read",
            Self::List => "list",
        }
    }
}

/// Has the counts of errors start at 0, so that the first error is an increase.
pub(super) fn start() {
    for operation in Operation::ALL {
        STORAGE_ERRORS.add([operation.as_str()], 0);
    }
}

/// Runs an operation and records how it went.
pub(super) async fn measured<T>(
    operation: Operation,
    running: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let started = Instant::now();
    let result = running.await;
    let outcome = if result.is_ok() { "ok" } else { "error" };
    STORAGE_SECONDS.record_since([operation.as_str(), outcome], started);
    result.map_err(|error| noted(operation, error))
}

/// Counts an error.
pub(super) fn noted(operation: Operation, error: StorageError) -> StorageError {
    STORAGE_ERRORS.add([operation.as_str()], 1);
    error
}
