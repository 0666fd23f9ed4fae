//! Thumbnails, step by step: inspect, decode, resize, turn, encode. One decode serves all heights.

mod decode;
mod encode;
mod resize;

use std::io::Cursor;

use image::{DynamicImage, metadata};

use crate::{
    Deadline, DeadlineExceeded, Format, InspectError, Inspection, Limits, Orientation, geometry, inspect,
};

/// The longer side in px of the picture that a thumbhash is made of; the format allows no more.
const PLACEHOLDER_PX: u32 = 100;

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

/// Why there is no thumbnail. Trying again gives the same, but for the deadline.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The file is not taken.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The pixels cannot be decoded.
    #[error("the image is damaged: {reason}")]
    Decode {
        /// What the decoder says.
        reason: String,
    },
    /// It took too long.
    #[error(transparent)]
    DeadlineExceeded(#[from] DeadlineExceeded),
    /// The thumbnail cannot be written.
    #[error("the thumbnail cannot be written: {reason}")]
    Encode {
        /// What the encoder says.
        reason: String,
    },
}

/// Makes a thumbnail of each of the `heights`, in px, of a file. Needs memory for the decoded image, up to four bytes a
/// pixel, and about twelve while a 16-bit PNG or a progressive JPEG is decoded; the limits bound the pixels.
pub fn thumbnails(
    original: &[u8],
    heights: &[u32],
    options: &Options,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Rendition, ThumbnailError> {
    let inspection = inspect(&mut Cursor::new(original), limits)?;
    deadline.check()?;
    let decoded = decode::decode(original, &inspection, limits, deadline)?;
    let mut made = Vec::with_capacity(heights.len());
    for &wanted in heights {
        deadline.check()?;
        made.push(make(&decoded, &inspection, wanted, options, deadline)?);
    }
    deadline.check()?;
    let placeholder = placeholder(&decoded, &inspection)?;
    Ok(Rendition { thumbnails: made, placeholder })
}

fn make(
    decoded: &DynamicImage,
    inspection: &Inspection,
    wanted: u32,
    options: &Options,
    deadline: &Deadline,
) -> Result<Thumbnail, ThumbnailError> {
    let size = geometry::thumbnail_size(inspection.width, inspection.height, wanted, options.max_width_px);
    let picture = displayed(decoded, inspection.orientation, size)?;
    deadline.check()?;
    let bytes = encode::encode(&picture, inspection.format, options.jpeg_quality)?;
    let (width, height) = size;
    Ok(Thumbnail { requested_height: wanted, width, height, format: inspection.format, bytes })
}

/// The image resized and then turned, so that turning moves the few pixels of a thumbnail; `size` is the displayed
/// one.
fn displayed(
    decoded: &DynamicImage,
    orientation: Orientation,
    size: (u32, u32),
) -> Result<DynamicImage, ThumbnailError> {
    let mut picture = resize::resize(decoded, orientation.turn(size))?;
    let turn =
        metadata::Orientation::from_exif(orientation.exif()).unwrap_or(metadata::Orientation::NoTransforms);
    picture.apply_orientation(turn);
    Ok(picture)
}

fn placeholder(decoded: &DynamicImage, inspection: &Inspection) -> Result<Vec<u8>, ThumbnailError> {
    let (width, height) = (inspection.width, inspection.height);
    let size = geometry::thumbnail_size(width, height, PLACEHOLDER_PX, PLACEHOLDER_PX);
    let picture = displayed(decoded, inspection.orientation, size)?.into_rgba8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Ok(thumbhash::rgba_to_thumb_hash(width, height, picture.as_raw()))
}
