//! Restoring a backup.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::{StreamExt, stream};
use shared::{
    db::{self, backups::Contents},
    installation, postgres,
    storage::Storage,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::files::{self, MANIFEST, Manifest, OBJECTS};
use crate::transfer::{TransferError, TransferReport, expect_stopped, transfer};

/// A whole backup whose dump is undamaged.
#[derive(Debug)]
pub struct Backup {
    name: String,
    folder: PathBuf,
    objects: Storage,
    manifest: Manifest,
}

impl Backup {
    /// Opens the backup of this name in a folder, or the newest one. Reads its dump, but not its
    /// objects.
    pub fn open(dir: &Path, name: Option<&str>) -> Result<Self, TransferError> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => newest(dir)?,
        };
        let folder = dir.join(&name);
        let damaged = |why: &str| {
            TransferError::Refused(format!(
                "The backup {} is damaged: {why}. Restore another one with --backup.",
                folder.display()
            ))
        };
        let manifest = folder.join(MANIFEST);
        let manifest = fs::read(&manifest).map_err(files::failed(&manifest))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)
            .map_err(|error| damaged(&format!("{MANIFEST} cannot be read ({error})")))?;
        let (schema, known) = (manifest.schema, postgres::known_schema());
        if schema > known {
            return Err(TransferError::Refused(format!(
                "The backup {name} has schema {schema}, and this program knows schemas up to {known}. Restore it with \
                 the program that made it, or a newer one."
            )));
        }
        if manifest.tables.iter().any(|(table, _)| !db::backups::DUMPED.contains(&table.as_str())) {
            return Err(damaged("it names an unknown table"));
        }
        let tables = manifest.tables.iter().map(|(table, _)| table.as_str());
        for file in tables.chain([OBJECTS]) {
            let expected = manifest.files.get(file);
            if expected != Some(&files::digest(&folder.join(file))?.to_string()) {
                return Err(damaged(&format!("{file} has changed")));
            }
        }
        let objects = Storage::open_backup(dir.join(OBJECTS))?;
        Ok(Self { name, folder, objects, manifest })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many objects the backup has.
    pub fn objects(&self) -> u64 {
        self.manifest.objects
    }

    /// Restores the backup into a new database and an empty store, and makes them a new
    /// installation. Calls `progress` with the number of objects since the last call.
    pub async fn restore(
        &self,
        pool: &PgPool,
        storage: &Storage,
        progress: &(impl Fn(u64) + Sync),
    ) -> Result<TransferReport, TransferError> {
        let mut connection = pool.acquire().await?;
        self.expect_fresh(&mut connection, storage).await?;
        drop(connection);
        postgres::migrate_to(pool, self.manifest.schema).await?;
        let objects = stream::iter(files::listed(&self.folder.join(OBJECTS))?);
        let report = transfer(&self.objects, storage, objects, |_| Ok(()), progress).await?;
        self.load(pool).await?;
        postgres::migrate(pool).await?;
        // the jobs that would have made them are not in the dump
        db::thumbnails::release_jobless(&mut *pool.acquire().await?).await?;
        installation::adopt(pool, storage).await?;
        Ok(report)
    }

    async fn expect_fresh(
        &self,
        connection: &mut PgConnection,
        storage: &Storage,
    ) -> Result<(), TransferError> {
        expect_stopped(connection).await?;
        let mut own = None;
        if let Some(contents) = db::backups::contents(connection).await? {
            expect_untouched(contents)?;
            own = Some(db::installation::get(connection).await?.id);
            let (schema, dumped) =
                (postgres::schema_version(connection).await?, self.manifest.schema);
            if schema > dumped {
                return Err(TransferError::Refused(format!(
                    "The database has schema {schema} already, and the backup has schema {dumped}. Restore into a \
                     database that was never migrated."
                )));
            }
        }
        if !is_empty(storage, own).await? {
            return Err(TransferError::Refused(format!(
                "{} is not empty. Restore into a new folder or bucket, or delete what an interrupted restore left there.",
                storage.place()
            )));
        }
        Ok(())
    }

    async fn load(&self, pool: &PgPool) -> Result<(), TransferError> {
        let mut tx = postgres::begin(pool).await?;
        db::backups::lock_contents(&mut tx).await?;
        if let Some(contents) = db::backups::contents(&mut tx).await? {
            expect_untouched(contents)?;
        }
        let tables: Vec<&str> =
            self.manifest.tables.iter().map(|(table, _)| table.as_str()).collect();
        db::backups::clear(&mut tx, &tables).await?;
        for (table, last_id) in &self.manifest.tables {
            let path = self.folder.join(table);
            let file = tokio::fs::File::open(&path).await.map_err(files::failed(&path))?;
            db::backups::set_triggers(&mut tx, table, false).await?;
            let mut rows = db::backups::copy_in(&mut tx, table).await?;
            rows.read_from(file).await?;
            rows.finish().await?;
            db::backups::set_triggers(&mut tx, table, true).await?;
            if let Some(id) = last_id {
                db::backups::set_last_id(&mut tx, table, *id).await?;
            }
        }
        // the first look gives the installation its new id
        db::installation::get(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The name of the newest whole backup in a folder: names are times.
fn newest(dir: &Path) -> Result<String, TransferError> {
    let entries = fs::read_dir(dir).map_err(files::failed(dir))?;
    let whole = entries.flatten().filter(|entry| entry.path().join(MANIFEST).exists());
    let newest = whole.filter_map(|entry| entry.file_name().into_string().ok()).max();
    newest.ok_or_else(|| {
        TransferError::Refused(format!(
            "{} has no whole backup. One that was interrupted has no {MANIFEST}.",
            dir.display()
        ))
    })
}

/// Fails unless the database has only what the first start writes: the tiers, and a superuser with
/// an entry of the audit log.
fn expect_untouched(contents: Contents) -> Result<(), TransferError> {
    let Contents { images, users, actions } = contents;
    if images == 0 && users <= 1 && actions <= 1 {
        return Ok(());
    }
    Err(TransferError::Refused(format!(
        "The database is not empty: it has {images} images, {users} accounts and {actions} entries of the audit log. \
         Restore into a new database."
    )))
}

/// Whether the store has nothing but perhaps the marker of its own installation.
async fn is_empty(storage: &Storage, own: Option<Uuid>) -> Result<bool, TransferError> {
    let marker = storage.read_marker().await?.map(|marker| marker.installation);
    Ok((marker.is_none() || marker == own) && storage.list().next().await.transpose()?.is_none())
}
