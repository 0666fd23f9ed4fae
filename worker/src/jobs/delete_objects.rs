//! Deleting the files of an image that was deleted.

use shared::{
    installation::{self, InstallationError},
    jobs::DeleteObjects,
    storage::StorageKey,
};

use crate::{Context, queue::JobError};

/// Deletes the files; those that are gone already are no error. On a copy of the database the job waits.
pub(crate) async fn delete_objects(job: DeleteObjects, context: Context) -> Result<(), JobError> {
    let keys: Vec<StorageKey> = job.keys.iter().filter_map(|key| StorageKey::parse(key)).collect();
    if keys.len() < job.keys.len() {
        tracing::error!(keys = ?job.keys, "not all of these are storage keys; the others are left alone");
    }
    check_ownership(&context).await?;
    let files = keys.len();
    context.storage.delete(keys).await?;
    tracing::info!(files, "deleted the files of an image");
    Ok(())
}

async fn check_ownership(context: &Context) -> Result<(), JobError> {
    let mut connection = context.pool.acquire().await?;
    let owned = installation::check_ownership(&mut connection, &context.storage).await;
    if let Err(error) = &owned
        && matches!(error, InstallationError::Copy { .. } | InstallationError::Foreign { .. })
        && context.ownership_log.allows()
    {
        tracing::error!("{error}");
    }
    Ok(owned?)
}
