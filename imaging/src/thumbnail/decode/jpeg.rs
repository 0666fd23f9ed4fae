//! JPEG: by the scaled decoder, no larger than the thumbnails need.

use std::io::Cursor;

use super::{Decoded, Pixels};
use crate::{
    Deadline, Limits, inspect,
    jpeg::{self, ColourModel, Damage, JpegError, Scale, Scales, Share},
    thumbnail::{ThumbnailError, means, profile::Profile},
};

/// What planes must have, so that the thumbnail is as good as one of the whole picture.
struct Enough {
    /// How many times as many means as the thumbnail's samples there must at least be in each
    /// direction; they alias most.
    means: f64,
    /// The same of the samples of each other scale. The less was left out, the less is needed.
    samples: &'static [(Scale, f64)],
    /// Of rows of means, when there are twice as many samples to a row.
    rows_of_means: f64,
    /// At 1/4 of a large picture.
    quarter_of_large: f64,
    /// Of means that have scans of their own, as in a progressive picture, where more takes several
    /// times as long.
    means_apart: f64,
}

const LUMA: Enough = Enough {
    means: 1.97,
    samples: &[
        (Scale::QuarterOf3, 2.5),
        (Scale::Quarter, 1.85),
        (Scale::ThreeEighthsOf6, 2.25),
        (Scale::HalfOf10, 2.2),
        (Scale::Half, 1.5),
        (Scale::ThreeQuarters, 1.35),
    ],
    rows_of_means: 1.75,
    quarter_of_large: 1.75,
    means_apart: 1.75,
};
/// Without colour differences, whose error adds to luma's, means are enough sooner.
const GREY: Enough = Enough { means: 1.89, ..LUMA };
/// There is less to see in colour differences.
const CHROMA: Enough = Enough {
    means: 1.3,
    samples: &[
        (Scale::QuarterOf3, 1.5),
        (Scale::ThreeEighthsOf6, 1.41),
        (Scale::HalfOf10, 1.5),
        (Scale::Half, 0.9),
    ],
    rows_of_means: 1.05,
    quarter_of_large: 1.05,
    means_apart: 0.85,
};

/// Pixels from which on a picture comes from a camera, whose pixels are less sharp than those of
/// one that was made smaller.
const LARGE_PIXELS: usize = 8_000_000;
/// What is enough in rows of means of colour differences of a large picture that has as many of
/// them as pixels.
const CHROMA_ROWS_ENOUGH_OF_LARGE: f64 = 0.88;

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
            // a file that ends too early is refused, and this is a better reason than what its
            // decoder met
            inspect(&mut Cursor::new(original), limits)?;
            decode(Damage::Concealed)
        }
        outcome => outcome,
    };
    let mut planes = planes?;
    planes.planes.iter_mut().for_each(means::sharpen);
    Ok(Decoded { pixels: Pixels::Planes(planes), profile })
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
    let is_chroma = model.is_chroma(index);
    let is_large = part.pixels >= LARGE_PIXELS;
    let enough = match model {
        ColourModel::Grey => GREY,
        _ if is_chroma => CHROMA,
        _ => LUMA,
    };
    // for each of the thumbnail's
    let samples = |side: f64, scale: Scale| side * scale.side() as f64 / 8.0 / share;
    let scale = |side: f64| {
        let means = if part.is_progressive { enough.means_apart } else { enough.means };
        if samples(side, Scale::Eighth) >= means {
            return Scale::Eighth;
        }
        let is_enough = |&&(scale, wanted): &&(Scale, f64)| samples(side, scale) >= wanted;
        let scale = enough.samples.iter().find(is_enough).map_or(Scale::Full, |(scale, _)| *scale);
        let is_quarter_enough =
            is_large && samples(side, Scale::Quarter) >= enough.quarter_of_large;
        if is_quarter_enough { scale.min(Scale::Quarter) } else { scale }
    };
    let scales = Scales { horizontal: scale(part.horizontal), vertical: scale(part.vertical) };
    let is_whole = is_chroma && part.horizontal >= 1.0;
    let wanted =
        if is_large && is_whole { CHROMA_ROWS_ENOUGH_OF_LARGE } else { enough.rows_of_means };
    let is_of_means = scales == Scale::Eighth.into();
    let are_rows_enough = samples(part.vertical, Scale::Eighth) >= wanted;
    if !is_of_means && are_rows_enough && samples(part.horizontal, Scale::Quarter) >= wanted {
        return Scales { horizontal: Scale::Quarter, vertical: Scale::Eighth };
    }
    scales
}
