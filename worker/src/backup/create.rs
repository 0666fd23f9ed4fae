//! Making a backup.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use futures::{TryStreamExt, stream};
use shared::{db, postgres, storage::Storage};
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::files::{self, MANIFEST, Manifest, NewFile, OBJECTS};
use crate::{
    Context,
    transfer::{TransferError, TransferReport, named_objects, transfer},
};

/// The objects that the dump names, before they are copied. The file is deleted afterwards.
const NAMED: &str = "named";
/// The time between two signs of life of a backup.
const RENEWED_EACH: Duration = Duration::from_mins(1);

/// A backup that was made.
#[derive(Debug)]
pub struct NewBackup {
    pub name: String,
    pub report: TransferReport,
}

/// Backs the installation up to a folder. Objects that backups in the folder have already are not
/// copied. Calls `progress` with the number of objects since the last call.
pub async fn back_up(
    context: &Context,
    dir: &Path,
    progress: &(impl Fn(u64) + Sync),
) -> Result<NewBackup, TransferError> {
    context.storage.verify_now().await?;
    // before the snapshot: what the dump names is not deleted from now on
    let hold = Hold::begin(&context.pool).await?;
    let made = make(context, dir, progress).await;
    hold.end(&context.pool).await;
    made
}

async fn make(
    context: &Context,
    dir: &Path,
    progress: &(impl Fn(u64) + Sync),
) -> Result<NewBackup, TransferError> {
    let name = context.clock.now().format("%Y-%m-%dT%H-%M-%S%.3fZ").to_string();
    let folder = dir.join(&name);
    fs::create_dir_all(dir).map_err(files::failed(dir))?;
    fs::create_dir(&folder).map_err(files::failed(&folder))?;
    let mut manifest = dump(&context.pool, &folder).await?;
    let target = Storage::open_backup(dir.join(OBJECTS))?;

    let named = folder.join(NAMED);
    let mut list = NewFile::create(folder.join(OBJECTS))?;
    let report = transfer(
        &context.storage,
        &target,
        stream::iter(files::listed(&named)?),
        |object| {
            manifest.objects += 1;
            list.write_object(object.key, Some(object.bytes), Some(object.digest))
        },
        progress,
    )
    .await?;
    manifest.files.insert(OBJECTS.to_owned(), list.finish()?.to_string());
    fs::remove_file(&named).map_err(files::failed(&named))?;
    publish(&manifest, &folder)?;
    files::sync_folder(dir)?;
    Ok(NewBackup { name, report })
}

/// Writes the tables, and the list of the objects that they name, as they are at one moment. No
/// transaction is open afterwards.
async fn dump(pool: &PgPool, folder: &Path) -> Result<Manifest, TransferError> {
    let mut tx = postgres::begin(pool).await?;
    db::backups::take_snapshot(&mut tx).await?;
    let (schema, known) = (postgres::schema_version(&mut tx).await?, postgres::known_schema());
    if schema > known {
        return Err(TransferError::Refused(format!(
            "The database has schema {schema}, and this program knows schemas up to {known}. Back up with the newer \
             program."
        )));
    }
    let mut manifest = Manifest {
        schema,
        installation: db::installation::get(&mut tx).await?.id,
        tables: Vec::new(),
        objects: 0,
        files: BTreeMap::new(),
    };
    for table in db::backups::DUMPED {
        let mut file = NewFile::create(folder.join(table))?;
        let mut pieces = db::backups::copy_out(&mut tx, table).await?;
        while let Some(piece) = pieces.try_next().await? {
            file.write(&piece)?;
        }
        drop(pieces);
        manifest.files.insert(table.to_owned(), file.finish()?.to_string());
        manifest.tables.push((table.to_owned(), db::backups::last_id(&mut tx, table).await?));
    }
    write_named(&mut tx, folder).await?;
    tx.commit().await?;
    Ok(manifest)
}

async fn write_named(connection: &mut PgConnection, folder: &Path) -> Result<(), TransferError> {
    let mut file = NewFile::create(folder.join(NAMED))?;
    let mut objects = std::pin::pin!(named_objects(connection));
    while let Some(object) = objects.try_next().await? {
        file.write_object(&object.key, object.bytes, object.digest)?;
    }
    file.finish()?;
    Ok(())
}

/// Makes the folder a whole backup.
fn publish(manifest: &Manifest, folder: &Path) -> Result<(), TransferError> {
    let (path, written) = (folder.join(MANIFEST), folder.join("manifest.json.new"));
    let json =
        serde_json::to_vec_pretty(manifest).map_err(|error| files::failed(&path)(error.into()))?;
    let mut file = NewFile::create(written.clone())?;
    file.write(&json)?;
    file.finish()?;
    files::sync_folder(folder)?;
    fs::rename(written, &path).map_err(files::failed(&path))?;
    files::sync_folder(folder)
}

/// Keeps jobs from deleting objects.
struct Hold {
    id: Uuid,
    renewing: JoinHandle<()>,
}

impl Hold {
    async fn begin(pool: &PgPool) -> Result<Self, TransferError> {
        let id = Uuid::new_v4();
        db::backups::renew(&mut *pool.acquire().await?, id).await?;
        let pool = pool.clone();
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWED_EACH).await;
                if let Err(error) = renew(&pool, id).await {
                    tracing::warn!(%error, "The backup cannot say that it still runs.");
                }
            }
        });
        Ok(Self { id, renewing })
    }

    async fn end(self, pool: &PgPool) {
        self.renewing.abort();
        let ended = async { db::backups::end(&mut *pool.acquire().await?, self.id).await };
        if let Err(error) = ended.await {
            tracing::warn!(%error, "Files are deleted again ten minutes from now.");
        }
    }
}

async fn renew(pool: &PgPool, id: Uuid) -> sqlx::Result<()> {
    db::backups::renew(&mut *pool.acquire().await?, id).await
}
