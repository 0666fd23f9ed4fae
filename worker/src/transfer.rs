//! Copying many objects from store to store: what backups, restores and moves have in common.

use std::{fmt, time::Duration};

use futures::{Stream, TryStreamExt, stream};
use shared::{
    db::{self, integrity::ExpectedObject},
    domain::FileDigest,
    installation::InstallationError,
    postgres::{self, SchemaError},
    storage::{Copied, KnownObject, Storage, StorageError, StorageKey},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{audit::Findings, queue::JobError};

/// Objects copied at a time.
const COPIES: usize = 8;
/// Rows read in one go.
const BATCH_ROWS: i64 = 1000;

/// The server closes the connections of a process that has ended a moment later.
const LOOKS: usize = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing, or not all, could be copied or restored.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Installation(#[from] InstallationError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Listing(#[from] JobError),
    /// A file of a backup cannot be read or written.
    #[error("{file}: {error}")]
    File { file: String, error: std::io::Error },
    /// It must not be done; the text says why, and what to do.
    #[error("{0}")]
    Refused(String),
}

/// Fails while an API or a worker uses the database.
pub(crate) async fn expect_stopped(connection: &mut PgConnection) -> Result<(), TransferError> {
    let mut connections = 0;
    for _ in 0..LOOKS {
        connections = postgres::count_service_connections(connection).await?;
        if connections == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Err(TransferError::Refused(format!(
        "APIs or workers have {connections} connections to the database. Stop all processes of Pictier first."
    )))
}

/// What became of the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferReport {
    /// Objects that were copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already.
    pub kept: u64,
    /// Objects that the source does not have.
    pub missing: Findings,
    /// Objects of another size or digest than they should have; they were not copied.
    pub damaged: Findings,
}

impl TransferReport {
    pub fn is_clean(&self) -> bool {
        self.missing.count == 0 && self.damaged.count == 0
    }

    fn add(&mut self, key: &StorageKey, copied: Copied) {
        match copied {
            Copied::Whole(bytes, _) => {
                self.copied += 1;
                self.bytes += bytes;
            }
            Copied::Kept(..) => self.kept += 1,
            Copied::Missing => self.missing.add(key),
            Copied::Damaged => self.damaged.add(key),
        }
    }
}

impl fmt::Display for TransferReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>8}", "files copied", self.copied)?;
        writeln!(f, "{:<34}{:>8}", "their MiB", self.bytes >> 20)?;
        writeln!(f, "{:<34}{:>8}", "files that were there", self.kept)?;
        self.missing.write(f, "files missing")?;
        self.damaged.write(f, "files damaged")
    }
}

/// An object that is now in the target.
pub(crate) struct Arrived<'a> {
    pub(crate) key: &'a StorageKey,
    pub(crate) bytes: u64,
    pub(crate) digest: FileDigest,
}

/// Copies the objects that the target does not have, calls `arrived` for each that it has then, and
/// `progress` with the number of objects since the last call.
pub(crate) async fn transfer(
    from: &Storage,
    to: &Storage,
    objects: impl Stream<Item = Result<KnownObject, TransferError>>,
    mut arrived: impl FnMut(Arrived<'_>) -> Result<(), TransferError>,
    progress: &(impl Fn(u64) + Sync),
) -> Result<TransferReport, TransferError> {
    let mut report = TransferReport::default();
    let copies = objects.map_ok(|object| async move {
        let copied = from.copy_to(to, &object).await?;
        Ok((object.key, copied))
    });
    let mut copies = std::pin::pin!(copies.try_buffered(COPIES));
    while let Some((key, copied)) = copies.try_next().await? {
        if let Copied::Whole(bytes, digest) | Copied::Kept(bytes, digest) = copied {
            arrived(Arrived { key: &key, bytes, digest })?;
        }
        report.add(&key, copied);
        progress(1);
    }
    Ok(report)
}

/// The objects that rows name: originals, then thumbnails that are ready.
pub(crate) fn named_objects(
    connection: &mut PgConnection,
) -> impl Stream<Item = Result<KnownObject, TransferError>> {
    let start = (connection, Some(Page::Originals(Uuid::nil())));
    let pages = stream::try_unfold(start, async |(connection, page): (&mut PgConnection, _)| {
        let Some(page) = page else { return Ok::<_, TransferError>(None) };
        let rows = Page::rows(page, connection).await?;
        let next = page.after(&rows);
        Ok(Some((stream::iter(rows.into_iter().map(known).map(Ok)), (connection, next))))
    });
    pages.try_flatten()
}

fn known(row: ExpectedObject) -> KnownObject {
    KnownObject { key: row.key, bytes: Some(row.bytes), digest: row.digest }
}

/// Rows of one kind, from one id on.
#[derive(Clone, Copy)]
enum Page {
    Originals(Uuid),
    Thumbnails(Uuid),
}

impl Page {
    async fn rows(self, connection: &mut PgConnection) -> sqlx::Result<Vec<ExpectedObject>> {
        match self {
            Self::Originals(id) => db::integrity::originals(connection, id, BATCH_ROWS).await,
            Self::Thumbnails(id) => {
                db::integrity::ready_thumbnails(connection, id, BATCH_ROWS).await
            }
        }
    }

    /// The page after these rows.
    fn after(self, rows: &[ExpectedObject]) -> Option<Self> {
        match (self, rows.last()) {
            (Self::Originals(_), Some(last)) => Some(Self::Originals(last.id)),
            (Self::Originals(_), None) => Some(Self::Thumbnails(Uuid::nil())),
            (Self::Thumbnails(_), Some(last)) => Some(Self::Thumbnails(last.id)),
            (Self::Thumbnails(_), None) => None,
        }
    }
}
