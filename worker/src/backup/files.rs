//! The files of a backup.
//!
//! `DIR/NAME/` has one file for each table of the dump, `objects` with a line for each object of
//! the storage, and `manifest.json`, which is written last. `DIR/objects/` has the objects of all
//! backups in DIR.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{
    domain::FileDigest,
    storage::{KnownObject, StorageKey},
};
use uuid::Uuid;

use crate::transfer::TransferError;

pub(super) const MANIFEST: &str = "manifest.json";
/// The list of the objects.
pub(super) const OBJECTS: &str = "objects";
/// What the list has where a digest is not known.
const NO_DIGEST: &str = "-";
const BUFFER_BYTES: usize = 64 << 10;

/// What a backup consists of. A folder without it is not a whole backup.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The version of the schema that the tables have.
    pub(super) schema: i64,
    /// The installation that was backed up.
    pub(super) installation: Uuid,
    /// The dumped tables in the order in which they are loaded, and the last id of each whose ids
    /// are numbers.
    pub(super) tables: Vec<(String, Option<i64>)>,
    /// How many objects the list has.
    pub(super) objects: u64,
    /// The SHA-256 of each file of the backup, in hexadecimal digits.
    pub(super) files: BTreeMap<String, String>,
}

/// The error of a file.
pub(super) fn failed(file: &Path) -> impl Fn(io::Error) -> TransferError {
    let file = file.display().to_string();
    move |error| TransferError::File { file: file.clone(), error }
}

/// A file that is being written, with its digest.
pub(super) struct NewFile {
    path: PathBuf,
    writer: BufWriter<File>,
    digest: Sha256,
}

impl NewFile {
    pub(super) fn create(path: PathBuf) -> Result<Self, TransferError> {
        let file = File::create_new(&path).map_err(failed(&path))?;
        Ok(Self { path, writer: BufWriter::new(file), digest: Sha256::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.digest.update(bytes);
        self.writer.write_all(bytes).map_err(failed(&self.path))
    }

    /// Adds a line to a list of objects.
    pub(super) fn write_object(
        &mut self,
        key: &StorageKey,
        bytes: Option<u64>,
        digest: Option<FileDigest>,
    ) -> Result<(), TransferError> {
        let bytes = bytes.unwrap_or_default();
        let digest = digest.map_or_else(|| NO_DIGEST.to_owned(), |digest| digest.to_string());
        self.write(format!("{key} {bytes} {digest}\n").as_bytes())
    }

    /// Waits until the file is durable; its digest.
    pub(super) fn finish(self) -> Result<FileDigest, TransferError> {
        let durable = self.writer.into_inner().map_err(io::IntoInnerError::into_error);
        durable.and_then(|file| file.sync_all()).map_err(failed(&self.path))?;
        Ok(FileDigest(self.digest.finalize().into()))
    }
}

/// Has a folder's entries last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), TransferError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// The digest of a file.
pub(super) fn digest(path: &Path) -> Result<FileDigest, TransferError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer).map_err(failed(path))? {
            0 => return Ok(FileDigest(digest.finalize().into())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// The objects of a list, one line at a time.
pub(super) fn listed(
    path: &Path,
) -> Result<impl Iterator<Item = Result<KnownObject, TransferError>> + use<>, TransferError> {
    let (file, path) = (File::open(path).map_err(failed(path))?, path.to_owned());
    let objects = BufReader::new(file).lines().map(move |line| {
        let line = line.map_err(failed(&path))?;
        parse(&line).ok_or_else(|| {
            TransferError::Refused(format!("{}: {line:?} is not an object.", path.display()))
        })
    });
    Ok(objects)
}

fn parse(line: &str) -> Option<KnownObject> {
    let mut words = line.split(' ');
    let (key, bytes, digest) = (words.next()?, words.next()?, words.next()?);
    let digest = if digest == NO_DIGEST { None } else { Some(FileDigest::parse(digest)?) };
    Some(KnownObject { key: StorageKey::parse(key)?, bytes: Some(bytes.parse().ok()?), digest })
}
