//! A scaled decoder for JPEG (ITU-T T.81): baseline, extended sequential and progressive Huffman images of 8 bits a
//! sample, in grey, YCbCr or RGB, at 1/8, 1/4, 1/2 and in full.
//!
//! Nearly all the work of decoding is reading Huffman codes. At a scale of N/8 only the lowest N × N of a block's 64
//! coefficients count; the others are passed over, several at a table look-up, and of a progressive image the scans
//! are left out that hold none of them.
//!
//! It is strict: what does not end exactly where it should is an error, so that a reader that knows how to conceal
//! damage can be asked instead. It never panics, allocates what the planes (and for progressive images the
//! coefficients that count) need, and looks at its deadline at every row of blocks.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "samples, coefficients and table entries are cut to their few bits on purpose; sides have 16 bits"
)]

mod bits;
mod header;
mod huffman;
pub(crate) mod marker;
mod plane;
mod profile;
mod progressive;
mod scan;
mod sequential;
mod store;
mod transform;

pub use header::ColourModel;
pub use plane::{Plane, Planes};
pub use profile::{icc_profile, is_by_adobe};

use header::{Frame, Next, Segments, Tables};

use crate::{Deadline, DeadlineExceeded};

/// How much smaller than the picture a plane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// 1/8: a sample for each block of 8 × 8.
    Eighth,
    /// 1/4.
    Quarter,
    /// 1/2.
    Half,
    /// As stored.
    Full,
}

impl Scale {
    /// All, from the smallest.
    pub const ALL: [Self; 4] = [Self::Eighth, Self::Quarter, Self::Half, Self::Full];

    /// Samples that stand for the 8 of a block's side.
    pub fn side(self) -> usize {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::Half => 4,
            Self::Full => 8,
        }
    }
}

/// Why an image is not decoded here; another reader may still know what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// It is of a kind that this decoder does not know.
    #[error("not read here: {0}")]
    Unsupported(&'static str),
    /// It ends before it should.
    #[error("the file ends before the image does")]
    Truncated,
    /// It contradicts itself.
    #[error("{0}")]
    Corrupt(&'static str),
    /// There is no memory for its planes.
    #[error("there is not enough memory")]
    OutOfMemory,
    /// It took too long.
    #[error(transparent)]
    DeadlineExceeded(#[from] DeadlineExceeded),
}

/// Decodes a file to planes. `choose` gives the scale of a component from its number, what it means, and its share of the
/// picture's rows: 1, or 1/2 when two rows share its samples. A progressive image of more than `max_scans` is refused.
pub fn decode(
    file: &[u8],
    choose: impl Fn(ColourModel, usize, f64) -> Scale,
    max_scans: u32,
    deadline: &Deadline,
) -> Result<Planes, JpegError> {
    let (mut segments, mut tables) = (Segments::new(file), Tables::default());
    let Next::Frame(frame) = segments.next(&mut tables, None)? else {
        return Err(JpegError::Corrupt("it has no frame header"));
    };
    let model = tables.colour_model(&frame)?;
    let share = |vertical: usize| vertical as f64 / frame.max_vertical as f64;
    let sides: Vec<usize> = (0..)
        .zip(&frame.components)
        .map(|(index, component)| choose(model, index, share(component.vertical)).side())
        .collect();
    let planes = if frame.is_progressive {
        progressive::decode(file, &frame, &mut segments, &mut tables, &sides, max_scans, deadline)?
    } else {
        decode_sequential(file, &frame, &mut segments, &mut tables, &sides, max_scans, deadline)?
    };
    Ok(Planes { model, planes })
}

/// Reads scans until each component had its own; nothing may come behind them.
fn decode_sequential(
    file: &[u8],
    frame: &Frame,
    segments: &mut Segments<'_>,
    tables: &mut Tables,
    sides: &[usize],
    max_scans: u32,
    deadline: &Deadline,
) -> Result<Vec<Plane>, JpegError> {
    let mut planes = Vec::new();
    for (index, &side) in sides.iter().enumerate() {
        planes.push(Plane::new(frame, index, side)?);
    }
    let mut is_decoded = vec![false; sides.len()];
    for _ in 0..max_scans {
        let scan = match segments.next(tables, Some(frame))? {
            Next::Scan(scan) => scan,
            Next::End if !is_decoded.contains(&false) => return Ok(planes),
            Next::End => return Err(JpegError::Corrupt("a component has no scan")),
            Next::Frame(_) => return Err(JpegError::Corrupt("it has two frame headers")),
        };
        for component in &scan.components {
            if std::mem::replace(&mut is_decoded[component.index], true) {
                return Err(JpegError::Corrupt("a component has two scans"));
            }
        }
        segments.position =
            sequential::decode_scan(file, frame, &scan, tables, &mut planes, sides, deadline)?;
    }
    match segments.next(tables, Some(frame))? {
        Next::End if !is_decoded.contains(&false) => Ok(planes),
        _ => Err(JpegError::Unsupported("so many scans")),
    }
}
