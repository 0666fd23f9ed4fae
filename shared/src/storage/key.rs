//! The only place that spells a path in the object store.

use std::fmt;

use imaging::Format;
use object_store::path::Path;
use uuid::Uuid;

use crate::domain::{OriginalId, ThumbnailId};

/// Names an object: `originals/3f/3f….jpg`, `thumbnails/a0/a0….png`. The two hexadecimal digits keep the folders
/// of a disk small.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorageKey {
    owner: KeyOwner,
    path: Path,
}

/// The row that an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    /// An image's original.
    Original(OriginalId),
    /// A thumbnail.
    Thumbnail(ThumbnailId),
}

const ORIGINALS: &str = "originals";
const THUMBNAILS: &str = "thumbnails";

impl StorageKey {
    /// Where the original of this name is.
    pub fn original(id: OriginalId, format: Format) -> Self {
        Self { owner: KeyOwner::Original(id), path: path_of(ORIGINALS, id.0, format) }
    }

    /// Where the thumbnail of this name is.
    pub fn thumbnail(id: ThumbnailId, format: Format) -> Self {
        Self { owner: KeyOwner::Thumbnail(id), path: path_of(THUMBNAILS, id.0, format) }
    }

    /// Reads a key back from a listing; `None` for a path that no key of ours has.
    pub fn parse(path: &str) -> Option<Self> {
        let (folder, rest) = path.split_once('/')?;
        let (_, file) = rest.split_once('/')?;
        let (name, extension) = file.split_once('.')?;
        let id = Uuid::try_parse(name).ok()?;
        let format =
            [Format::Jpeg, Format::Png].into_iter().find(|format| format.extension() == extension)?;
        let key = match folder {
            ORIGINALS => Self::original(OriginalId(id), format),
            THUMBNAILS => Self::thumbnail(ThumbnailId(id), format),
            _ => return None,
        };
        (key.path.as_ref() == path).then_some(key)
    }

    /// The row that the object belongs to.
    pub fn owner(&self) -> KeyOwner {
        self.owner
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn path_of(folder: &str, id: Uuid, format: Format) -> Path {
    let name = id.to_string();
    Path::from_iter([folder, &name[..2], &format!("{name}.{}", format.extension())])
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        for key in [
            StorageKey::original(OriginalId::random(), Format::Jpeg),
            StorageKey::thumbnail(ThumbnailId::random(), Format::Png),
        ] {
            assert_eq!(StorageKey::parse(&key.to_string()), Some(key));
        }
    }

    #[test]
    fn a_foreign_path_is_no_key() {
        let id = Uuid::new_v4();
        for path in [
            "README".to_owned(),
            format!("originals/{id}.jpg"),
            format!("originals/zz/{id}.jpg"),
            format!("others/{}/{id}.jpg", &id.to_string()[..2]),
            format!("originals/{}/{id}.exe", &id.to_string()[..2]),
        ] {
            assert_eq!(StorageKey::parse(&path), None, "{path}");
        }
    }
}
