//! Pictures made in memory.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// Upper left red, upper right green, lower left blue, lower right white.
pub(crate) fn corners(width: u32, height: u32) -> DynamicImage {
    let colour = |x: u32, y: u32| match (x < width / 2, y < height / 2) {
        (true, true) => Rgb([255, 0, 0]),
        (false, true) => Rgb([0, 255, 0]),
        (true, false) => Rgb([0, 0, 255]),
        (false, false) => Rgb([255, 255, 255]),
    };
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, colour))
}

pub(crate) fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).expect("an encoded picture");
    bytes
}

pub(crate) fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(&corners(width, height), ImageFormat::Jpeg)
}

pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    encode(&corners(width, height), ImageFormat::Png)
}

/// A progressive JPEG.
pub(crate) fn progressive(width: u16, height: u16) -> Vec<u8> {
    let picture = corners(u32::from(width), u32::from(height)).into_rgb8();
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_progressive(true);
    encoder
        .encode(picture.as_raw(), width, height, jpeg_encoder::ColorType::Rgb)
        .expect("an encoded picture");
    bytes
}

/// A JPEG of four components, as printers use them.
pub(crate) fn cmyk(width: u16, height: u16, kind: jpeg_encoder::ColorType) -> Vec<u8> {
    let picture = corners(u32::from(width), u32::from(height)).into_rgb8();
    // without black, the inks are what is missing of red, green and blue
    let inks: Vec<u8> =
        picture.pixels().flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], 0]).collect();
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 90)
        .encode(&inks, width, height, kind)
        .expect("an encoded picture");
    bytes
}

/// A PNG of palette entries, two bits each, that shows [`corners`]; the colour of the upper left is
/// half transparent.
pub(crate) fn palette(side: u8) -> Vec<u8> {
    let entry = |right: bool, low: bool| u8::from(right) | u8::from(low) << 1;
    let mut rows = Vec::new();
    for y in 0..side {
        // each row starts with its filter, here none
        rows.push(0);
        for x in (0..side).step_by(4) {
            let pixels = (x..x + 4).map(|x| entry(x >= side / 2, y >= side / 2));
            rows.push(pixels.fold(0, |byte, pixel| byte << 2 | pixel));
        }
    }
    let header =
        [&u32::from(side).to_be_bytes()[..], &u32::from(side).to_be_bytes(), &[2, 3, 0, 0, 0]]
            .concat();
    let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]].concat();
    let chunks = [
        chunk(b"IHDR", &header),
        chunk(b"PLTE", &colours),
        chunk(b"tRNS", &[128]),
        chunk(b"IDAT", &stored(&rows)),
        chunk(b"IEND", b""),
    ];
    [b"\x89PNG\r\n\x1A\n", &chunks.concat()[..]].concat()
}

/// An interlaced PNG of RGBA, small enough for a block that is not compressed (W3C PNG
/// specification, section 8.2).
pub(crate) fn interlaced(picture: &DynamicImage) -> Vec<u8> {
    let picture = picture.to_rgba8();
    let (width, height) = picture.dimensions();
    let mut rows = Vec::new();
    for (first_x, first_y, step_x, step_y) in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ] {
        if first_x >= width {
            continue;
        }
        for y in (first_y..height).step_by(step_y) {
            rows.push(0);
            rows.extend((first_x..width).step_by(step_x).flat_map(|x| picture.get_pixel(x, y).0));
        }
    }
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&sides[..], &[8, 6, 0, 0, 1]].concat();
    let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", &stored(&rows)), chunk(b"IEND", b"")];
    [b"\x89PNG\r\n\x1A\n", &chunks.concat()[..]].concat()
}

/// A zlib stream of one block that is not compressed (RFC 1950, RFC 1951 section 3.2.4).
pub(crate) fn stored(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a short content");
    let (a, b) = content.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    let checksum = (b << 16 | a).to_be_bytes();
    [&[0x78, 0x01, 1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), content, &checksum]
        .concat()
}

/// A block of EXIF that has an orientation and nothing else.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

/// A JPEG segment.
pub(crate) fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).expect("a short segment");
    [&[0xFF, marker][..], &length.to_be_bytes(), content].concat()
}

/// The JPEG with segments behind its start.
pub(crate) fn with_segments(jpeg: &[u8], segments: &[Vec<u8>]) -> Vec<u8> {
    [&jpeg[..2], &segments.concat(), &jpeg[2..]].concat()
}

/// A PNG chunk.
pub(crate) fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short chunk");
    let checksum = crc32fast::hash(&[&kind[..], content].concat());
    [&length.to_be_bytes()[..], kind, content, &checksum.to_be_bytes()].concat()
}

/// The PNG with chunks behind its header.
pub(crate) fn with_chunks(png: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    let header = 8 + 25;
    [&png[..header], &chunks.concat(), &png[header..]].concat()
}

/// The PNG with another header.
pub(crate) fn with_header(png: &[u8], width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    let fields = [&width.to_be_bytes()[..], &height.to_be_bytes(), &rest].concat();
    [&png[..8], &chunk(b"IHDR", &fields), &png[33..]].concat()
}
