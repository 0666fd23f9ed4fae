//! Copying objects from store to store. Each is checked against its digest while it is read, and a
//! damaged one never gets to the other store.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use super::{Storage, StorageError, StorageKey};
use crate::domain::FileDigest;

/// An object and what is known of it.
#[derive(Clone, Debug)]
pub struct KnownObject {
    pub key: StorageKey,
    pub bytes: Option<u64>,
    pub digest: Option<FileDigest>,
}

/// What became of an object that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It was copied: its size and its digest.
    Whole(u64, FileDigest),
    /// It was there already, with the right size and digest.
    Kept(u64, FileDigest),
    /// The store does not have it.
    Missing,
    /// Its size or its bytes are not the known ones. Nothing was copied.
    Damaged,
}

impl Storage {
    /// Copies an object to another store, unless it is there with the known size and digest.
    pub async fn copy_to(
        &self,
        target: &Self,
        object: &KnownObject,
    ) -> Result<Copied, StorageError> {
        let KnownObject { key, bytes, digest } = object;
        if let (Some(bytes), Some(digest)) = (*bytes, *digest)
            && target.size(key).await? == Some(bytes)
            && target.digest(key).await? == Some((bytes, digest))
        {
            return Ok(Copied::Kept(bytes, digest));
        }
        let Some(found) = self.get(key, None).await? else { return Ok(Copied::Missing) };
        let size = found.size();
        if bytes.is_some_and(|bytes| bytes != size) {
            return Ok(Copied::Damaged);
        }
        let pieces = found.into_stream().map_err(io::Error::other);
        let mut reader = Checked::new(StreamReader::new(pieces), *digest);
        match target.store_all(&mut reader, size, key).await {
            Ok(()) => Ok(Copied::Whole(size, reader.digest())),
            Err(_) if reader.is_damaged => Ok(Copied::Damaged),
            Err(error) => Err(unwrapped(error)),
        }
    }

    /// An object's size in bytes and its digest, read in pieces; none when it is not there.
    pub async fn digest(
        &self,
        key: &StorageKey,
    ) -> Result<Option<(u64, FileDigest)>, StorageError> {
        let Some(object) = self.get(key, None).await? else { return Ok(None) };
        let (mut bytes, mut digest) = (0, Sha256::new());
        let mut pieces = object.into_stream();
        while let Some(piece) = pieces.try_next().await? {
            bytes += piece.len() as u64;
            digest.update(&piece);
        }
        Ok(Some((bytes, FileDigest(digest.finalize().into()))))
    }
}

/// The error of the store that was read, which went through the reader.
fn unwrapped(error: StorageError) -> StorageError {
    match error {
        StorageError::Io(error) => error.downcast().unwrap_or_else(StorageError::Io),
        other => other,
    }
}

/// A reader that fails at its end when the bytes have another digest than the expected one.
struct Checked<R> {
    inner: R,
    seen: Sha256,
    expected: Option<FileDigest>,
    is_damaged: bool,
}

impl<R> Checked<R> {
    fn new(inner: R, expected: Option<FileDigest>) -> Self {
        Self { inner, seen: Sha256::new(), expected, is_damaged: false }
    }

    /// The digest of what was read.
    fn digest(&self) -> FileDigest {
        FileDigest(self.seen.clone().finalize().into())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Checked<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        self.seen.update(read);
        if read.is_empty() && self.expected.is_some_and(|expected| expected != self.digest()) {
            self.is_damaged = true;
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OriginalId;

    fn store(folder: &tempfile::TempDir, name: &str) -> Storage {
        Storage::open_backup(folder.path().join(name)).expect("a store")
    }

    fn known(bytes: &[u8]) -> KnownObject {
        KnownObject {
            key: StorageKey::original(OriginalId::random(), imaging::Format::Png),
            bytes: Some(bytes.len() as u64),
            digest: Some(FileDigest(Sha256::digest(bytes).into())),
        }
    }

    #[tokio::test]
    async fn small_and_large_objects_are_copied_once_and_replaced_where_they_differ() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (store(&folder, "a"), store(&folder, "b"));
        for bytes in [vec![7; 10], vec![7; 1 << 20]] {
            let object = known(&bytes);
            from.put(&object.key, bytes.clone().into()).await.expect("an object");
            let (size, digest) = (bytes.len() as u64, object.digest.expect("a digest"));
            let copy = async || from.copy_to(&to, &object).await.expect("a copy");
            assert_eq!(copy().await, Copied::Whole(size, digest));
            assert_eq!(copy().await, Copied::Kept(size, digest));
            let changed = vec![8; bytes.len()];
            to.put(&object.key, changed.into()).await.expect("a changed copy");
            assert_eq!(copy().await, Copied::Whole(size, digest));
            let unknown = KnownObject { bytes: None, digest: None, ..object.clone() };
            let again = from.copy_to(&to, &unknown).await.expect("a copy");
            assert_eq!(again, Copied::Whole(size, digest));
        }
    }

    #[tokio::test]
    async fn a_damaged_object_is_not_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (store(&folder, "a"), store(&folder, "b"));
        for bytes in [vec![7; 10], vec![7; 1 << 20]] {
            let object = known(&bytes);
            let copy = async || from.copy_to(&to, &object).await.expect("a look");
            assert_eq!(copy().await, Copied::Missing);
            for damaged in [vec![8; bytes.len()], vec![7; bytes.len() - 1]] {
                from.put(&object.key, damaged.into()).await.expect("a damaged object");
                assert_eq!(copy().await, Copied::Damaged);
                assert_eq!(to.size(&object.key).await.expect("a look"), None);
            }
        }
    }
}
