//! Uploads under way: a temporary file each, so that memory stays flat whatever the upload's size.

use std::{
    fs::File,
    io::{self, Seek},
    path::Path,
};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::domain::FileDigest;

/// An upload in a temporary file. The file has no name, so nothing is left of it when this is
/// dropped or the process is killed.
#[derive(Debug)]
pub struct Spooled {
    file: File,
    writer: tokio::fs::File,
    bytes: u64,
    digest: Sha256,
}

impl Spooled {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let writer = tokio::fs::File::from_std(file.try_clone()?);
        Ok(Self { file, writer, bytes: 0, digest: Sha256::new() })
    }

    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.writer.write_all(piece).await?;
        self.bytes += piece.len() as u64;
        self.digest.update(piece);
        Ok(())
    }

    /// Waits until every piece is in the file; call it after the last.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.writer.flush().await
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was written.
    pub fn digest(&self) -> FileDigest {
        FileDigest(self.digest.clone().finalize().into())
    }

    /// Rewinds the file and returns another handle. All handles share one position, so only one may
    /// read.
    pub fn open(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn a_spooled_upload_has_no_name_and_can_be_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spooled = Spooled::create(folder.path()).expect("a file");
        spooled.write(b"two ").await.expect("a piece");
        spooled.write(b"pieces").await.expect("a piece");
        spooled.finish().await.expect("a whole file");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a listing").count(), 0);
        assert_eq!(spooled.bytes(), 10);
        let digest = "357bd7709fea926e22910e607a2bb928";
        assert!(spooled.digest().to_string().starts_with(digest));
        for _ in 0..2 {
            let mut text = String::new();
            spooled.open().expect("the file").read_to_string(&mut text).expect("its text");
            assert_eq!(text, "two pieces");
        }
    }
}
