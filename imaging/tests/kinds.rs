//! Rare kinds of JPEG against the pictures that libjpeg-turbo's `djpeg` makes of them.

use std::io::Cursor;

use image::DynamicImage;
use imaging::{Deadline, InspectError, Limits, Options, ThumbnailError, inspect, pictures};
use jpeg_encoder::SamplingFactor;

use crate::{
    fixtures::{cmyk, segment, with_segments},
    scaled::Variant,
};

/// The most that the mean sample may be off.
const MAX_MEAN_DIFFERENCE: f64 = 2.0;
/// Of a picture that is 50 px high: in full, and so small that coefficients are left out.
const HEIGHTS: [u32; 4] = [50, 40, 20, 10];

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("pictures/", $name)).as_slice()
    };
}

const PLAIN: (&[u8], &[u8]) = (file!("plain-420.jpg"), file!("plain-420.png"));

fn made(file: &[u8]) -> Result<Vec<DynamicImage>, ThumbnailError> {
    pictures(file, &HEIGHTS, &Options::default(), &Limits::default(), &Deadline::none())
}

fn mean_difference(one: &DynamicImage, other: &DynamicImage) -> f64 {
    let (one, other) = (one.to_rgb8(), other.to_rgb8());
    assert_eq!(one.dimensions(), other.dimensions());
    let differences = one.iter().zip(other.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)));
    differences.sum::<f64>() / one.len() as f64
}

/// The file is shown as the reference, at all heights.
fn assert_shown_as(file: &[u8], reference: &[u8], kind: &str) {
    let made = made(file).unwrap_or_else(|error| panic!("{kind}: {error}"));
    for (made, expected) in
        made.iter().zip(self::made(reference).expect("the reference is a picture"))
    {
        let difference = mean_difference(made, &expected);
        assert!(difference <= MAX_MEAN_DIFFERENCE, "{kind}, {} px: {difference}", made.height());
    }
}

/// The position of a marker.
fn position(file: &[u8], marker: u8) -> usize {
    file.windows(2).position(|pair| pair == [0xFF, marker]).expect("the marker")
}

/// The file without JFIF's segment.
fn bare(file: &[u8]) -> Vec<u8> {
    let length = 2 + usize::from(file[5]);
    assert_eq!(&file[6..10], b"JFIF");
    [&file[..2], &file[2 + length..]].concat()
}

#[test]
fn several_scans_of_subsampled_components_are_shown() {
    let luma_lower = file!("luma-lower.png");
    for (file, reference, kind) in [
        (PLAIN.0, PLAIN.1, "4:2:0"),
        (file!("one-scan-each-plain-420.jpg"), PLAIN.1, "4:2:0, a scan each"),
        (file!("two-scans-420.jpg"), PLAIN.1, "4:2:0, two scans"),
        (file!("one-scan-each-440.jpg"), file!("plain-440.png"), "4:4:0, a scan each"),
        (file!("luma-lower.jpg"), luma_lower, "luma lower than chroma"),
        (file!("one-scan-each-luma-lower.jpg"), luma_lower, "luma lower than chroma, a scan each"),
    ] {
        assert_shown_as(file, reference, kind);
    }
}

#[test]
fn odd_sampling_factors_are_shown() {
    for (file, reference, kind) in [
        (file!("three-by-one.jpg"), file!("three-by-one.png"), "3 × 1"),
        (file!("three-by-two.jpg"), file!("three-by-two.png"), "3 × 2"),
        (
            file!("progressive-luma-lower.jpg"),
            file!("luma-lower.png"),
            "progressive, luma lower than chroma",
        ),
    ] {
        assert_shown_as(file, reference, kind);
    }
}

#[test]
fn the_colours_are_those_that_libjpeg_sees() {
    let adobe = |transform| segment(0xEE, &[b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat());
    let plain = bare(PLAIN.0);
    for transform in [1, 2, 3] {
        assert_shown_as(&with_segments(&plain, &[adobe(transform)]), PLAIN.1, "Adobe's transform");
    }
    // one byte less than Adobe's segment has
    let short = segment(0xEE, b"Adobe\0\x64\0\0\0\0");
    assert_shown_as(&with_segments(&plain, &[short]), PLAIN.1, "a short segment of Adobe's");
    let mut rgb = file!("rgb.jpg").to_vec();
    let (frame, scan) = (position(&rgb, 0xC0) + 10, position(&rgb, 0xDA) + 5);
    assert_eq!([rgb[frame], rgb[scan]], *b"RR");
    for (number, component) in (1..=3).zip(0..) {
        rgb[frame + component * 3] = number;
        rgb[scan + component * 2] = number;
    }
    assert_shown_as(&rgb, file!("rgb.png"), "RGB with other names");
}

#[test]
fn adobes_segment_counts_wherever_it_is_before_the_first_scan() {
    // its first segment is Adobe's, which says that it is not YCbCr
    let rgb = file!("rgb.jpg");
    let length = 2 + usize::from(rgb[5]);
    assert_eq!(&rgb[6..11], b"Adobe");
    let mut late = [&rgb[..2], &rgb[2 + length..]].concat();
    let (frame, scan) = (position(&late, 0xC0), position(&late, 0xDA));
    for component in 0..3_u8 {
        late[frame + 10 + usize::from(component) * 3] = component + 1;
        late[scan + 5 + usize::from(component) * 2] = component + 1;
    }
    for at in [scan, frame + 2 + usize::from(late[frame + 3])] {
        let moved = [&late[..at], &rgb[2..2 + length], &late[at..]].concat();
        assert_shown_as(&moved, file!("rgb.png"), "Adobe's segment behind the frame header");
    }
    // one byte less than JFIF's segment has
    let short = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0");
    let adobe = rgb[2..2 + length].to_vec();
    assert_shown_as(
        &with_segments(&late, &[short, adobe]),
        file!("rgb.png"),
        "a short segment of JFIF",
    );
}

/// The file without its Huffman tables.
fn without_huffman_tables(file: &[u8]) -> Vec<u8> {
    let mut bare = file.to_vec();
    while let Some(at) = bare.windows(2).position(|pair| pair == [0xFF, 0xC4]) {
        let length = usize::from(bare[at + 2]) << 8 | usize::from(bare[at + 3]);
        bare.drain(at..at + 2 + length);
    }
    bare
}

#[test]
fn a_sequential_jpeg_without_huffman_tables_has_those_of_the_standard() {
    let bare = without_huffman_tables(PLAIN.0);
    assert!(bare.len() + 400 < PLAIN.0.len());
    assert_eq!(inspect(&mut Cursor::new(&bare), &Limits::default()).expect("a JPEG").width, 67);
    assert_shown_as(&bare, PLAIN.1, "no tables");
    let variant = Variant {
        width: 67,
        height: 50,
        quality: 90,
        sampling: SamplingFactor::R_4_4_4,
        is_grey: false,
        progressive_scans: None,
        restart_interval: 0,
        has_own_tables: false,
    };
    let noise = variant.encode(3);
    let of_noise = made(&noise).expect("pictures");
    assert_eq!(made(&without_huffman_tables(&noise)).expect("pictures"), of_noise);
    let progressive = Variant { progressive_scans: Some(6), ..variant }.encode(3);
    let error = made(&without_huffman_tables(&progressive)).expect_err("no picture");
    assert_eq!(error.to_string(), "A Huffman table is missing.");
}

#[test]
fn behind_what_is_no_code_reading_goes_on_as_in_libjpeg() {
    for (file, reference) in [
        (file!("damaged-sequential.jpg"), file!("damaged-sequential.png")),
        (file!("damaged-progressive.jpg"), file!("damaged-progressive.png")),
    ] {
        assert_shown_as(file, reference, "flipped bits");
    }
}

#[test]
fn inks_of_the_same_name_are_told_apart() {
    for kind in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        let named = cmyk(70, 50, kind);
        let mut unnamed = named.clone();
        let (frame, scan) = (position(&named, 0xC0) + 10, position(&named, 0xDA) + 5);
        for component in 0..4 {
            unnamed[frame + component * 3] = 7;
            unnamed[scan + component * 2] = 7;
        }
        assert_ne!(named, unnamed);
        assert_shown_as(&unnamed, &named, "components of one name");
    }
}

#[test]
fn an_empty_comment_without_a_length_is_passed_over() {
    for marker in [0xFE, 0xE5] {
        let commented = with_segments(PLAIN.0, &[vec![0xFF, marker, 0, 0]]);
        assert_shown_as(&commented, PLAIN.1, "a length of 0");
    }
    let damaged = with_segments(PLAIN.0, &[vec![0xFF, 0xDB, 0, 0]]);
    assert!(matches!(made(&damaged), Err(ThumbnailError::Inspect(InspectError::Corrupt { .. }))));
}

/// The file with its height behind the first scan.
fn with_lines_behind(file: &[u8], lines: u16) -> Vec<u8> {
    let mut file = file.to_vec();
    let frame = position(&file, 0xC0);
    file[frame + 5..frame + 7].fill(0);
    let scan = position(&file, 0xDA);
    let marker = |at: &usize| file[*at] == 0xFF && !matches!(file[at + 1], 0 | 0xD0..=0xD7);
    let end = (scan + 2..file.len() - 1).find(marker).expect("an end");
    [&file[..end], &segment(0xDC, &lines.to_be_bytes()), &file[end..]].concat()
}

#[test]
fn a_height_behind_the_picture_is_read() {
    for file in [PLAIN.0, file!("one-scan-each-plain-420.jpg"), file!("restart-420.jpg")] {
        let late = with_lines_behind(file, 50);
        assert_shown_as(&late, PLAIN.1, "a DNL segment");
    }
    let limits = Limits { max_side_px: 400, ..Limits::default() };
    let late = with_lines_behind(PLAIN.0, 401);
    let outcome = pictures(&late, &[50], &Options::default(), &limits, &Deadline::none());
    assert!(matches!(
        outcome,
        Err(ThumbnailError::Inspect(InspectError::SideTooLong { side_px: 401, limit: 400 }))
    ));
    let none = with_lines_behind(PLAIN.0, 0);
    assert!(matches!(made(&none), Err(ThumbnailError::Inspect(InspectError::Corrupt { .. }))));
}

#[test]
fn a_component_without_a_scan_is_refused_with_that_reason() {
    let whole = file!("one-scan-each-plain-420.jpg");
    let scans: Vec<_> =
        (0..whole.len()).filter(|&at| whole[at..].starts_with(&[0xFF, 0xDA])).collect();
    assert_eq!(scans.len(), 3);
    // without the last scan, and its tables
    let tables =
        whole[..scans[2]].windows(2).rposition(|pair| pair == [0xFF, 0xC4]).expect("a table");
    let missing = [&whole[..tables], &[0xFF, 0xD9]].concat();
    let error = made(&missing).expect_err("no picture");
    assert_eq!(error.to_string(), "A colour component has no data.");
}

#[test]
fn behind_damage_the_picture_goes_on_at_the_next_restart_marker() {
    let whole = file!("restart-420.jpg");
    let starts: Vec<_> = (position(whole, 0xDA)..whole.len())
        .filter(|&at| whole[at] == 0xFF && matches!(whole[at + 1], 0xD0..=0xD7))
        .collect();
    assert!(starts.len() > 2, "rows of 16 px each");
    let rows = |file: &[u8]| -> Vec<Vec<u8>> {
        let picture = made(file).expect("a picture")[0].to_rgb8();
        picture.chunks_exact(picture.width() as usize * 3).map(<[u8]>::to_vec).collect()
    };
    let expected = rows(whole);
    let second = starts[0] + 2..starts[1];
    let mut overwritten = whole.to_vec();
    overwritten[second.clone()].fill(0xFE);
    let without_data = [&whole[..second.start], &whole[second.end..]].concat();
    let without_marker = [&whole[..starts[0]], &whole[second.start..]].concat();
    let mut misread = whole.to_vec();
    misread[second.start + 20..second.start + 22].copy_from_slice(&[0xFF, 0x33]);
    for (file, kind) in [
        (overwritten, "overwritten"),
        (without_data, "no data"),
        (without_marker, "no marker"),
        (misread, "a marker that damage has made"),
    ] {
        let found = rows(&file);
        // chroma reaches a row beyond a unit
        assert_eq!(found[..13], expected[..13], "{kind}");
        assert_eq!(found[36..], expected[36..], "{kind}");
        assert!(
            found[20..30].iter().flatten().any(|&sample| sample.abs_diff(128) > 16),
            "{kind}: no grey"
        );
    }
}

#[test]
fn behind_damage_without_restart_markers_the_last_mean_fills_the_picture() {
    let whole = PLAIN.0;
    let scan = position(whole, 0xDA);
    let middle = scan + (whole.len() - scan) / 2;
    // shorter, and as short as it may be while its structure is whole
    let cut = [&whole[..middle], &[0xFF, 0xD9]].concat();
    let picture = made(&cut).expect("a picture")[0].to_rgb8();
    let last = picture.get_pixel(60, 47).0;
    assert_eq!(last, picture.get_pixel(20, 49).0, "one colour");
    let expected = made(whole).expect("a picture")[0].to_rgb8();
    assert_eq!(picture.get_pixel(40, 3), expected.get_pixel(40, 3), "as it was before the damage");
    assert_ne!(last, [128; 3]);
}

#[test]
fn the_reason_names_what_is_wrong() {
    let whole = PLAIN.0;
    let tables = position(whole, 0xC4);
    let mut too_many_codes = whole.to_vec();
    too_many_codes[tables + 5] = 3;
    let mut no_table = whole.to_vec();
    let scan = position(whole, 0xDA);
    no_table[scan + 6] = 0x33;
    let cut = &whole[..whole.len() - 100];
    for (file, reason) in [
        (&too_many_codes[..], "A Huffman table is invalid."),
        (&no_table[..], "A Huffman table is missing."),
        (
            cut,
            "The file ends without an end marker. Part of the picture may be missing. Copy it again.",
        ),
        (&whole[..scan], "The file ends in the middle of the picture. Copy it again."),
    ] {
        assert_eq!(made(file).expect_err("no picture").to_string(), reason);
    }
}
