//! Where files are: originals and thumbnails in an object store (a folder of the local disk, or S3), uploads on
//! their way there in a spool folder of the local disk.

mod disk;
mod key;
mod spool;

use std::{ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart,
    aws::AmazonS3Builder, local::LocalFileSystem,
};
use tokio::io::AsyncReadExt;

pub use key::{KeyOwner, StorageKey};
pub use spool::Spooled;

use crate::config::StorageConfig;

/// How many bytes of an upload are in memory while it moves to a disk.
const DISK_PART_BYTES: usize = 256 << 10;
/// S3 takes no smaller parts but the last (Amazon S3 multipart upload limits).
const S3_PART_BYTES: usize = 5 << 20;
/// Files up to this size are best read in one go: each piece of a stream costs a hop between threads.
const SMALL_BYTES: u64 = 256 << 10;

/// The object store could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store's own error.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The local disk's error.
    #[error("disk: {0}")]
    Io(#[from] std::io::Error),
}

/// Originals, thumbnails and uploads on their way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    part_bytes: usize,
    spool: PathBuf,
    /// The folder behind `store`, when it is one.
    disk_root: Option<PathBuf>,
}

/// An object that is there: what is known of it, and its bytes on demand.
#[derive(Debug)]
pub struct Object {
    result: GetResult,
}

/// An object as a listing names it.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its place as text; for keys of ours, [`StorageKey::parse`] reads it.
    pub path: String,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
}

impl Storage {
    /// Opens the store that the configuration names, creating the local folders.
    pub fn open(config: &StorageConfig) -> Result<Self, StorageError> {
        let spool = config.data_dir.join("tmp");
        std::fs::create_dir_all(&spool)?;
        let Some(bucket) = &config.s3_bucket else {
            let root = config.data_dir.join("media");
            std::fs::create_dir_all(&root)?;
            let disk = LocalFileSystem::new_with_prefix(&root)?.with_automatic_cleanup(true).with_fsync(true);
            let store = Arc::new(disk);
            return Ok(Self { store, part_bytes: DISK_PART_BYTES, spool, disk_root: Some(root) });
        };
        // object_store leaves the choice of the TLS provider to the process; a second call changes nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        let s3 = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_allow_http(config.s3_allow_http)
            .build()?;
        Ok(Self { store: Arc::new(s3), part_bytes: S3_PART_BYTES, spool, disk_root: None })
    }

    /// An empty temporary file for an upload; it is deleted when dropped.
    pub fn spool(&self) -> Result<Spooled, StorageError> {
        Ok(Spooled::create(&self.spool)?)
    }

    /// Copies a spooled upload to its key with a part of it in memory at a time, and waits until it is durable.
    pub async fn store_spooled(&self, upload: &Spooled, key: &StorageKey) -> Result<(), StorageError> {
        let mut file = upload.reader()?;
        if upload.bytes() <= self.part_bytes as u64 {
            let mut bytes = Vec::with_capacity(self.part_bytes);
            file.read_to_end(&mut bytes).await?;
            return self.put(key, bytes.into()).await;
        }
        let multipart = self.store.put_multipart(key.path()).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(multipart, self.part_bytes);
        let mut buffer = vec![0; self.part_bytes];
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => {
                    writer.write(&buffer[..read]);
                    writer.wait_for_capacity(1).await?;
                }
                Err(error) => {
                    writer.abort().await?;
                    return Err(error.into());
                }
            }
        }
        writer.finish().await?;
        Ok(())
    }

    /// Writes an object whole, over what was there, and waits until it is durable.
    pub async fn put(&self, key: &StorageKey, bytes: Bytes) -> Result<(), StorageError> {
        self.store.put(key.path(), PutPayload::from_bytes(bytes)).await?;
        Ok(())
    }

    /// The object, or a `range` of its bytes; `None` when it is not there.
    pub async fn get(
        &self,
        key: &StorageKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StorageError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        match self.store.get_opts(key.path(), options).await {
            Ok(result) => Ok(Some(Object { result })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the object is there.
    pub async fn exists(&self, key: &StorageKey) -> Result<bool, StorageError> {
        match self.store.head(key.path()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the objects; those that are not there count as deleted.
    pub async fn delete(&self, keys: Vec<StorageKey>) -> Result<(), StorageError> {
        let paths = futures::stream::iter(keys).map(|key| Ok(key.path().clone())).boxed();
        let mut deleted = self.store.delete_stream(paths);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Every object, in no order.
    pub fn list(&self) -> BoxStream<'static, Result<ListedObject, StorageError>> {
        let listed = |meta: object_store::ObjectMeta| ListedObject {
            path: meta.location.to_string(),
            last_modified: meta.last_modified,
        };
        self.store.list(None).map_ok(listed).map_err(StorageError::from).boxed()
    }

    /// Temporary files that nothing has written to since `before`: what killed processes left behind.
    pub async fn abandoned_temp_files(&self, before: DateTime<Utc>) -> Result<Vec<PathBuf>, StorageError> {
        let (spool, root) = (self.spool.clone(), self.disk_root.clone());
        let found =
            tokio::task::spawn_blocking(move || disk::abandoned_temp_files(&spool, root.as_deref(), before));
        Ok(found.await.map_err(std::io::Error::other)??)
    }
}

impl Object {
    /// All its bytes (or the range's) in memory.
    pub async fn bytes(self) -> Result<Bytes, StorageError> {
        Ok(self.result.bytes().await?)
    }

    /// Whether it (or the range) is so small that it is best read in one go.
    pub fn is_small(&self) -> bool {
        self.result.range.end - self.result.range.start <= SMALL_BYTES
    }

    /// Its bytes (or the range's) in pieces.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, StorageError>> {
        self.result.into_stream().map_err(StorageError::from).boxed()
    }
}
