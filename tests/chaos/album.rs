//! Distinct pictures, and the thumbnails that the deterministic encoder makes of them when nothing
//! is harmed.

use std::collections::{BTreeMap, BTreeSet};

use imaging::{Deadline, Limits, Options};
use sha2::{Digest, Sha256};

use crate::pictures;

/// The heights of the tier Enterprise, in px.
pub(crate) const HEIGHTS: [u32; 2] = [200, 400];
/// Pictures of each size: small ones are quick, large ones keep a worker in the middle of a job.
const SMALL: usize = 10;
const LARGE: usize = 3;

pub(crate) type Sha = [u8; 32];

/// The SHA-256 of a file.
pub(crate) fn sha(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}

/// Which picture of the album.
pub(crate) type PictureId = usize;

pub(crate) struct Picture {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha: Sha,
    pub(crate) extension: &'static str,
    /// Valid thumbnails by height: one made alone may differ from one made with the other height.
    thumbnails: BTreeMap<u32, BTreeSet<Sha>>,
}

pub(crate) struct Album {
    pictures: Vec<Picture>,
}

impl Album {
    /// Makes the pictures and their reference thumbnails.
    pub(crate) fn make() -> Self {
        let small = (0..SMALL).map(|n| {
            let (width, height) = (640 + 40 * u32::try_from(n).unwrap_or_default(), 480);
            if n % 3 == 2 {
                (pictures::png(width, height), "png")
            } else {
                (pictures::jpeg(width, height), "jpg")
            }
        });
        let large = (0..LARGE).map(|n| {
            (pictures::png(2400 + 100 * u32::try_from(n).unwrap_or_default(), 1800), "png")
        });
        let pictures =
            small.chain(large).map(|(bytes, extension)| Picture::new(bytes, extension)).collect();
        Self { pictures }
    }

    pub(crate) fn picture(&self, id: PictureId) -> &Picture {
        &self.pictures[id]
    }

    /// A picture whose thumbnails take a few milliseconds.
    pub(crate) fn small(random: usize) -> PictureId {
        random % SMALL
    }

    /// A picture whose thumbnails take a good part of a second.
    pub(crate) fn large(random: usize) -> PictureId {
        SMALL + random % LARGE
    }

    /// What is wrong with the bytes of a thumbnail, if anything is.
    pub(crate) fn fault(&self, id: PictureId, height: u32, bytes: &[u8]) -> Option<String> {
        if self.pictures[id].thumbnails[&height].contains(&sha(bytes)) {
            return None;
        }
        Some(match image::load_from_memory(bytes) {
            Err(error) => format!("{} bytes that do not decode: {error}", bytes.len()),
            Ok(picture) if picture.height() != height => {
                format!("{} px high, not {height}", picture.height())
            }
            Ok(_) => format!("{} bytes that no undisturbed worker makes", bytes.len()),
        })
    }
}

impl Picture {
    fn new(bytes: Vec<u8>, extension: &'static str) -> Self {
        let mut thumbnails: BTreeMap<u32, BTreeSet<Sha>> = BTreeMap::new();
        for heights in [&HEIGHTS[..1], &HEIGHTS[1..], &HEIGHTS[..]] {
            let made = imaging::thumbnails(
                &bytes,
                heights,
                &Options::default(),
                &Limits::default(),
                &Deadline::none(),
            );
            for thumbnail in made.expect("a thumbnail").thumbnails {
                let height = thumbnail.requested_height;
                assert_eq!(
                    pictures::size(&thumbnail.bytes).1,
                    height,
                    "the reference has the height"
                );
                thumbnails.entry(height).or_default().insert(sha(&thumbnail.bytes));
            }
        }
        Self { sha: sha(&bytes), bytes, extension, thumbnails }
    }
}
