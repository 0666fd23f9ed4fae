//! Pictures to start fuzzing from.

use std::{fs, path::Path};

use imaging::{Deadline, Limits, Options, thumbnails};
use jpeg_encoder::{ColorType, SamplingFactor};

use crate::{
    fixtures::{
        chunk, cmyk, corners, encode, exif, interlaced, jpeg, palette, png, progressive, segment,
        with_chunks, with_segments,
    },
    scaled::{BY_LIBJPEG, Variant},
};

/// One of each kind, all small.
pub(crate) fn pictures() -> Vec<Vec<u8>> {
    let mut pictures: Vec<_> = BY_LIBJPEG.map(<[u8]>::to_vec).into();
    for (sampling, progressive_scans, restart_interval, is_grey) in [
        (SamplingFactor::R_4_4_4, None, 0, false),
        (SamplingFactor::R_4_2_0, None, 2, false),
        (SamplingFactor::R_4_1_1, None, 0, false),
        (SamplingFactor::R_4_4_0, Some(6), 3, false),
        (SamplingFactor::R_4_4_4, None, 5, true),
    ] {
        let variant = Variant {
            width: 41,
            height: 35,
            quality: 85,
            sampling,
            is_grey,
            progressive_scans,
            restart_interval,
            has_own_tables: restart_interval == 0,
        };
        pictures.push(variant.encode(11));
    }
    pictures.extend([ColorType::Cmyk, ColorType::CmykAsYcck].map(|kind| cmyk(24, 18, kind)));
    pictures.push(with_segments(
        &jpeg(40, 30),
        &[segment(0xE1, &[b"Exif\0\0", &exif(6)[..]].concat())],
    ));
    pictures.extend([jpeg(9, 7), progressive(40, 30), png(40, 30), palette(32)]);
    let animation = chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]);
    pictures.push(with_chunks(&png(40, 30), &[animation, chunk(b"eXIf", &exif(8))]));
    let picture = corners(24, 18);
    for kind in [
        image::DynamicImage::ImageLumaA8(picture.to_luma_alpha8()),
        image::DynamicImage::ImageRgba8(picture.to_rgba8()),
        image::DynamicImage::ImageRgba16(picture.to_rgba16()),
        image::DynamicImage::ImageLuma16(picture.to_luma16()),
    ] {
        pictures.push(encode(&kind, image::ImageFormat::Png));
    }
    pictures.push(interlaced(&picture));
    pictures
}

#[test]
fn seeds_for_fuzzing_are_pictures() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzzing-seeds");
    fs::create_dir_all(&folder).expect("a folder");
    for (number, picture) in pictures().into_iter().enumerate() {
        thumbnails(&picture, &[8], &Options::default(), &Limits::default(), &Deadline::none())
            .expect("a thumbnail");
        fs::write(folder.join(number.to_string()), picture).expect("a seed");
    }
}
