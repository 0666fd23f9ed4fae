//! Where files are: originals and thumbnails in an object store (a folder of the local disk, or
//! S3), uploads on their way there in a spool folder of the local disk.

mod copy;
mod disk;
mod key;
mod marker;
mod measure;
mod multipart;
mod spool;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    ClientOptions, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload,
    RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use tokio::io::{AsyncRead, AsyncReadExt};

pub use copy::{Copied, KnownObject};
pub use key::{ObjectKind, Shard, StorageKey};
pub use marker::Marker;
pub use spool::Spooled;

use self::{
    marker::Verified,
    measure::{Operation, measured, noted},
};

use crate::config::StorageConfig;

/// How many bytes of an upload are in memory while it moves to a disk.
const DISK_PART_BYTES: usize = 256 << 10;
/// S3 takes no smaller parts but the last (Amazon S3 multipart upload limits).
const S3_PART_BYTES: usize = 5 << 20;
/// Files up to this size are best read in one go: each piece of a stream costs a hop between
/// threads.
const SMALL_BYTES: u64 = 256 << 10;

/// S3 requests that fail for a moment are sent again so often, and for so long. A longer outage is
/// for the caller.
const S3_RETRIES: usize = 3;
const S3_RETRY_TIME: Duration = Duration::from_secs(10);
/// S3 gets this long to accept a connection, and to send each next piece of an answer.
const S3_CONNECT_TIME: Duration = Duration::from_secs(3);
const S3_READ_TIME: Duration = Duration::from_secs(15);

/// The object store could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    #[error("disk: {0}")]
    Io(#[from] std::io::Error),
    /// The marker of the installation is missing: the store is away, or another one is in its
    /// place.
    #[error("{place} has no {}; it is not mounted, or another store is in its place", Marker::PATH)]
    NotMarked { place: String },
    /// The store has the marker of another installation.
    #[error("{place} belongs to another installation, {installation}")]
    Foreign {
        place: String,
        /// The installation that the marker names.
        installation: uuid::Uuid,
    },
    /// The marker is not JSON of a known form.
    #[error(
        "{} in {place} cannot be read: {error}; restore it, or run `pictier adopt-storage`",
        Marker::PATH
    )]
    BadMarker { place: String, error: serde_json::Error },
}

/// Originals, thumbnails and uploads on their way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    part_bytes: usize,
    spool: PathBuf,
    place: Place,
    verified: Arc<Verified>,
}

/// Where the objects are.
#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Bucket(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "the folder {}", folder.display()),
            Self::Bucket(bucket) => write!(f, "the bucket {bucket}"),
        }
    }
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
            return Self::open_folder(config.data_dir.join("media"), spool);
        };
        // object_store leaves the choice of the TLS provider to the process; a second call changes
        // nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        let s3 = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(config.s3_allow_http)
                    .with_connect_timeout(S3_CONNECT_TIME)
                    .with_read_timeout(S3_READ_TIME)
                    // a client may read slowly: only silence of the store ends a transfer
                    .with_timeout_disabled(),
            )
            .with_retry(RetryConfig {
                max_retries: S3_RETRIES,
                retry_timeout: S3_RETRY_TIME,
                ..RetryConfig::default()
            })
            .build()?;
        Ok(Self::new(Arc::new(s3), S3_PART_BYTES, spool, Place::Bucket(bucket.clone())))
    }

    /// Opens a folder of objects for a backup.
    pub fn open_backup(root: PathBuf) -> Result<Self, StorageError> {
        Self::open_folder(root.clone(), root)
    }

    fn open_folder(root: PathBuf, spool: PathBuf) -> Result<Self, StorageError> {
        std::fs::create_dir_all(&root)?;
        let disk =
            LocalFileSystem::new_with_prefix(&root)?.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self::new(Arc::new(disk), DISK_PART_BYTES, spool, Place::Folder(root)))
    }

    fn new(store: Arc<dyn ObjectStore>, part_bytes: usize, spool: PathBuf, place: Place) -> Self {
        measure::start();
        Self { store, part_bytes, spool, place, verified: Arc::default() }
    }

    /// The folder or bucket, for messages.
    pub fn place(&self) -> String {
        self.place.to_string()
    }

    /// An empty temporary file without a name for an upload.
    pub fn spool(&self) -> Result<Spooled, StorageError> {
        Ok(Spooled::create(&self.spool)?)
    }

    /// Copies a spooled upload to its key with a part of it in memory at a time, and waits until it
    /// is durable.
    pub async fn store_spooled(
        &self,
        upload: &Spooled,
        key: &StorageKey,
    ) -> Result<(), StorageError> {
        let mut file = tokio::fs::File::from_std(upload.open()?);
        self.store_all(&mut file, upload.bytes(), key).await
    }

    /// Copies all that the reader has, which is so many `bytes`, to a key. Nothing is stored when
    /// the reader fails.
    async fn store_all(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        bytes: u64,
        key: &StorageKey,
    ) -> Result<(), StorageError> {
        if bytes <= self.part_bytes as u64 {
            let mut whole = Vec::with_capacity(self.part_bytes);
            reader.read_to_end(&mut whole).await?;
            return self.put(key, whole.into()).await;
        }
        let copying = async {
            let upload = self.store.put_multipart(key.path()).await?;
            multipart::copy(reader, upload, self.part_bytes).await
        };
        measured(Operation::Put, copying).await
    }

    /// Writes an object whole, over what was there, and waits until it is durable.
    pub async fn put(&self, key: &StorageKey, bytes: Bytes) -> Result<(), StorageError> {
        let putting = self.store.put(key.path(), PutPayload::from_bytes(bytes));
        measured(Operation::Put, async { Ok(putting.await.map(drop)?) }).await
    }

    /// The object, or a `range` of its bytes; `None` when it is not there.
    pub async fn get(
        &self,
        key: &StorageKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StorageError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let getting = async {
            match self.store.get_opts(key.path(), options).await {
                Ok(result) => Ok(Some(Object { result })),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        measured(Operation::Get, getting).await
    }

    /// The object's size in bytes; `None` when it is not there.
    pub async fn size(&self, key: &StorageKey) -> Result<Option<u64>, StorageError> {
        let asking = async {
            match self.store.head(key.path()).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        measured(Operation::Head, asking).await
    }

    /// Deletes the objects; those that are not there count as deleted.
    pub async fn delete(&self, keys: Vec<StorageKey>) -> Result<(), StorageError> {
        let paths = futures::stream::iter(keys).map(|key| Ok(key.path().clone())).boxed();
        let mut deleted = self.store.delete_stream(paths);
        let deleting = async {
            while let Some(result) = deleted.next().await {
                match result {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        };
        measured(Operation::Delete, deleting).await
    }

    /// Every object except the marker, in no order.
    pub fn list(&self) -> BoxStream<'static, Result<ListedObject, StorageError>> {
        self.list_prefix(None)
    }

    /// Every original, in no order.
    pub fn list_originals(&self) -> BoxStream<'static, Result<ListedObject, StorageError>> {
        self.list_prefix(Some(&Path::from(key::ORIGINALS)))
    }

    /// Every object below `thumbnails/`, in no order.
    pub fn list_thumbnails(&self) -> BoxStream<'static, Result<ListedObject, StorageError>> {
        self.list_prefix(Some(&Path::from(key::THUMBNAILS)))
    }

    /// Every thumbnail of a shard, in no order.
    pub fn list_shard(
        &self,
        shard: Shard,
    ) -> BoxStream<'static, Result<ListedObject, StorageError>> {
        self.list_prefix(Some(&Path::from(shard.thumbnails_prefix())))
    }

    fn list_prefix(
        &self,
        prefix: Option<&Path>,
    ) -> BoxStream<'static, Result<ListedObject, StorageError>> {
        let listed = |meta: object_store::ObjectMeta| ListedObject {
            path: meta.location.to_string(),
            last_modified: meta.last_modified,
        };
        let is_ours = |object: &ListedObject| std::future::ready(object.path != Marker::PATH);
        self.store
            .list(prefix)
            .map_ok(listed)
            .map_err(|error| noted(Operation::List, error.into()))
            .try_filter(is_ours)
            .boxed()
    }

    /// Temporary files that nothing has written to for `age`: what killed processes left behind.
    pub async fn abandoned_temp_files(&self, age: Duration) -> Result<Vec<PathBuf>, StorageError> {
        let spool = self.spool.clone();
        let root = match &self.place {
            Place::Folder(root) => Some(root.clone()),
            Place::Bucket(_) => None,
        };
        let found = tokio::task::spawn_blocking(move || {
            disk::abandoned_temp_files(&spool, root.as_deref(), age)
        });
        Ok(found.await.map_err(std::io::Error::other)??)
    }
}

impl Object {
    /// All its bytes (or the range's) in memory.
    pub async fn bytes(self) -> Result<Bytes, StorageError> {
        self.result.bytes().await.map_err(|error| noted(Operation::Read, error.into()))
    }

    /// The size in bytes of the whole object, whatever the range.
    pub fn size(&self) -> u64 {
        self.result.meta.size
    }

    /// Whether it (or the range) is so small that it is best read in one go.
    pub fn is_small(&self) -> bool {
        self.result.range.end - self.result.range.start <= SMALL_BYTES
    }

    /// Its bytes (or the range's) in pieces.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, StorageError>> {
        self.result.into_stream().map_err(|error| noted(Operation::Read, error.into())).boxed()
    }
}
