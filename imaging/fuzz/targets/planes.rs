//! Whatever the bytes are, the planes at all scales are those of the reference decoder, where both
//! take the file; and what is read in streams is what is read from start to end.

#![no_main]

#[path = "../../tests/compare.rs"]
mod compare;
#[path = "../../tests/reference/mod.rs"]
mod reference;

use std::io::Cursor;

use imaging::{Format, Limits, inspect};
use libfuzzer_sys::fuzz_target;

/// Small, as the reference is slow.
const LIMITS: Limits =
    Limits { max_pixels: 10_000, max_side_px: 1000, max_scans: 64, max_metadata_bytes: 1 << 16 };

fuzz_target!(init: {
    // a panic of the reference at unsound input is caught; a difference still ends the process
    std::panic::set_hook(Box::new(|_| {}));
}, |bytes: &[u8]| {
    if inspect(&mut Cursor::new(bytes), &LIMITS).is_ok_and(|found| found.format == Format::Jpeg) {
        compare::assert_same_if_sound(bytes);
        for scales in compare::STREAM_SCALES {
            compare::assert_streams_as_serial(bytes, [scales; 2]);
        }
    }
});
