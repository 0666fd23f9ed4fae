//! Thumbnails.

use std::time::Duration;

use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use imaging::{
    Deadline, Format, InspectError, Limits, Options, Rendition, ThumbnailError, thumbnails,
};

use crate::fixtures::{
    chunk, cmyk, corners, encode, exif, interlaced, jpeg, palette, png, progressive, segment,
    with_chunks, with_header, with_segments,
};

fn rendered(bytes: &[u8], heights: &[u32]) -> Result<Rendition, ThumbnailError> {
    thumbnails(bytes, heights, &Options::default(), &Limits::default(), &Deadline::none())
}

/// The one thumbnail of this height, decoded.
fn thumbnail(bytes: &[u8], height: u32) -> DynamicImage {
    let rendition = rendered(bytes, &[height]).expect("a thumbnail");
    let made = &rendition.thumbnails[0];
    let picture = image::load_from_memory(&made.bytes).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (made.width, made.height));
    picture
}

/// The names of the colours in the corners of [`corners`], clockwise from the upper left.
fn corner_names(picture: &DynamicImage) -> String {
    let picture = picture.to_rgb8();
    let (right, bottom) = (picture.width() - 3, picture.height() - 3);
    let name = |(x, y)| match picture.get_pixel(x, y).0 {
        [200..=255, 0..56, 0..56] => 'r',
        [0..56, 200..=255, 0..56] => 'g',
        [0..56, 0..56, 200..=255] => 'b',
        [200..=255, 200..=255, 200..=255] => 'w',
        _ => '?',
    };
    [(2, 2), (right, 2), (right, bottom), (2, bottom)].map(name).iter().collect()
}

#[test]
fn a_thumbnail_is_as_high_as_asked_and_keeps_the_format() {
    for (bytes, format) in [(jpeg(400, 300), Format::Jpeg), (png(400, 300), Format::Png)] {
        let rendition = rendered(&bytes, &[100, 50]).expect("thumbnails");
        let sizes: Vec<_> = rendition
            .thumbnails
            .iter()
            .map(|made| (made.requested_height, made.width, made.height))
            .collect();
        assert_eq!(sizes, [(100, 133, 100), (50, 67, 50)]);
        for made in &rendition.thumbnails {
            assert_eq!(made.format, format);
            assert_eq!(
                corner_names(&image::load_from_memory(&made.bytes).expect("a picture")),
                "rgwb"
            );
        }
        assert!(!rendition.placeholder.is_empty());
    }
}

#[test]
fn a_progressive_jpeg_is_decoded() {
    assert_eq!(corner_names(&thumbnail(&progressive(400, 300), 100)), "rgwb");
}

#[test]
fn a_jpeg_of_four_components_becomes_rgb() {
    for kind in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        let made = thumbnail(&cmyk(400, 300, kind), 100);
        assert_eq!((made.color(), made.width(), made.height()), (image::ColorType::Rgb8, 133, 100));
        assert_eq!(corner_names(&made), "rgwb", "{kind:?}");
    }
}

#[test]
fn a_palette_becomes_colours_and_alpha() {
    let made = thumbnail(&palette(64), 16);
    assert_eq!(corner_names(&made), "rgwb");
    let made = made.to_rgba8();
    assert_eq!([made.get_pixel(2, 2)[3], made.get_pixel(13, 13)[3]], [128, 255]);
}

#[test]
fn an_animation_shows_its_first_frame() {
    let control = chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
    let frame = |number: u8| {
        let mut fields = vec![0, 0, 0, number, 0, 0, 0, 64, 0, 0, 0, 64];
        fields.extend([0; 14]);
        chunk(b"fcTL", &fields)
    };
    let still = with_chunks(&png(64, 64), &[control, frame(0)]);
    let end = still.len() - 12;
    let second = chunk(b"fdAT", &[0, 0, 0, 2, 1, 2, 3]);
    let animation = [&still[..end], &frame(1), &second, &still[end..]].concat();
    assert_eq!(corner_names(&thumbnail(&animation, 32)), "rgwb");
}

#[test]
fn metadata_that_nobody_wants_do_no_harm_however_large() {
    let profile = chunk(b"iCCP", &[&b"profile\0\0"[..], &vec![0xA5; 100_000]].concat());
    let text = chunk(b"tEXt", &[&b"Comment\0"[..], &vec![b'x'; 9_000_000]].concat());
    let tagged = with_chunks(&png(1, 1), &[profile, text, chunk(b"eXIf", &vec![b'x'; 5_000_000])]);
    assert_eq!(thumbnail(&tagged, 200).width(), 1);
}

#[test]
fn every_orientation_is_turned_upright() {
    // the corners clockwise, as EXIF 2.32 shows the eight orientations of one picture
    let expected = ["rgwb", "grbw", "wbrg", "bwgr", "rbwg", "brgw", "wgrb", "gwbr"];
    for (number, corners) in (1..=8).zip(expected) {
        let block = exif(number);
        let tagged_jpeg =
            with_segments(&jpeg(400, 300), &[segment(0xE1, &[b"Exif\0\0", &block[..]].concat())]);
        let tagged_png = with_chunks(&png(400, 300), &[chunk(b"eXIf", &block)]);
        for bytes in [tagged_jpeg, tagged_png] {
            let made = thumbnail(&bytes, 120);
            assert_eq!(corner_names(&made), corners, "orientation {number}");
            assert_eq!(
                (made.width(), made.height()),
                if number < 5 { (160, 120) } else { (90, 120) }
            );
        }
    }
}

#[test]
fn all_metadata_are_left_out() {
    let secret = b"Exif\0\0secret place";
    let tagged =
        with_segments(&jpeg(40, 30), &[segment(0xE1, secret), segment(0xFE, b"secret comment")]);
    let commented = with_chunks(&png(40, 30), &[chunk(b"tEXt", b"Comment\0secret")]);
    for bytes in [tagged, commented] {
        let made = &rendered(&bytes, &[30]).expect("a thumbnail").thumbnails[0];
        assert!(!made.bytes.windows(6).any(|window| window == b"secret"));
    }
}

#[test]
fn a_small_original_is_encoded_again_at_its_own_height() {
    let made = thumbnail(&jpeg(30, 20), 200);
    assert_eq!((made.width(), made.height()), (30, 20));
}

#[test]
fn extreme_shapes_have_thumbnails() {
    let narrow = thumbnail(&png(1, 5000), 200);
    assert_eq!((narrow.width(), narrow.height()), (1, 200));
    let wide = thumbnail(&png(16_000, 2), 200);
    assert_eq!((wide.width(), wide.height()), (16_000, 2));
    let dot = thumbnail(&jpeg(1, 1), 200);
    assert_eq!((dot.width(), dot.height()), (1, 1));
}

#[test]
fn a_thumbnail_that_would_be_too_wide_is_scaled_down() {
    let options = Options { max_width_px: 100, ..Options::default() };
    let rendition =
        thumbnails(&png(400, 100), &[100], &options, &Limits::default(), &Deadline::none());
    let made = &rendition.expect("a thumbnail").thumbnails[0];
    assert_eq!((made.width, made.height), (100, 25));
}

#[test]
fn every_colour_type_of_png_is_read() {
    let picture = corners(200, 200);
    for kind in [
        DynamicImage::ImageLuma8(picture.to_luma8()),
        DynamicImage::ImageLumaA8(picture.to_luma_alpha8()),
        DynamicImage::ImageRgba8(picture.to_rgba8()),
        DynamicImage::ImageLuma16(picture.to_luma16()),
        DynamicImage::ImageLumaA16(picture.to_luma_alpha16()),
        DynamicImage::ImageRgb16(picture.to_rgb16()),
        DynamicImage::ImageRgba16(picture.to_rgba16()),
    ] {
        let made = thumbnail(&encode(&kind, ImageFormat::Png), 50);
        assert_eq!((made.width(), made.height()), (50, 50), "{:?}", kind.color());
        assert_eq!(made.color().has_alpha(), kind.color().has_alpha());
        assert_eq!(made.color().has_color(), kind.color().has_color());
    }
}

#[test]
fn a_grey_jpeg_stays_grey() {
    let grey = DynamicImage::ImageLuma8(corners(200, 200).to_luma8());
    assert!(!thumbnail(&encode(&grey, ImageFormat::Jpeg), 50).color().has_color());
}

#[test]
fn what_is_transparent_does_not_bleed() {
    // a white disc's edge on transparent black: without premultiplied alpha its border turns grey
    let disc =
        RgbaImage::from_fn(200, 200, |x, _| if x < 100 { Rgba([255; 4]) } else { Rgba([0; 4]) });
    let made = thumbnail(&encode(&DynamicImage::ImageRgba8(disc), ImageFormat::Png), 50).to_rgba8();
    for pixel in made.pixels().filter(|pixel| pixel[3] > 8) {
        assert!(pixel[0] > 240, "{pixel:?}");
    }
}

#[test]
fn a_picture_of_nothing_has_a_thumbnail_and_a_placeholder() {
    let nothing = encode(&DynamicImage::ImageRgba8(RgbaImage::new(200, 100)), ImageFormat::Png);
    let rendition = rendered(&nothing, &[50]).expect("a thumbnail");
    assert!(!rendition.placeholder.is_empty());
    let made =
        image::load_from_memory(&rendition.thumbnails[0].bytes).expect("a picture").to_rgba8();
    assert!(made.pixels().all(|pixel| pixel[3] == 0));
}

#[test]
fn heights_and_qualities_out_of_range_are_brought_into_it() {
    for quality in [0, 255] {
        let options = Options { jpeg_quality: quality, ..Options::default() };
        let made = thumbnails(
            &jpeg(40, 30),
            &[0, u32::MAX],
            &options,
            &Limits::default(),
            &Deadline::none(),
        );
        let sizes: Vec<_> = made
            .expect("thumbnails")
            .thumbnails
            .iter()
            .map(|made| (made.width, made.height))
            .collect();
        assert_eq!(sizes, [(1, 1), (40, 30)]);
    }
}

#[test]
fn a_deadline_that_has_passed_ends_the_work() {
    let past = Deadline::after(Duration::ZERO);
    let error = thumbnails(&jpeg(400, 300), &[100], &Options::default(), &Limits::default(), &past);
    assert!(matches!(error, Err(ThumbnailError::DeadlineExceeded(_))));
}

#[test]
fn the_limits_hold_before_anything_is_decoded() {
    let bomb = with_header(&png(1, 1), 16_384, 16_384, [8, 2, 0, 0, 0]);
    let error = rendered(&bomb, &[100]).expect_err("too many pixels");
    assert!(matches!(error, ThumbnailError::Inspect(InspectError::TooManyPixels { .. })));
}

#[test]
fn pixels_that_cannot_be_decoded_are_an_error_with_a_reason() {
    let mut bytes = png(64, 64);
    let data = bytes.windows(4).position(|kind| kind == b"IDAT").expect("pixels") + 4;
    bytes[data + 4..data + 12].fill(0xAA);
    assert!(
        matches!(rendered(&bytes, &[32]), Err(ThumbnailError::Decode { reason }) if !reason.is_empty())
    );
}

/// A profile as a JPEG stores it, in parts.
fn icc_segments(profile: &[u8]) -> Vec<Vec<u8>> {
    let parts: Vec<_> = profile.chunks(profile.len().div_ceil(2)).collect();
    let count = u8::try_from(parts.len()).expect("two parts");
    let part = |(number, part): (u8, &&[u8])| {
        segment(0xE2, &[b"ICC_PROFILE\0", &[number, count][..], part].concat())
    };
    (1..).zip(&parts).map(part).collect()
}

#[test]
fn colours_are_converted_to_srgb_and_the_profile_is_left_out() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    let grey = RgbImage::from_pixel(64, 64, Rgb([200, 100, 100]));
    let plain_jpeg = encode(&DynamicImage::ImageRgb8(grey.clone()), ImageFormat::Jpeg);
    let tagged_jpeg = with_segments(&plain_jpeg, &icc_segments(&profile));
    let mut tagged_png = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut tagged_png);
    encoder.set_icc_profile(profile).expect("PNG has profiles");
    grey.write_with_encoder(encoder).expect("a PNG");
    for tagged in [tagged_jpeg, tagged_png] {
        let made = &rendered(&tagged, &[16]).expect("a thumbnail").thumbnails[0];
        assert!(!made.bytes.windows(4).any(|window| window == b"acsp"), "a profile was kept");
        let made = image::load_from_memory(&made.bytes).expect("a picture").into_rgb8();
        let [red, green, blue] = made.get_pixel(8, 8).0;
        // the same colour is farther from grey in the smaller space
        assert!(red > 205 && green < 98 && blue < 98, "{red} {green} {blue}");
    }
    let plain = thumbnail(&plain_jpeg, 16).into_rgb8();
    assert!(plain.get_pixel(8, 8).0[0].abs_diff(200) < 4);
}

#[test]
fn a_profile_whose_parts_are_missing_says_nothing() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    let tagged = with_segments(&jpeg(64, 64), &icc_segments(&profile)[..1]);
    assert_eq!(corner_names(&thumbnail(&tagged, 32)), "rgwb");
}

#[test]
fn inks_are_inverted_whether_adobe_says_so_or_not() {
    let adobe = cmyk(64, 64, jpeg_encoder::ColorType::Cmyk);
    let at = adobe.windows(5).position(|name| name == b"Adobe").expect("a segment of Adobe's") - 4;
    let length = usize::from(adobe[at + 3]) + 2;
    let plain = [&adobe[..at], &adobe[at + length..]].concat();
    for file in [adobe, plain] {
        assert_eq!(corner_names(&thumbnail(&file, 32)), "rgwb");
    }
}

#[test]
fn a_jpeg_with_damage_inside_is_shown_as_far_as_it_goes() {
    let mut bytes = jpeg(400, 300);
    let end = bytes.len() - 2;
    let middle = bytes.len() * 3 / 5;
    // no 0xFF, so that the structure stays whole
    bytes[middle..end].fill(0x55);
    let made = thumbnail(&bytes, 100);
    assert!(corner_names(&made).starts_with("rg"), "the upper corners are there");
}

#[test]
fn a_jpeg_that_ends_too_early_is_refused() {
    for whole in
        [jpeg(400, 300), progressive(400, 300), cmyk(64, 64, jpeg_encoder::ColorType::Cmyk)]
    {
        let cut = &whole[..whole.len() * 3 / 4];
        let error = rendered(cut, &[100]).expect_err("half a picture");
        assert!(matches!(error, ThumbnailError::Inspect(InspectError::NoEnd)), "{error}");
    }
}

#[test]
fn sides_that_are_no_multiple_of_a_block_leave_no_seam() {
    // white on white: what lies beyond the edges of the coded blocks must not be seen
    for (width, height) in [(405, 303), (400, 299), (1001, 777)] {
        let white = DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, Rgb([255; 3])));
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let made = thumbnail(&encode(&white, format), 40).into_rgb8();
            assert!(
                made.pixels().all(|pixel| pixel.0 == [255; 3]),
                "{width} × {height}, {format:?}"
            );
        }
    }
}

#[test]
fn one_decode_serves_several_heights_as_well_as_one() {
    let bytes = jpeg(1600, 1200);
    let together = rendered(&bytes, &[400, 100]).expect("thumbnails").thumbnails;
    for made in together {
        let alone = thumbnail(&bytes, made.requested_height).into_rgb8();
        let made = image::load_from_memory(&made.bytes).expect("a picture").into_rgb8();
        let differences =
            made.as_raw().iter().zip(alone.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b)));
        assert!(differences.sum::<u64>() < made.as_raw().len() as u64, "more than a level each");
    }
}

#[test]
fn what_made_a_decoder_panic_is_an_error() {
    // a colour component of 2 × 3 samples where luma has one, and no end of damage, found by
    // fuzzing
    let file = include_bytes!("pictures/sampling-of-2-by-3.jpg");
    let error = rendered(file, &[77]).expect_err("no picture");
    assert!(matches!(error, ThumbnailError::Decode { .. }), "{error}");
}

#[test]
fn an_interlaced_png_has_the_thumbnails_of_a_plain_one() {
    for (width, height, heights) in
        [(117, 93, &[12, 7][..]), (300, 40, &[2]), (5, 3, &[1]), (90, 60, &[60])]
    {
        let colour = |x: u32, y: u32| {
            Rgba([x, y, x * y, x * 7].map(|value| u8::try_from(value % 256).expect("a sample")))
        };
        let picture = DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, colour));
        let made = |file: &[u8]| {
            let (options, limits) = (Options::default(), Limits::default());
            imaging::pictures(file, heights, &options, &limits, &Deadline::none())
                .expect("pictures")
        };
        assert_eq!(made(&interlaced(&picture)), made(&encode(&picture, ImageFormat::Png)));
    }
}

#[test]
fn the_memory_that_is_needed_follows_from_the_header() {
    let needed = |file: &[u8], heights: &[u32]| {
        imaging::memory_needed(file, heights, &Options::default(), &Limits::default())
            .expect("an image")
    };
    let (sequential, progressive) = (jpeg(400, 300), progressive(400, 300));
    // two bytes to a coefficient
    assert!(needed(&progressive, &[200]) > needed(&sequential, &[200]) + 400 * 300 * 2);
    assert!(needed(&sequential, &[200]) > needed(&sequential, &[20]) + 400 * 300);
    assert!(needed(&png(400, 300), &[300]) > needed(&png(400, 300), &[20]) + 400 * 300 * 3);
    let bomb = with_header(&png(1, 1), 16_384, 16_384, [8, 2, 0, 0, 0]);
    let outcome = imaging::memory_needed(&bomb, &[200], &Options::default(), &Limits::default());
    assert!(matches!(outcome, Err(InspectError::TooManyPixels { .. })));
}
