//! Showing a thumbhash.

use image::{
    DynamicImage, ImageEncoder, RgbaImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
    imageops,
};

/// The longer side of the picture in px. A thumbhash has few waves a side: whoever enlarges so few
/// pixels smoothly sees hardly less than it says, and a page can carry the picture in itself.
const SIDE_PX: u32 = 8;

/// The picture that a thumbhash stands for as a tiny PNG, to be shown enlarged; nothing for what is
/// no thumbhash.
pub fn placeholder_png(thumbhash: &[u8]) -> Option<Vec<u8>> {
    let (width, height, pixels) = thumbhash::thumb_hash_to_rgba(thumbhash).ok()?;
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let picture = RgbaImage::from_raw(width, height, pixels)?;
    let longer = width.max(height).max(1);
    let side = |px: u32| (px * SIDE_PX).div_ceil(longer).max(1);
    let small = DynamicImage::from(imageops::thumbnail(&picture, side(width), side(height)));
    let is_opaque = picture.pixels().all(|pixel| pixel.0[3] == u8::MAX);
    let small = if is_opaque { small.to_rgb8().into() } else { small };
    let mut bytes = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::NoFilter);
    encoder
        .write_image(small.as_bytes(), small.width(), small.height(), small.color().into())
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbhash_becomes_a_picture_of_its_shape_and_colour() {
        let red: Vec<u8> = [200, 30, 30, 255].repeat(40 * 20);
        let png = placeholder_png(&thumbhash::rgba_to_thumb_hash(40, 20, &red)).expect("a picture");
        assert!(png.len() < 400, "{} bytes", png.len());
        let picture = image::load_from_memory(&png).expect("a PNG").to_rgb8();
        // a thumbhash knows the shape only roughly
        assert!(
            picture.width() == 8 && (4..=5).contains(&picture.height()),
            "{:?}",
            picture.dimensions()
        );
        let [r, g, b] = picture.get_pixel(4, 2).0;
        assert!(r > 150 && g < 90 && b < 90, "{r} {g} {b}");
    }

    #[test]
    fn what_is_no_thumbhash_has_no_picture() {
        for bytes in [&[][..], &[0; 4], &[0xFF; 5]] {
            assert_eq!(placeholder_png(bytes), None);
        }
    }
}
