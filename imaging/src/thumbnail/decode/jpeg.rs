//! JPEG: by the scaled decoder, no larger than the thumbnails need.

use std::io::Cursor;

use super::{Decoded, Pixels};
use crate::{
    Deadline, Limits, inspect,
    jpeg::{self, ColourModel, Damage, JpegError, Scale, Scales, Share},
    thumbnail::{ThumbnailError, means, profile::Profile},
};

/// How many times as many samples as the thumbnail a plane must at least have, so that the thumbnail is as good as one of
/// the whole picture. The less was left out, the less is needed: a block's mean aliases most.
const SAMPLES_ENOUGH: [(Scale, f64); 3] = [(Scale::Eighth, 1.75), (Scale::Quarter, 1.5), (Scale::Half, 1.5)];
/// The same for colour differences, of which the eye, and a thumbnail in 4:2:0, has half as many.
const CHROMA_SAMPLES_ENOUGH: f64 = 0.85;

/// Strictly at first; a file that is whole but damaged is decoded again, as far as it makes sense.
pub(super) fn decode(
    original: &[u8],
    share: f64,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, ThumbnailError> {
    let profile = jpeg::icc_profile(original, limits.max_metadata_bytes);
    let profile = profile.and_then(|bytes| Profile::read(&bytes));
    let decode = |damage| {
        let choose = |model: ColourModel, index, part| scales(model, index, part, share);
        jpeg::decode(original, choose, limits.max_scans, damage, deadline)
    };
    let planes = match decode(Damage::Refused) {
        Err(JpegError::Corrupt(_) | JpegError::Unsupported(_) | JpegError::Truncated) => {
            // a file that ends too early is refused, and this is a better reason than what its decoder met
            inspect(&mut Cursor::new(original), limits)?;
            decode(Damage::Concealed)
        }
        outcome => outcome,
    };
    let mut planes = planes?;
    let model = planes.model;
    for (index, plane) in planes.planes.iter_mut().enumerate() {
        // the colour differences have nothing to gain
        if plane.is_of_means && !model.is_chroma(index) {
            means::sharpen(plane);
        }
    }
    let pixels = Pixels::Planes { planes, is_by_adobe: jpeg::is_by_adobe(original) };
    Ok(Decoded { pixels, profile })
}

impl From<JpegError> for ThumbnailError {
    fn from(error: JpegError) -> Self {
        match error {
            JpegError::DeadlineExceeded(passed) => passed.into(),
            JpegError::OutOfMemory => Self::OutOfMemory,
            other => Self::Decode { reason: other.to_string() },
        }
    }
}

/// The bytes that [`decode`] holds at most; nothing for what it refuses.
pub(super) fn memory_needed(original: &[u8], share: f64) -> u64 {
    let choose = |model: ColourModel, index, part| scales(model, index, part, share);
    jpeg::memory_needed(original, choose).unwrap_or_default()
}

/// The scales for a component that has this share of the picture's samples.
fn scales(model: ColourModel, index: usize, part: Share, share: f64) -> Scales {
    let scale = |part: f64| {
        let is_enough = |(scale, enough): &(Scale, f64)| {
            let enough = if model.is_chroma(index) { CHROMA_SAMPLES_ENOUGH } else { *enough };
            part * scale.side() as f64 / 8.0 >= share * enough
        };
        SAMPLES_ENOUGH.iter().find(|candidate| is_enough(candidate)).map_or(Scale::Full, |(scale, _)| *scale)
    };
    Scales { horizontal: scale(part.horizontal), vertical: scale(part.vertical) }
}
