//! Uploads on their way: a temporary file each, so that memory stays flat whatever the upload's size.

use std::{fs, io, path::Path};

use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

/// An upload in a temporary file, which is deleted when this is dropped.
#[derive(Debug)]
pub struct Spooled {
    file: NamedTempFile,
    writer: tokio::fs::File,
    bytes: u64,
}

impl Spooled {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(super::disk::SPOOL_PREFIX).tempfile_in(folder)?;
        let writer = tokio::fs::File::from_std(file.reopen()?);
        Ok(Self { file, writer, bytes: 0 })
    }

    /// Adds a piece.
    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.writer.write_all(piece).await?;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Waits until every piece is in the file; call it after the last.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.writer.flush().await
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file from its start, for readers that block.
    pub fn open(&self) -> io::Result<fs::File> {
        self.file.reopen()
    }

    pub(super) fn reader(&self) -> io::Result<tokio::fs::File> {
        Ok(tokio::fs::File::from_std(self.file.reopen()?))
    }
}
