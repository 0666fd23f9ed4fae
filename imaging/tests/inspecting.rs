//! What a file is.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use imaging::{Format, InspectError, Inspection, Limits, inspect};

use crate::fixtures::{
    chunk, exif, jpeg, png, progressive, segment, with_chunks, with_header, with_segments,
};

fn inspected(bytes: &[u8]) -> Result<Inspection, InspectError> {
    inspect(&mut Cursor::new(bytes), &Limits::default())
}

/// The position of the frame header's marker.
fn frame_header(jpeg: &[u8]) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame header")
}

#[test]
fn a_jpeg_and_a_png_are_told_by_their_content() {
    let found = inspected(&jpeg(40, 30)).expect("a JPEG");
    assert_eq!((found.format, found.width, found.height, found.scans), (Format::Jpeg, 40, 30, 1));
    let found = inspected(&png(40, 30)).expect("a PNG");
    assert_eq!((found.format, found.width, found.height, found.scans), (Format::Png, 40, 30, 0));
}

#[test]
fn the_scans_of_a_progressive_jpeg_are_counted_and_limited() {
    let bytes = progressive(64, 64);
    let scans = inspected(&bytes).expect("a JPEG").scans;
    assert!(scans > 1);
    let limits = Limits { max_scans: scans - 1, ..Limits::default() };
    let error = inspect(&mut Cursor::new(&bytes), &limits).expect_err("too many scans");
    assert!(matches!(error, InspectError::TooManyScans { limit } if limit == scans - 1));
}

#[test]
fn a_stream_of_scans_without_end_is_given_up() {
    let mut bytes = jpeg(16, 16);
    let start = bytes.windows(2).position(|pair| pair == [0xFF, 0xDA]).expect("a scan");
    let scan = bytes[start..bytes.len() - 2].to_vec();
    bytes.truncate(bytes.len() - 2);
    for _ in 0..1000 {
        bytes.extend(&scan);
    }
    assert!(matches!(inspected(&bytes), Err(InspectError::TooManyScans { limit: 64 })));
}

#[test]
fn what_is_neither_is_not_an_image() {
    for bytes in
        [&b"x"[..], b"GIF89a", b"RIFF\0\0\0\0WEBP", b"BM", b"\xFF\xD8", b"\x89PNG\r\n", b"<svg/>"]
    {
        assert!(matches!(inspected(bytes), Err(InspectError::NotAnImage)), "{bytes:?}");
    }
    assert!(matches!(inspected(b""), Err(InspectError::Empty)));
}

#[test]
fn every_cut_of_an_image_is_truncated() {
    for whole in [jpeg(32, 32), png(32, 32), progressive(32, 32)] {
        for length in 8..whole.len() - 4 {
            let error = inspected(&whole[..length]).expect_err("a truncated image");
            let is_truncated = matches!(error, InspectError::Truncated | InspectError::NoEnd);
            assert!(is_truncated, "{length} of {}: {error}", whole.len());
        }
    }
}

#[test]
fn a_jpeg_without_its_end_marker_is_not_said_to_end_in_the_middle() {
    for whole in [jpeg(32, 32), progressive(32, 32)] {
        for missing in [1, 2, 10] {
            let outcome = inspected(&whole[..whole.len() - missing]);
            assert!(matches!(outcome, Err(InspectError::NoEnd)), "{missing} bytes: {outcome:?}");
        }
        let tables = whole.windows(2).rposition(|pair| pair == [0xFF, 0xC4]).expect("a table");
        assert!(matches!(inspected(&whole[..tables + 8]), Err(InspectError::Truncated)));
    }
}

#[test]
fn a_png_may_lack_the_last_checksum_which_guards_nothing() {
    let whole = png(32, 32);
    for missing in 1..=4 {
        let outcome = inspected(&whole[..whole.len() - missing]);
        assert_eq!(outcome.expect("a PNG"), inspected(&whole).expect("a PNG"));
    }
    assert!(matches!(inspected(&whole[..whole.len() - 5]), Err(InspectError::Truncated)));
}

#[test]
fn bytes_behind_the_end_do_no_harm() {
    for whole in [jpeg(32, 32), png(32, 32)] {
        let trailed = [&whole[..], &[0xFF; 1000], b"MotionPhoto"].concat();
        assert_eq!(inspected(&trailed).expect("an image"), inspected(&whole).expect("an image"));
    }
}

#[test]
fn the_limits_hold_at_the_header() {
    let limit = 50_000_000;
    let bomb = with_header(&png(1, 1), 16_384, 16_384, [8, 2, 0, 0, 0]);
    assert!(
        matches!(inspected(&bomb), Err(InspectError::TooManyPixels { limit: l, .. }) if l == limit)
    );
    let bomb = with_header(&png(1, 1), 60_000, 60_000, [8, 2, 0, 0, 0]);
    assert!(matches!(
        inspected(&bomb),
        Err(InspectError::SideTooLong { side_px: 60_000, limit: 16_384 })
    ));
    let bomb = with_header(&png(1, 1), 16_385, 1, [8, 2, 0, 0, 0]);
    assert!(matches!(
        inspected(&bomb),
        Err(InspectError::SideTooLong { side_px: 16_385, limit: 16_384 })
    ));
    let mut bomb = jpeg(16, 16);
    let frame = frame_header(&bomb);
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
    bomb.truncate(frame + 40);
    assert!(matches!(inspected(&bomb), Err(InspectError::SideTooLong { side_px: 65_535, .. })));
}

#[test]
fn rare_kinds_of_jpeg_are_refused_with_their_name() {
    for (marker, kind) in
        [(0xC3, "Lossless"), (0xC5, "Hierarchical"), (0xC9, "Arithmetic"), (0xCA, "Arithmetic")]
    {
        let mut bytes = jpeg(16, 16);
        let frame = frame_header(&bytes);
        bytes[frame + 1] = marker;
        let error = inspected(&bytes).expect_err("a rare kind");
        assert!(
            matches!(error, InspectError::Unsupported { reason } if reason.contains(kind)),
            "{error}"
        );
    }
    // precision, and number of components
    for (offset, value, kind) in [(4, &[12][..], "8 bits"), (9, &[2], "components")] {
        let mut bytes = jpeg(16, 16);
        let frame = frame_header(&bytes);
        bytes[frame + offset..][..value.len()].copy_from_slice(value);
        let error = inspected(&bytes).expect_err("a rare kind");
        assert!(
            matches!(error, InspectError::Unsupported { reason } if reason.contains(kind)),
            "{error}"
        );
    }
}

#[test]
fn an_extended_sequential_jpeg_is_taken() {
    let mut bytes = jpeg(16, 16);
    let frame = frame_header(&bytes);
    bytes[frame + 1] = 0xC1;
    assert_eq!(inspected(&bytes).expect("a JPEG"), inspected(&jpeg(16, 16)).expect("a JPEG"));
}

#[test]
fn restart_markers_and_fill_bytes_belong_to_the_scan() {
    let whole = jpeg(16, 16);
    let end = whole.len() - 2;
    let padded =
        [&whole[..end], &[0xFF, 0xD0, 0x12, 0xFF, 0x00, 0xFF, 0xFF, 0xFF], &whole[end..]].concat();
    assert_eq!(inspected(&padded).expect("a JPEG"), inspected(&whole).expect("a JPEG"));
}

/// A source that gives a byte at a time, and is interrupted before each.
struct Stuttering(Cursor<Vec<u8>>, u64);

impl Read for Stuttering {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1 % 2 == 1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

impl Seek for Stuttering {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

#[test]
fn a_source_may_give_little_at_a_time() {
    for whole in [jpeg(40, 30), png(40, 30), progressive(40, 30)] {
        let expected = inspected(&whole).expect("an image");
        let mut source = Stuttering(Cursor::new(whole), 0);
        assert_eq!(inspect(&mut source, &Limits::default()).expect("an image"), expected);
    }
}

#[test]
fn a_structure_that_contradicts_itself_is_corrupt() {
    let whole = jpeg(16, 16);
    let frame = frame_header(&whole);
    let mut zero_wide = whole.clone();
    zero_wide[frame + 7..frame + 9].copy_from_slice(&[0, 0]);
    let mut sampling = whole.clone();
    sampling[frame + 11] = 0x51;
    let no_picture = [&whole[..frame], &[0xFF, 0xD9]].concat();
    let twice = with_segments(&whole, &[whole[frame..frame + 19].to_vec()]);
    let short = with_segments(&whole, &[vec![0xFF, 0xDB, 0, 1]]);
    for bytes in [zero_wide, sampling, no_picture, twice, short] {
        let error = inspected(&bytes).expect_err("a contradiction");
        assert!(matches!(error, InspectError::Corrupt { .. }), "{error}");
    }
    let picture = png(16, 16);
    let bad_depth = with_header(&picture, 16, 16, [3, 2, 0, 0, 0]);
    let no_palette = with_header(&picture, 16, 16, [8, 3, 0, 0, 0]);
    let zero_high = with_header(&picture, 16, 0, [8, 2, 0, 0, 0]);
    let mut checksum = picture.clone();
    checksum[30] ^= 1;
    let two_headers = with_chunks(&picture, &[picture[8..33].to_vec()]);
    let no_pixels = [&picture[..33], &chunk(b"IEND", b"")].concat();
    for bytes in [bad_depth, no_palette, zero_high, checksum, two_headers, no_pixels] {
        let error = inspected(&bytes).expect_err("a contradiction");
        assert!(matches!(error, InspectError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn the_displayed_sides_follow_the_orientation() {
    for number in 1..=8 {
        let tagged = with_segments(
            &jpeg(40, 30),
            &[segment(0xE1, &[b"Exif\0\0", &exif(number)[..]].concat())],
        );
        let found = inspected(&tagged).expect("a JPEG");
        assert_eq!(found.orientation.exif(), number);
        assert_eq!((found.width, found.height), if number < 5 { (40, 30) } else { (30, 40) });
        let tagged = with_chunks(&png(40, 30), &[chunk(b"eXIf", &exif(number))]);
        assert_eq!(inspected(&tagged).expect("a PNG").orientation.exif(), number);
    }
}

#[test]
fn malformed_metadata_say_nothing_and_do_no_harm() {
    for block in [&b"Exif\0\0"[..], b"Exif\0\0garbage", b"http://ns.adobe.com/xap/1.0/\0<x/>"] {
        let tagged = with_segments(&jpeg(40, 30), &[segment(0xE1, block)]);
        assert_eq!(inspected(&tagged).expect("a JPEG").orientation.exif(), 1);
    }
    let tagged =
        with_chunks(&png(40, 30), &[chunk(b"eXIf", b"garbage"), chunk(b"zTXt", &[0; 5000])]);
    assert_eq!(inspected(&tagged).expect("a PNG").orientation.exif(), 1);
}

#[test]
fn the_first_orientation_counts() {
    let block = |number| segment(0xE1, &[b"Exif\0\0", &exif(number)[..]].concat());
    let tagged = with_segments(&jpeg(40, 30), &[block(6), block(3)]);
    assert_eq!(inspected(&tagged).expect("a JPEG").orientation.exif(), 6);
    let tagged = with_chunks(&png(40, 30), &[chunk(b"eXIf", &exif(6)), chunk(b"eXIf", b"garbage")]);
    assert_eq!(inspected(&tagged).expect("a PNG").orientation.exif(), 6);
}

#[test]
fn an_animation_is_noticed() {
    let animated = with_chunks(&png(4, 4), &[chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0])]);
    assert!(inspected(&animated).expect("a PNG").animated);
}

#[test]
fn a_chunk_longer_than_the_file_is_truncated_and_costs_no_memory() {
    let mut bytes = png(4, 4);
    bytes[33..37].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF]);
    assert!(matches!(inspected(&bytes), Err(InspectError::Truncated)));
    bytes[33..37].copy_from_slice(&[0xFF; 4]);
    assert!(matches!(inspected(&bytes), Err(InspectError::Corrupt { .. })));
}
