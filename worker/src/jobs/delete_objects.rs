//! Deleting the files of an image that was deleted.

use shared::{jobs::DeleteObjects, storage::StorageKey};

use crate::{Context, queue::JobError};

/// Deletes the files; those that are gone already are no error.
pub(crate) async fn delete_objects(job: DeleteObjects, context: Context) -> Result<(), JobError> {
    let keys: Vec<StorageKey> = job.keys.iter().filter_map(|key| StorageKey::parse(key)).collect();
    if keys.len() < job.keys.len() {
        tracing::error!(keys = ?job.keys, "not all of these name a file of ours; they are left alone");
    }
    let files = keys.len();
    context.storage.delete(keys).await?;
    tracing::info!(files, "deleted the files of an image");
    Ok(())
}
