//! Decoding, no larger than the thumbnails need.

mod adam7;
mod jpeg;
mod png;

use image::DynamicImage;

use super::{ThumbnailError, profile::Profile};
use crate::{Deadline, Format, Inspection, Limits, jpeg::Planes};

/// What was decoded, in the stored orientation.
pub(super) struct Decoded {
    pub(super) pixels: Pixels,
    /// What the colours mean, when it is something else than sRGB.
    pub(super) profile: Option<Profile>,
}

/// Samples of eight bits.
pub(super) enum Pixels {
    /// A JPEG's components, often smaller than the picture.
    Planes(Planes),
    /// Grey or RGB, with or without alpha.
    Picture(Picture),
}

/// Pixels, often fewer than the picture has.
pub(super) struct Picture {
    pub(super) pixels: DynamicImage,
    /// How many of these pixels the picture is wide; the last ones may stand for less than the
    /// others.
    pub(super) width: f64,
    /// How many of these pixels the picture is high, likewise.
    pub(super) height: f64,
    /// Whether the colours are multiplied by alpha.
    pub(super) is_premultiplied: bool,
}

impl Picture {
    pub(super) fn whole(pixels: DynamicImage) -> Self {
        let (width, height) = (f64::from(pixels.width()), f64::from(pixels.height()));
        Self { pixels, width, height, is_premultiplied: false }
    }
}

/// The bytes that [`decode`] holds at most, besides the file.
pub(super) fn memory_needed(original: &[u8], inspection: &Inspection, share: f64) -> u64 {
    match inspection.format {
        Format::Jpeg => jpeg::memory_needed(original, share),
        Format::Png => png::memory_needed(inspection.width, inspection.height, share),
    }
}

/// Decodes so much that thumbnails can be made whose sides are at most `share` of the picture's.
pub(super) fn decode(
    original: &[u8],
    inspection: &Inspection,
    share: f64,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, ThumbnailError> {
    match inspection.format {
        Format::Jpeg => jpeg::decode(original, share, limits, deadline),
        Format::Png => png::decode(original, share, limits, deadline),
    }
}
