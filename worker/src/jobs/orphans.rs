//! Objects that no row names. Originals are never deleted for that alone, thumbnails only after two
//! sightings.

use std::time::Duration;

use futures::TryStreamExt;
use shared::{
    db, installation, postgres,
    storage::{Shard, StorageKey},
};

use crate::{
    Context,
    queue::{JobError, Trouble},
};

/// Objects held against the database at a time.
const BATCH_OBJECTS: usize = 500;
/// One cleanup ends its search for orphans with the shard in which it has looked at so many
/// objects.
const OBJECTS_PER_RUN: usize = 100_000;
/// An upload that has been under way for so long was interrupted. Requests are far shorter.
const ABANDONED_UPLOAD_AGE: Duration = Duration::from_hours(24);
/// Abandoned uploads that are deleted in one transaction.
const BATCH_UPLOADS: i64 = 100;
/// Two sightings of an orphan are never closer than this, whatever the configuration says.
const MIN_ORPHAN_AGE: Duration = Duration::from_hours(1);

/// Deletes the originals of uploads that were interrupted; how many. An upload that still runs
/// cannot be committed afterwards, as its note is gone. While a backup runs, they stay.
pub(super) async fn delete_abandoned_uploads(context: &Context) -> Result<u64, JobError> {
    let mut deleted = 0;
    loop {
        let mut tx = postgres::begin(&context.pool).await?;
        if db::backups::is_any_running(&mut tx).await? {
            return Ok(deleted);
        }
        let noted =
            db::uploads::take_abandoned(&mut tx, ABANDONED_UPLOAD_AGE, BATCH_UPLOADS).await?;
        let keys: Vec<_> = noted.iter().filter_map(|key| StorageKey::parse(key)).collect();
        let abandoned = db::integrity::without_row(&mut tx, keys).await?;
        deleted += abandoned.len() as u64;
        context.storage.delete(abandoned).await?;
        tx.commit().await?;
        if noted.len() < usize::try_from(BATCH_UPLOADS).unwrap_or_default() {
            return Ok(deleted);
        }
    }
}

/// Deletes thumbnails' objects that no row names, after two sightings; how many. Goes on where the
/// last cleanup ended.
pub(super) async fn delete_orphans(context: &Context) -> Result<u64, JobError> {
    let first = db::installation::next_shard(&mut *context.pool.acquire().await?).await?;
    let (mut looked_at, mut deleted) = (0, 0);
    for shard in first.cycle_from() {
        let cleaned = clean_shard(context, shard).await?;
        looked_at += cleaned.looked_at;
        deleted += cleaned.deleted;
        db::installation::set_next_shard(&mut *context.pool.acquire().await?, shard.next()).await?;
        if looked_at >= OBJECTS_PER_RUN {
            break;
        }
    }
    Ok(deleted)
}

struct CleanedShard {
    looked_at: usize,
    deleted: u64,
}

async fn clean_shard(context: &Context, shard: Shard) -> Result<CleanedShard, JobError> {
    let age = Duration::from_secs(context.retention.orphan_age_seconds).max(MIN_ORPHAN_AGE);
    let mut cleaned = CleanedShard { looked_at: 0, deleted: 0 };
    let mut seen: Vec<String> = Vec::new();
    let mut batches = context.storage.list_shard(shard).try_chunks(BATCH_OBJECTS);
    while let Some(objects) = batches.try_next().await.map_err(|error| error.1)? {
        cleaned.looked_at += objects.len();
        let keys = objects.iter().filter_map(|object| StorageKey::parse(&object.path)).collect();
        let mut connection = context.pool.acquire().await?;
        let unnamed = db::integrity::without_row(&mut connection, keys).await?;
        seen.extend(unnamed.iter().map(ToString::to_string));
    }
    let mut connection = context.pool.acquire().await?;
    let due = db::integrity::sight_orphans(&mut connection, &seen, age).await?;
    db::integrity::forget_orphans(&mut connection, &shard.thumbnails_prefix(), &seen).await?;
    drop(connection);
    for batch in due.chunks(BATCH_OBJECTS) {
        cleaned.deleted += delete_seen_twice(context, batch).await?;
    }
    Ok(cleaned)
}

/// Looks for the rows once more in the transaction in which the objects are deleted. While a backup
/// runs, they stay for a later cleanup.
async fn delete_seen_twice(context: &Context, due: &[String]) -> Result<u64, JobError> {
    let mut tx = postgres::begin(&context.pool).await?;
    installation::check_ownership(&mut tx, &context.storage).await?;
    if db::backups::is_any_running(&mut tx).await? {
        return Ok(0);
    }
    let keys = due.iter().filter_map(|key| StorageKey::parse(key)).collect();
    let orphans = db::integrity::without_row(&mut tx, keys).await?;
    let count = orphans.len() as u64;
    context.storage.delete(orphans).await?;
    db::integrity::forget(&mut tx, due).await?;
    tx.commit().await?;
    Ok(count)
}

/// Originals in the store that nothing in the database names. No job deletes them: somebody has to
/// look first.
pub async fn unknown_originals(context: &Context) -> Result<Vec<StorageKey>, JobError> {
    context.storage.verify_now().await?;
    let mut unknown = Vec::new();
    let mut batches = context.storage.list_originals().try_chunks(BATCH_OBJECTS);
    while let Some(objects) = batches.try_next().await.map_err(|error| error.1)? {
        let keys = objects.iter().filter_map(|object| StorageKey::parse(&object.path)).collect();
        let mut connection = context.pool.acquire().await?;
        unknown.extend(installation::unknown_objects(&mut connection, keys).await?);
    }
    Ok(unknown)
}

/// Deletes those of the originals that nothing in the database names by now; how many.
pub async fn delete_unknown_originals(
    context: &Context,
    keys: Vec<StorageKey>,
) -> Result<usize, JobError> {
    let mut deleted = 0;
    for batch in keys.chunks(BATCH_OBJECTS) {
        let mut connection = context.pool.acquire().await?;
        installation::check_ownership(&mut connection, &context.storage).await?;
        if db::backups::is_any_running(&mut connection).await? {
            return Err(Trouble::BackupRuns.into());
        }
        let unknown = installation::unknown_objects(&mut connection, batch.to_vec()).await?;
        drop(connection);
        deleted += unknown.len();
        context.storage.delete(unknown).await?;
    }
    Ok(deleted)
}
