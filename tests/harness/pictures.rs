//! Pictures made in memory.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A JPEG of this size in px, red at the left and blue at the right.
pub(crate) fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(width, height, ImageFormat::Jpeg)
}

/// A PNG of this size in px, red at the left and blue at the right.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    encode(width, height, ImageFormat::Png)
}

fn encode(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let level = |x: u32| u8::try_from(x * 255 / width.max(1)).expect("a level");
    let picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([255 - level(x), level(y * width / height), level(x)])
    });
    let mut bytes = Vec::new();
    DynamicImage::ImageRgb8(picture)
        .write_to(&mut Cursor::new(&mut bytes), format)
        .expect("an encoded picture");
    bytes
}

/// A PNG of this size in px that cannot be compressed: 3 bytes for each pixel.
pub(crate) fn noise_png(width: u32, height: u32) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let picture =
        RgbImage::from_fn(width, height, |_, _| Rgb([random.u8(..), random.u8(..), random.u8(..)]));
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("an encoded picture");
    bytes
}

/// The size in px of an encoded picture.
pub(crate) fn size(bytes: &[u8]) -> (u32, u32) {
    let picture = image::load_from_memory(bytes).expect("a picture");
    (picture.width(), picture.height())
}

/// A PNG whose structure is whole and whose pixels are not: it is taken at the upload and fails in
/// the worker.
pub(crate) fn png_with_damaged_pixels() -> Vec<u8> {
    let mut bytes = png(64, 64);
    let data = bytes.windows(4).position(|chunk| chunk == b"IDAT").expect("pixels") + 4;
    for byte in &mut bytes[data + 8..data + 40] {
        *byte = 0xAA;
    }
    bytes
}

/// The start of a PNG that claims this size in px, and nothing of its pixels but an empty chunk.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(1, 1);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
