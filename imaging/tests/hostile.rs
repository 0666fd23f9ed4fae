//! Whatever the bytes are, the answer is a result: no panic, no endless loop.

use std::io::Cursor;

use imaging::{Deadline, Limits, Options, inspect, thumbnail_size, thumbnails};
use proptest::prelude::*;

use crate::{compare::assert_same_if_sound, seeds::pictures};

/// Small enough to be quick, and small enough to be met.
const LIMITS: Limits =
    Limits { max_pixels: 100_000, max_side_px: 1000, max_scans: 20, max_metadata_bytes: 1000 };

fn survive(bytes: &[u8]) {
    let inspected = inspect(&mut Cursor::new(bytes), &LIMITS);
    let rendered = thumbnails(bytes, &[20, 7], &Options::default(), &LIMITS, &Deadline::none());
    let Ok(rendition) = rendered else { return };
    let displayed = inspected.expect("what is not taken has no thumbnail");
    for made in rendition.thumbnails {
        let (width, height) = (displayed.width, displayed.height);
        assert_eq!(
            (made.width, made.height),
            thumbnail_size(width, height, made.requested_height, 16_384)
        );
    }
}

fn whole() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(pictures())
}

proptest! {
    #[test]
    fn mutated_images_are_survived(
        mut bytes in whole(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        survive(&bytes);
    }

    #[test]
    fn what_a_mutated_jpeg_shows_is_what_the_standard_says(
        mut bytes in whole(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let at = at.index(bytes.len());
        bytes[at] = value;
        assert_same_if_sound(&bytes);
    }

    #[test]
    fn cut_images_are_survived(bytes in whole(), cut in any::<prop::sample::Index>()) {
        survive(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn spliced_images_are_survived(a in whole(), b in whole(), cut in any::<prop::sample::Index>()) {
        let at = cut.index(a.len().min(b.len()));
        survive(&[&a[..at], &b[at..]].concat());
    }

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        survive(&bytes);
        survive(&[b"\xFF\xD8\xFF", &bytes[..]].concat());
        survive(&[b"\x89PNG\r\n\x1A\n", &bytes[..]].concat());
    }
}
