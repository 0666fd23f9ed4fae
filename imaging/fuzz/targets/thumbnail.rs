//! Whatever the bytes are, there are thumbnails of the right sizes or an error; never a panic,
//! never much time or memory.

#![no_main]

use std::{io::Cursor, time::Duration};

use imaging::{Deadline, Limits, Options, inspect, thumbnail_size, thumbnails};
use libfuzzer_sys::fuzz_target;

/// Small, so that a run is quick; what is above is refused before anything is decoded.
const LIMITS: Limits =
    Limits { max_pixels: 500_000, max_side_px: 4096, max_scans: 64, max_metadata_bytes: 1 << 16 };

fuzz_target!(init: {
    // libFuzzer's hook ends the process at a panic that is caught as well; one that is not still
    // ends it
    std::panic::set_hook(Box::new(|_| {}));
}, |bytes: &[u8]| {
    // heights that meet all scales
    let heights = [1 + u32::try_from(bytes.len() % 97).unwrap_or(0), 7];
    let deadline = Deadline::after(Duration::from_secs(20));
    let Ok(rendition) = thumbnails(bytes, &heights, &Options::default(), &LIMITS, &deadline) else {
        return;
    };
    let displayed = inspect(&mut Cursor::new(bytes), &LIMITS).expect("what is not taken has no thumbnail");
    for (made, height) in rendition.thumbnails.iter().zip(heights) {
        let size = thumbnail_size(displayed.width, displayed.height, height, 16_384);
        assert_eq!((made.width, made.height), size);
    }
});
