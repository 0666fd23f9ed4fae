//! Decoding in full, to eight bits a sample.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageResult, Limits, codecs::jpeg::JpegDecoder, codecs::png::PngDecoder,
};

use super::ThumbnailError;
use crate::{Deadline, Format, deadline::UntilDeadline};

/// More than any image within the limits needs; a decoder that asks for more is being deceived.
const MAX_DECODER_BYTES: u64 = 1 << 30;

/// The stored pixels as grey or RGB, with or without alpha.
pub(super) fn decode(
    original: &[u8],
    format: Format,
    deadline: &Deadline,
) -> Result<DynamicImage, ThumbnailError> {
    let source = UntilDeadline::new(Cursor::new(original), *deadline);
    let decoded = match format {
        Format::Jpeg => JpegDecoder::new(source).and_then(decode_all),
        Format::Png => PngDecoder::with_limits(source, limits()).and_then(decode_all),
    };
    // a decoder whose bytes dried up says so in words of its own
    deadline.check()?;
    decoded.map(to_eight_bits).map_err(|error| ThumbnailError::Decode { reason: error.to_string() })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

fn decode_all(mut decoder: impl ImageDecoder) -> ImageResult<DynamicImage> {
    decoder.set_limits(limits())?;
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
