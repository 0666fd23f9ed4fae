//! What is wrong with a PNG is said in plain words.

use std::io::Cursor;

use imaging::{Deadline, Limits, Options, inspect, thumbnails};

use crate::fixtures::{chunk, png, stored, with_chunks};

const SIDE: u32 = 8;

/// A grey PNG of these chunks behind its header.
fn grey(chunks: &[Vec<u8>]) -> Vec<u8> {
    let header = [&SIDE.to_be_bytes()[..], &SIDE.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1A\n", &chunk(b"IHDR", &header)[..], &chunks.concat()].concat()
}

/// Rows of [`grey`], each with its filter in front.
fn rows(count: u32, filter: u8) -> Vec<u8> {
    (0..count).flat_map(|_| [&[filter][..], &[77; SIDE as usize]].concat()).collect()
}

fn reason(file: &[u8]) -> String {
    let made =
        thumbnails(file, &[SIDE, 2], &Options::default(), &Limits::default(), &Deadline::none());
    made.expect_err("no thumbnail").to_string()
}

fn assert_shown(file: &[u8]) {
    let made =
        thumbnails(file, &[SIDE, 2], &Options::default(), &Limits::default(), &Deadline::none());
    made.expect("thumbnails");
}

#[test]
fn the_reason_names_what_is_wrong() {
    let end = chunk(b"IEND", b"");
    let pixels = stored(&rows(SIDE, 0));
    let whole = chunk(b"IDAT", &pixels);
    assert_shown(&grey(&[whole.clone(), end.clone()]));
    let mut bad_checksum = whole.clone();
    *bad_checksum.last_mut().expect("a checksum") ^= 1;
    let (one, other) = pixels.split_at(20);
    let text = chunk(b"tEXt", b"Comment\0x");
    let apart = [chunk(b"IDAT", one), text, chunk(b"IDAT", other), end.clone()];
    let mut no_such_block = pixels.clone();
    no_such_block[2] = 7;
    let empty = chunk(b"IDAT", b"");
    for (chunks, expected) in [
        (
            vec![chunk(b"ABCD", b"x"), whole.clone(), end.clone()],
            "The file has a required part of an unknown kind.",
        ),
        (apart.to_vec(), "The picture's data are interrupted by another part."),
        (
            vec![chunk(b"IDAT", &stored(&rows(SIDE, 9))), end.clone()],
            "A row of the picture has an unknown filter.",
        ),
        (
            vec![chunk(b"IDAT", &stored(&rows(5, 0))), end.clone()],
            "The picture's data end before its last row.",
        ),
        (vec![chunk(b"IDAT", one), end.clone()], "The picture's data end before its last row."),
        (vec![empty, end.clone()], "The picture's data end before its last row."),
        (vec![bad_checksum, end.clone()], "A checksum of the picture is wrong."),
        (
            vec![chunk(b"IDAT", &no_such_block), end.clone()],
            "The picture's compressed data are damaged.",
        ),
        (
            vec![chunk(b"PLTE", &[1, 2]), whole.clone(), end.clone()],
            "A part of the file is invalid or in the wrong place.",
        ),
    ] {
        assert_eq!(reason(&grey(&chunks)), expected);
    }
}

#[test]
fn a_png_without_its_last_checksum_is_shown() {
    let whole = png(SIDE, SIDE);
    for missing in 1..=4 {
        assert_shown(&whole[..whole.len() - missing]);
    }
    let text = with_chunks(&whole, &[chunk(b"tEXt", b"Comment\0x")]);
    assert_shown(&text);
}

#[test]
fn refuses_a_palette_that_ends_within_a_colour() {
    let header = [&SIDE.to_be_bytes()[..], &SIDE.to_be_bytes(), &[8, 3, 0, 0, 0]].concat();
    let of_palette = |bytes: usize| {
        let palette = chunk(b"PLTE", &vec![9; bytes]);
        let pixels = chunk(b"IDAT", &stored(&rows(SIDE, 0)));
        let head = [b"\x89PNG\r\n\x1A\n", &chunk(b"IHDR", &header)[..]].concat();
        [head, palette, pixels, chunk(b"IEND", b"")].concat()
    };
    let inspected = |bytes| inspect(&mut Cursor::new(of_palette(bytes)), &Limits::default());
    for bytes in [3, 240, 768] {
        assert!(inspected(bytes).is_ok(), "{bytes}");
    }
    for bytes in [0, 1, 4, 5, 767, 769, 771] {
        let error = inspected(bytes).expect_err("a refusal").to_string();
        assert!(error.contains("palette"), "{bytes}: {error}");
    }
}
