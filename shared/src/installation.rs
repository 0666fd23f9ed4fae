//! A database and a store that belong together.
//!
//! Both know the installation's id: the database in a row, the store in its marker. A store that
//! belongs to another database is never changed, and a copy of the database never deletes what its
//! original still needs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    db::{self, installation::Installation},
    domain::OriginalId,
    postgres,
    storage::{ListedObject, Marker, Storage, StorageError, StorageKey},
};

/// Rows, and objects, that are compared when a store has no marker yet.
const SAMPLE: usize = 100;
/// Of 100 sampled rows, and of 100 sampled objects, so many may lack their counterpart.
const LACKING_PER_100: usize = 5;
/// Younger objects may be of uploads that were interrupted.
const SAMPLE_AGE: Duration = Duration::from_hours(2 * 24);
/// Objects that are looked at to find old ones.
const LISTED_FOR_SAMPLE: usize = 10_000;
/// Objects asked for at a time.
const LOOKUPS: usize = 16;

/// Why a database must not use, or must not delete from, a store.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// Neither has a marker, and their contents do not fit together.
    #[error(
        "{place} does not belong to this database: {comparison}. Check DATABASE_URL and the storage settings. If the \
         two do belong together, run `pictier adopt-storage`."
    )]
    DoesNotBelong { place: String, comparison: Comparison },
    /// The store has the marker of another installation.
    #[error(
        "{place} belongs to the installation {other}, and this database is of the installation {own}. Check \
         DATABASE_URL and the storage settings. If the store is to belong to this database from now on, run \
         `pictier adopt-storage`."
    )]
    Foreign {
        place: String,
        /// The installation that the marker names.
        other: Uuid,
        /// The installation of the database.
        own: Uuid,
    },
    /// The marker is of a generation that this database did not write.
    #[error(
        "this database is a copy, or a restored backup, of the one that {place} belongs to. Nothing is deleted from the \
         store until `pictier adopt-storage` says that it belongs to this database."
    )]
    Copy { place: String },
    /// The store failed, or its marker is gone.
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// How far the contents of a database and a store fit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Originals that the database names, as far as they were compared.
    pub rows: usize,
    /// Those of them that the store does not have.
    pub rows_without_object: usize,
    /// Originals in the store, as far as they were compared.
    pub objects: usize,
    /// Those of them that the database does not name.
    pub objects_without_row: usize,
    /// Whether neither has an image.
    pub is_empty: bool,
}

impl Comparison {
    /// Whether the two can be taken for a pair.
    pub fn fits(&self) -> bool {
        let few = |lacking: usize, of: usize| lacking * 100 <= of * LACKING_PER_100;
        self.is_empty
            || (self.rows + self.objects > 0
                && few(self.rows_without_object, self.rows)
                && few(self.objects_without_row, self.objects))
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "of {} originals that the database names, the store lacks {}; of {} originals in the store, the database \
             does not name {}",
            self.rows, self.rows_without_object, self.objects, self.objects_without_row
        )
    }
}

/// Makes sure at the start of a process that the store belongs to the database. A store without a
/// marker gets one when its contents fit. An outage of a store that had its marker is no error
/// here: requests and jobs meet it.
pub async fn join(pool: &PgPool, storage: &Storage) -> Result<(), InstallationError> {
    let installation = db::installation::get(&mut *pool.acquire().await?).await?;
    match storage.read_marker().await {
        Ok(None) if !installation.is_marked => {
            let comparison = compare(pool, storage).await?;
            if !comparison.fits() {
                return Err(InstallationError::DoesNotBelong {
                    place: storage.place(),
                    comparison,
                });
            }
            mark(pool, storage).await?;
        }
        Ok(None) => {
            tracing::error!("{}", StorageError::NotMarked { place: storage.place() });
        }
        Ok(Some(marker)) => accept(pool, storage, &installation, marker).await?,
        Err(error) if installation.is_marked => {
            tracing::error!(%error, "the storage does not answer");
        }
        Err(error) => return Err(error.into()),
    }
    storage.expect_installation(installation.id);
    Ok(())
}

async fn accept(
    pool: &PgPool,
    storage: &Storage,
    installation: &Installation,
    marker: Marker,
) -> Result<(), InstallationError> {
    if marker.installation != installation.id {
        return Err(foreign(storage, installation, marker));
    }
    if !installation.owns(marker.generation) {
        tracing::error!("{}", InstallationError::Copy { place: storage.place() });
    } else if !installation.is_marked {
        db::installation::set_marked(&mut *pool.acquire().await?).await?;
    }
    Ok(())
}

fn foreign(storage: &Storage, installation: &Installation, marker: Marker) -> InstallationError {
    InstallationError::Foreign {
        place: storage.place(),
        other: marker.installation,
        own: installation.id,
    }
}

/// Writes the first marker, unless another process did meanwhile.
async fn mark(pool: &PgPool, storage: &Storage) -> Result<(), InstallationError> {
    let mut lock = postgres::begin(pool).await?;
    db::installation::lock_marker(&mut lock).await?;
    let installation = db::installation::get(&mut lock).await?;
    match storage.read_marker().await? {
        None => storage.write_marker(installation.marker()).await?,
        Some(marker) if marker.installation == installation.id => {}
        Some(marker) => return Err(foreign(storage, &installation, marker)),
    }
    db::installation::set_marked(&mut lock).await?;
    lock.commit().await?;
    Ok(())
}

/// Fails unless this database may delete objects of the store: its marker is there, and of a
/// generation that the database wrote.
pub async fn check_ownership(
    connection: &mut PgConnection,
    storage: &Storage,
) -> Result<(), InstallationError> {
    owned_marker(connection, storage).await.map(|_| ())
}

async fn owned_marker(
    connection: &mut PgConnection,
    storage: &Storage,
) -> Result<Marker, InstallationError> {
    let installation = db::installation::get(connection).await?;
    let marker = storage.read_marker().await?;
    let marker = marker.ok_or_else(|| StorageError::NotMarked { place: storage.place() })?;
    if marker.installation != installation.id {
        return Err(foreign(storage, &installation, marker));
    }
    if !installation.owns(marker.generation) {
        return Err(InstallationError::Copy { place: storage.place() });
    }
    Ok(marker)
}

/// As [`check_ownership`]; then writes a new generation, by which a copy of the database that was
/// made before finds out that it is one.
pub async fn renew_generation(pool: &PgPool, storage: &Storage) -> Result<(), InstallationError> {
    let mut lock = postgres::begin(pool).await?;
    db::installation::lock_marker(&mut lock).await?;
    let marker = owned_marker(&mut lock, storage).await?;
    let next = Marker { generation: Uuid::new_v4(), ..marker };
    // committed before the marker is written, so that the database knows every generation that the
    // store may have
    let mut connection = pool.acquire().await?;
    db::installation::set_generation(&mut connection, next.generation, Some(marker.generation))
        .await?;
    // without the new marker the database still knows the one that is there; a full disk must not
    // prevent deletions
    if let Err(error) = storage.write_marker(next).await {
        tracing::warn!(%error, "cannot renew the marker");
    }
    lock.commit().await?;
    Ok(())
}

/// Makes the store belong to the database, whatever its marker says.
pub async fn adopt(pool: &PgPool, storage: &Storage) -> Result<(), InstallationError> {
    let mut lock = postgres::begin(pool).await?;
    db::installation::lock_marker(&mut lock).await?;
    let installation = db::installation::get(&mut lock).await?;
    let marker = Marker { installation: installation.id, generation: Uuid::new_v4() };
    let mut connection = pool.acquire().await?;
    db::installation::set_generation(&mut connection, marker.generation, None).await?;
    db::installation::set_home(&mut connection).await?;
    storage.write_marker(marker).await?;
    db::installation::set_marked(&mut connection).await?;
    lock.commit().await?;
    Ok(())
}

/// Compares a sample of the originals that the database names with a sample of those in the store.
pub async fn compare(pool: &PgPool, storage: &Storage) -> Result<Comparison, InstallationError> {
    let mut connection = pool.acquire().await?;
    let has_images = db::installation::count_images(&mut connection).await? > 0;
    let has_objects = storage.list_originals().next().await.transpose()?.is_some()
        || storage.list_thumbnails().next().await.transpose()?.is_some();
    let limit = i64::try_from(SAMPLE).unwrap_or(i64::MAX);
    let rows = db::installation::sample_originals(&mut connection, limit).await?;
    let now = db::now(&mut connection).await?;
    let objects = sample_objects(storage, now).await?;
    let without_row = unknown_objects(&mut connection, objects.clone()).await?;
    drop(connection);
    Ok(Comparison {
        rows: rows.len(),
        rows_without_object: count_missing(storage, rows).await?,
        objects: objects.len(),
        objects_without_row: without_row.len(),
        is_empty: !has_images && !has_objects,
    })
}

async fn count_missing(
    storage: &Storage,
    originals: Vec<(OriginalId, imaging::Format)>,
) -> Result<usize, StorageError> {
    let lookups = originals.into_iter().map(|(id, format)| {
        let key = StorageKey::original(id, format);
        async move { storage.size(&key).await }
    });
    let sizes: Vec<_> = stream::iter(lookups).buffered(LOOKUPS).try_collect().await?;
    Ok(sizes.iter().filter(|size| size.is_none()).count())
}

/// Up to 100 originals of the store that are older than two days; young ones when there is no old
/// one.
async fn sample_objects(
    storage: &Storage,
    now: DateTime<Utc>,
) -> Result<Vec<StorageKey>, StorageError> {
    let is_old = |object: &ListedObject| object.last_modified < now - SAMPLE_AGE;
    let (mut old, mut young) = (Vec::new(), Vec::new());
    let mut listed = storage.list_originals().take(LISTED_FOR_SAMPLE);
    while let Some(object) = listed.try_next().await? {
        let Some(key) = StorageKey::parse(&object.path) else { continue };
        let sample = if is_old(&object) { &mut old } else { &mut young };
        if sample.len() < SAMPLE {
            sample.push(key);
        }
        if old.len() == SAMPLE {
            break;
        }
    }
    Ok(if old.is_empty() { young } else { old })
}

/// Those of the keys that nothing in the database names: no row, no upload that is under way, no
/// job that is going to delete them.
pub async fn unknown_objects(
    connection: &mut PgConnection,
    keys: Vec<StorageKey>,
) -> sqlx::Result<Vec<StorageKey>> {
    let mut unknown = db::integrity::without_row(connection, keys).await?;
    if unknown.is_empty() {
        return Ok(unknown);
    }
    let names: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    let mut known = db::queue::awaiting_deletion(connection, &names).await?;
    known.extend(db::uploads::noted(connection, &names).await?);
    unknown.retain(|key| !known.contains(&key.to_string()));
    if unknown.is_empty() {
        return Ok(unknown);
    }
    // an upload that was committed between the two looks
    db::integrity::without_row(connection, unknown).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(rows: [usize; 2], objects: [usize; 2]) -> Comparison {
        Comparison {
            rows: rows[0],
            rows_without_object: rows[1],
            objects: objects[0],
            objects_without_row: objects[1],
            is_empty: false,
        }
    }

    #[test]
    fn five_in_a_hundred_may_lack_their_counterpart() {
        assert!(comparison([100, 5], [100, 5]).fits());
        assert!(!comparison([100, 6], [100, 0]).fits());
        assert!(!comparison([100, 0], [100, 6]).fits());
        assert!(!comparison([3, 1], [3, 0]).fits());
    }

    #[test]
    fn one_side_without_images_fits_nothing() {
        assert!(!comparison([0, 0], [100, 100]).fits());
        assert!(!comparison([100, 100], [0, 0]).fits());
        assert!(!comparison([0, 0], [0, 0]).fits(), "thumbnails without originals are somebody's");
        assert!(Comparison { is_empty: true, ..Comparison::default() }.fits());
    }
}
