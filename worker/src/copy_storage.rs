//! Moving an installation's files to another store.

use futures::{StreamExt, stream};
use shared::{
    installation,
    storage::{KnownObject, Storage},
};

use crate::{
    Context,
    jobs::orphans::unknown_originals,
    transfer::{TransferError, TransferReport, expect_stopped, named_objects, transfer},
};

/// Copies the files of an installation to another store, which is the installation's from then on.
/// Files that are there already are not copied. Calls `progress` with the number of files since the
/// last call.
pub async fn copy_storage(
    context: &Context,
    to: &Storage,
    progress: &(impl Fn(u64) + Sync),
) -> Result<TransferReport, TransferError> {
    let from = &context.storage;
    let mut connection = context.pool.acquire().await?;
    expect_stopped(&mut connection).await?;
    installation::check_ownership(&mut connection, from).await?;
    let marker = from.read_marker().await?;
    if from.place() == to.place() {
        return Err(TransferError::Refused(format!("Both storages are {}.", to.place())));
    }
    let there = to.read_marker().await?.map(|marker| marker.installation);
    if there.is_some_and(|there| Some(there) != marker.map(|marker| marker.installation)) {
        return Err(TransferError::Refused(format!(
            "{} belongs to another installation. Copy to a new folder or bucket.",
            to.place()
        )));
    }
    let unknown = unknown_originals(context).await?;
    let unnamed = unknown.into_iter().map(|key| Ok(KnownObject { key, bytes: None, digest: None }));
    let objects = named_objects(&mut connection).chain(stream::iter(unnamed));
    let report = transfer(from, to, objects, |_| Ok(()), progress).await?;
    drop(connection);
    installation::adopt(&context.pool, to).await?;
    Ok(report)
}
