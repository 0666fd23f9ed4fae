//! Encoding in the original's format, without any metadata.

use image::{
    DynamicImage, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

use super::ThumbnailError;
use crate::Format;

pub(super) fn encode(
    picture: &DynamicImage,
    format: Format,
    quality: u8,
) -> Result<Vec<u8>, ThumbnailError> {
    match format {
        Format::Jpeg => encode_jpeg(picture, quality),
        Format::Png => encode_png(picture),
    }
}

fn failed(error: impl std::fmt::Display) -> ThumbnailError {
    ThumbnailError::Encode { reason: error.to_string() }
}

/// Baseline, with a quarter of the colour samples (4:2:0) as nearly all photos have; grey stays
/// grey.
fn encode_jpeg(picture: &DynamicImage, quality: u8) -> Result<Vec<u8>, ThumbnailError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    // the other method takes every fourth sample, which shows, and makes larger files
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    let side = |px: u32| u16::try_from(px).map_err(failed);
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let written = match picture {
        DynamicImage::ImageLuma8(grey) => {
            encoder.encode(grey.as_raw(), width, height, ColorType::Luma)
        }
        DynamicImage::ImageRgb8(rgb) => encoder.encode(rgb.as_raw(), width, height, ColorType::Rgb),
        other => encoder.encode(other.to_rgb8().as_raw(), width, height, ColorType::Rgb),
    };
    written.map_err(failed)?;
    Ok(bytes)
}

fn encode_png(picture: &DynamicImage) -> Result<Vec<u8>, ThumbnailError> {
    let mut bytes = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    let colour = picture.color().into();
    encoder
        .write_image(picture.as_bytes(), picture.width(), picture.height(), colour)
        .map_err(failed)?;
    Ok(bytes)
}
