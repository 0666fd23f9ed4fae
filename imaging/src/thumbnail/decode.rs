//! Decoding in full, to eight bits a sample.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageResult, codecs::jpeg::JpegDecoder, codecs::png::PngDecoder};

use super::ThumbnailError;
use crate::{Deadline, Format, Inspection, Limits, deadline::UntilDeadline};

/// RGBA of 16 bits each.
const MAX_PIXEL_BYTES: u64 = 8;

/// The stored pixels as grey or RGB, with or without alpha.
///
/// The decoder of JPEG takes in the file before it starts, so a deadline that passes meanwhile is noticed when it is
/// done; that of PNG ends at the next bytes it asks for.
pub(super) fn decode(
    original: &[u8],
    inspection: &Inspection,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<DynamicImage, ThumbnailError> {
    let source = UntilDeadline::new(Cursor::new(original), *deadline);
    let limits = decoder_limits(inspection, original.len() as u64, limits);
    let decoded = match inspection.format {
        Format::Jpeg => JpegDecoder::new(source).and_then(|decoder| decode_all(decoder, limits)),
        Format::Png => {
            PngDecoder::with_limits(source, limits.clone()).and_then(|decoder| decode_all(decoder, limits))
        }
    };
    // a decoder whose bytes dried up says so in words of its own
    deadline.check()?;
    decoded.map(to_eight_bits).map_err(|error| ThumbnailError::Decode { reason: error.to_string() })
}

/// The sides that were inspected, and what the decoder of PNG may hold besides the picture: rows, and metadata that
/// nobody wants. Metadata as they are stored, which it holds up to three times (a buffer that doubles, and a copy), must
/// not fail an honest file; those that unpack to more than `max_metadata_bytes` on top are passed over by it.
fn decoder_limits(inspection: &Inspection, file_bytes: u64, limits: &Limits) -> image::Limits {
    let (width, height) = inspection.orientation.turn((inspection.width, inspection.height));
    let row_bytes = u64::from(width) * MAX_PIXEL_BYTES;
    let mut decoder = image::Limits::default();
    decoder.max_image_width = Some(width);
    decoder.max_image_height = Some(height);
    decoder.max_alloc = Some((row_bytes + 3 * file_bytes).saturating_add(limits.max_metadata_bytes));
    decoder
}

fn decode_all(mut decoder: impl ImageDecoder, limits: image::Limits) -> ImageResult<DynamicImage> {
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

fn to_eight_bits(picture: DynamicImage) -> DynamicImage {
    match picture {
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLuma8(picture.into_luma8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLumaA8(picture.into_luma_alpha8()),
        DynamicImage::ImageRgb16(_) => DynamicImage::ImageRgb8(picture.into_rgb8()),
        DynamicImage::ImageRgba16(_) => DynamicImage::ImageRgba8(picture.into_rgba8()),
        eight_bits => eight_bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;

    #[test]
    fn a_small_file_cannot_make_the_decoder_hold_much() {
        let dot = Inspection {
            format: Format::Png,
            width: 1,
            height: 1,
            orientation: Orientation::UPRIGHT,
            scans: 0,
            animated: false,
        };
        let decoder = decoder_limits(&dot, 1000, &Limits::default());
        assert_eq!(decoder.max_alloc, Some(8 + 3000 + (4 << 20)));
        assert_eq!((decoder.max_image_width, decoder.max_image_height), (Some(1), Some(1)));
    }
}
