//! Whatever the bytes are, inspecting them gives a result, the same from a file as from memory.

#![no_main]

use std::io::{BufReader, Cursor};

use imaging::{Limits, inspect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let at_once = inspect(&mut Cursor::new(bytes), &limits);
    let in_parts = inspect(&mut BufReader::with_capacity(7, Cursor::new(bytes)), &limits);
    assert_eq!(at_once.ok(), in_parts.ok());
});
