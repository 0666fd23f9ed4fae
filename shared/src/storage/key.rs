//! The only place that spells a path in the object store.

use std::fmt;

use imaging::Format;
use object_store::path::Path;
use uuid::Uuid;

use crate::domain::{Attempt, OriginalId, ThumbnailId};

/// Names an object: `originals/3f/3f….jpg`, `thumbnails/a0/a0…-2.png`. The first two hexadecimal
/// digits of the UUID keep the folders of a disk small.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorageKey {
    owner: ObjectKind,
    path: Path,
}

/// The row that an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Original(OriginalId),
    /// A thumbnail, as made by this attempt.
    Thumbnail(ThumbnailId, Attempt),
}

pub(super) const ORIGINALS: &str = "originals";
pub(super) const THUMBNAILS: &str = "thumbnails";
/// Folders below `originals/` and `thumbnails/`.
const SHARDS: u16 = 256;

/// One of the 256 folders that hold the thumbnails whose UUID starts with the same two hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(u8);

impl Shard {
    /// The shard of this number.
    pub fn new(number: u8) -> Self {
        Self(number)
    }

    /// All shards, each once, from this one on.
    pub fn cycle_from(self) -> impl Iterator<Item = Self> {
        (0..SHARDS)
            .map(move |step| Self(self.0.wrapping_add(u8::try_from(step).unwrap_or_default())))
    }

    /// The shard after this one; the first after the last.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number, 0 to 255.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The start of the key of each of the shard's thumbnails.
    pub fn thumbnails_prefix(self) -> String {
        format!("{THUMBNAILS}/{:02x}/", self.0)
    }
}

impl StorageKey {
    pub fn original(id: OriginalId, format: Format) -> Self {
        Self { owner: ObjectKind::Original(id), path: path_of(ORIGINALS, id.0, "", format) }
    }

    /// The key of what one attempt at a thumbnail makes. Attempt 0, of the first edition, has no
    /// suffix.
    pub fn thumbnail(id: ThumbnailId, attempt: Attempt, format: Format) -> Self {
        let suffix =
            if attempt == Attempt::FIRST_EDITION { String::new() } else { format!("-{attempt}") };
        Self {
            owner: ObjectKind::Thumbnail(id, attempt),
            path: path_of(THUMBNAILS, id.0, &suffix, format),
        }
    }

    /// Reads a key back from a listing; `None` for a path that is not a key.
    pub fn parse(path: &str) -> Option<Self> {
        let (folder, rest) = path.split_once('/')?;
        let (_, file) = rest.split_once('/')?;
        let (name, extension) = file.split_once('.')?;
        let (id, suffix) = name.split_at_checked(UUID_CHARS)?;
        let id = Uuid::try_parse(id).ok()?;
        let format = [Format::Jpeg, Format::Png]
            .into_iter()
            .find(|format| format.extension() == extension)?;
        let attempt = match suffix.strip_prefix('-') {
            Some(number) => Attempt(number.parse().ok()?),
            None => Attempt::FIRST_EDITION,
        };
        let key = match folder {
            ORIGINALS => Self::original(OriginalId(id), format),
            THUMBNAILS => Self::thumbnail(ThumbnailId(id), attempt, format),
            _ => return None,
        };
        (key.path.as_ref() == path).then_some(key)
    }

    /// The row that the object belongs to.
    pub fn owner(&self) -> ObjectKind {
        self.owner
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Characters of a UUID with its hyphens (RFC 9562 section 4).
const UUID_CHARS: usize = 36;

fn path_of(folder: &str, id: Uuid, suffix: &str, format: Format) -> Path {
    let name = id.to_string();
    Path::from_iter([folder, &name[..2], &format!("{name}{suffix}.{}", format.extension())])
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
        let id = ThumbnailId::random();
        for key in [
            StorageKey::original(OriginalId::random(), Format::Jpeg),
            StorageKey::thumbnail(id, Attempt::FIRST_EDITION, Format::Png),
            StorageKey::thumbnail(id, Attempt(1), Format::Jpeg),
            StorageKey::thumbnail(id, Attempt(1_000_000), Format::Jpeg),
        ] {
            assert_eq!(StorageKey::parse(&key.to_string()), Some(key));
        }
    }

    #[test]
    fn each_attempt_has_a_key_of_its_own_and_the_first_edition_had_no_attempts() {
        let id = ThumbnailId::random();
        let key = |attempt| StorageKey::thumbnail(id, Attempt(attempt), Format::Jpeg).to_string();
        assert!(key(0).ends_with(&format!("/{id}.jpg")));
        assert!(key(12).ends_with(&format!("/{id}-12.jpg")));
    }

    #[test]
    fn a_foreign_path_is_no_key() {
        let id = Uuid::new_v4();
        let shard = &id.to_string()[..2];
        for path in [
            "README".to_owned(),
            "pictier.json".to_owned(),
            format!("originals/{id}.jpg"),
            format!("originals/zz/{id}.jpg"),
            format!("originals/{shard}/{id}-1.jpg"),
            format!("others/{shard}/{id}.jpg"),
            format!("originals/{shard}/{id}.exe"),
            format!("thumbnails/{shard}/{id}-0.jpg"),
            format!("thumbnails/{shard}/{id}-01.jpg"),
            format!("thumbnails/{shard}/{id}-x.jpg"),
            format!("thumbnails/{shard}/{id}x.jpg"),
            format!("thumbnails/{shard}/ä{id}.jpg"),
        ] {
            assert_eq!(StorageKey::parse(&path), None, "{path}");
        }
    }

    #[test]
    fn a_cycle_visits_each_shard_once() {
        let mut numbers: Vec<_> = Shard::new(250).cycle_from().map(Shard::number).collect();
        assert_eq!(&numbers[..7], [250, 251, 252, 253, 254, 255, 0]);
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..=255));
        let key = StorageKey::thumbnail(
            ThumbnailId(Uuid::from_u128(0xA7 << 120)),
            Attempt(1),
            Format::Png,
        );
        assert!(key.to_string().starts_with(&Shard::new(0xA7).thumbnails_prefix()));
    }
}
