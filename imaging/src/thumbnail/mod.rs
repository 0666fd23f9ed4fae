//! Thumbnails, step by step. One decode serves all heights.
//!
//! 1. Inspect: format, size, orientation, limits.
//! 2. Decode ([`decode`]) no larger than the largest thumbnail needs: JPEG scaled, PNG row by row.
//! 3. Resize ([`resize`]) with Lanczos3 from just the picture's edges.
//! 4. Convert the colours ([`profile`]) from their ICC profile to sRGB.
//! 5. Turn as the EXIF orientation says.
//! 6. Encode ([`encode`]) in the original's format, without metadata.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "samples are cut to eight bits on purpose; sides fit into 32"
)]

mod colour;
mod decode;
mod encode;
mod means;
mod profile;
mod resize;
mod upsample;

use image::{DynamicImage, metadata};

use decode::{Decoded, Picture};

use crate::{
    Deadline, DeadlineExceeded, Format, InspectError, Inspection, Limits, geometry, inspect,
};

/// The longer side in px of the picture that a thumbhash is made of. It keeps at most seven waves a
/// side, for which this is plenty.
const PLACEHOLDER_PX: u32 = 32;

/// Tables, the window over a file's bytes, and what a decoder needs whatever the size.
const FIXED_BYTES: u64 = 1 << 20;
/// Of a thumbnail as a file, for each of its pixels: a PNG of noise.
const FILE_PIXEL_BYTES: u64 = 5;
/// Of a thumbnail while it is resized, converted and turned, for each of its pixels.
const WORK_PIXEL_BYTES: u64 = 24;

/// How thumbnails are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The quality of JPEGs, 1 to 100.
    pub jpeg_quality: u8,
    /// A thumbnail that would be wider, in px, is scaled down to fit.
    pub max_width_px: u32,
}

impl Default for Options {
    /// Quality 82, at most 16,384 px wide.
    fn default() -> Self {
        Self { jpeg_quality: 82, max_width_px: 16_384 }
    }
}

/// What was made of an image.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// In the order of the heights that were asked for.
    pub thumbnails: Vec<Thumbnail>,
    /// A thumbhash of the image as displayed.
    pub placeholder: Vec<u8>,
}

/// A thumbnail as a file.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    /// The height that was asked for, in px.
    pub requested_height: u32,
    /// In px.
    pub width: u32,
    /// In px; less than what was asked for when the original is smaller.
    pub height: u32,
    /// The original's format.
    pub format: Format,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Why there is no thumbnail. Trying again gives the same, except when time or memory was short.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The file is not taken.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The pixels cannot be decoded.
    #[error("{reason}")]
    Decode {
        /// What the decoder says, in a sentence.
        reason: String,
    },
    /// There is no memory for the pixels now; another time there may be.
    #[error("There is not enough memory to decode the picture.")]
    OutOfMemory,
    /// It took too long.
    #[error(transparent)]
    DeadlineExceeded(#[from] DeadlineExceeded),
    /// The thumbnail cannot be written.
    #[error("The thumbnail cannot be written: {reason}")]
    Encode {
        /// What the encoder says.
        reason: String,
    },
}

/// Makes a thumbnail of each of the `heights`, in px, of a file.
pub fn thumbnails(
    original: &[u8],
    heights: &[u32],
    options: &Options,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Rendition, ThumbnailError> {
    let source = Source::decode(original, heights, options, limits, deadline)?;
    let mut made = Vec::with_capacity(heights.len());
    let mut smallest: Option<DynamicImage> = None;
    for &requested_height in heights {
        let picture = source.picture(size(&source.inspection, requested_height, options))?;
        deadline.check()?;
        let format = source.inspection.format;
        let bytes = encode::encode(&picture, format, options.jpeg_quality)?;
        deadline.check()?;
        let (width, height) = (picture.width(), picture.height());
        made.push(Thumbnail { requested_height, width, height, format, bytes });
        if smallest.as_ref().is_none_or(|smallest| height < smallest.height()) {
            smallest = Some(picture);
        }
    }
    let smallest = match smallest {
        Some(picture) => picture,
        None => {
            source.picture(placeholder_size(source.inspection.width, source.inspection.height))?
        }
    };
    Ok(Rendition { thumbnails: made, placeholder: placeholder(smallest)? })
}

/// The pixels of a thumbnail of each of the `heights`, in px: grey or RGB, with or without alpha.
pub fn pictures(
    original: &[u8],
    heights: &[u32],
    options: &Options,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Vec<DynamicImage>, ThumbnailError> {
    let source = Source::decode(original, heights, options, limits, deadline)?;
    heights
        .iter()
        .map(|&height| source.picture(size(&source.inspection, height, options)))
        .collect()
}

/// The bytes that making thumbnails of these heights, in px, takes besides the file: an upper
/// estimate, from the file's header alone. The file must be taken by [`inspect`](crate::inspect()).
pub fn memory_needed(
    original: &[u8],
    heights: &[u32],
    options: &Options,
    limits: &Limits,
) -> Result<u64, InspectError> {
    let inspection = inspect::inspect_head(original, limits)?;
    let decoded =
        decode::memory_needed(original, &inspection, share(&inspection, heights, options));
    let pixels = |&height: &u32| {
        let (width, height) = size(&inspection, height, options);
        u64::from(width) * u64::from(height)
    };
    let all: u64 = heights.iter().map(pixels).sum();
    let largest = heights.iter().map(pixels).max().unwrap_or_default();
    Ok(FIXED_BYTES + decoded + all * FILE_PIXEL_BYTES + largest * WORK_PIXEL_BYTES)
}

/// How much of the picture's sides the largest thumbnail is.
fn share(inspection: &Inspection, heights: &[u32], options: &Options) -> f64 {
    // of a narrow picture the width is rounded up to a pixel, and may be the larger part
    let share = |(width, height): (u32, u32)| {
        let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
        share(width, inspection.width).max(share(height, inspection.height))
    };
    let placeholder = placeholder_size(inspection.width, inspection.height);
    let sizes = heights.iter().map(|&height| share(size(inspection, height, options)));
    sizes.fold(share(placeholder), f64::max)
}

/// A file, inspected and decoded as large as its largest thumbnail needs.
struct Source {
    inspection: Inspection,
    decoded: Decoded,
}

impl Source {
    fn decode(
        original: &[u8],
        heights: &[u32],
        options: &Options,
        limits: &Limits,
        deadline: &Deadline,
    ) -> Result<Self, ThumbnailError> {
        let inspection = inspect::inspect_head(original, limits)?;
        deadline.check()?;
        let share = share(&inspection, heights, options);
        let decoded = decode::decode(original, &inspection, share, limits, deadline)?;
        deadline.check()?;
        Ok(Self { inspection, decoded })
    }

    /// The image in this size, as displayed. It is turned last, which moves the few pixels of a
    /// thumbnail.
    fn picture(&self, size: (u32, u32)) -> Result<DynamicImage, ThumbnailError> {
        let orientation = self.inspection.orientation;
        let mut picture = resize::resize(&self.decoded, orientation.turn(size))?;
        let turn = metadata::Orientation::from_exif(orientation.exif());
        picture.apply_orientation(turn.unwrap_or(metadata::Orientation::NoTransforms));
        Ok(picture)
    }
}

/// Width and height in px of an image's thumbnail of this height.
fn size(inspection: &Inspection, height: u32, options: &Options) -> (u32, u32) {
    geometry::thumbnail_size(inspection.width, inspection.height, height, options.max_width_px)
}

/// A thumbhash of a picture.
fn placeholder(picture: DynamicImage) -> Result<Vec<u8>, ThumbnailError> {
    let size = placeholder_size(picture.width(), picture.height());
    let small = resize::resize_picture(&Picture::whole(picture), size)?.into_rgba8();
    Ok(thumbhash::rgba_to_thumb_hash(size.0 as usize, size.1 as usize, small.as_raw()))
}

fn placeholder_size(width: u32, height: u32) -> (u32, u32) {
    geometry::thumbnail_size(width, height, PLACEHOLDER_PX, PLACEHOLDER_PX)
}
