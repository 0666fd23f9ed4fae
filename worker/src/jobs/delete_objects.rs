//! Deleting the files of images that were deleted.

use std::{sync::Arc, time::Duration};

use shared::{
    db,
    installation::{self, InstallationError},
    jobs::DeleteObjects,
    storage::StorageKey,
};

use super::{JobContext, RunnableJob};
use crate::{
    Context,
    queue::{HeldJob, JobError, Trouble},
};

impl RunnableJob for DeleteObjects {
    fn time_limit(_: &JobContext) -> Duration {
        Duration::from_mins(1)
    }

    /// Deletes the files; those that are gone already are no error. On a copy of the database, and
    /// while a backup runs, the job waits.
    async fn run(self, _: HeldJob, context: Arc<JobContext>) -> Result<(), JobError> {
        let keys: Vec<StorageKey> =
            self.keys.iter().filter_map(|key| StorageKey::parse(key)).collect();
        if keys.len() < self.keys.len() {
            tracing::error!(keys = ?self.keys, "not all of these are storage keys; the others are left alone");
        }
        check_ownership(&context).await?;
        // a backup that starts after this look has a dump without the image
        if db::backups::is_any_running(&mut *context.pool.acquire().await?).await? {
            return Err(Trouble::BackupRuns.into());
        }
        let files = keys.len();
        context.storage.delete(keys).await?;
        tracing::info!(files, "deleted files of deleted images");
        Ok(())
    }
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
