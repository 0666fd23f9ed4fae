//! A scaled decoder for JPEG (ITU-T T.81): baseline, extended sequential and progressive Huffman
//! images of 8 bits a sample, in grey, YCbCr, RGB, CMYK or YCCK, at 1/8, 1/4, 1/2 and in full.
//!
//! Nearly all the work of decoding is reading Huffman codes. At a scale of N/8 only the lowest N ×
//! N of a block's 64 coefficients count; the others are passed over, several at a table look-up,
//! and of a progressive image the scans are left out that hold none of them.
//!
//! It is strict at first: what does not end exactly where it should is an error. Asked again, it
//! conceals damage: see [`Damage`]. It never panics, allocates what the planes (and for progressive
//! images the coefficients that count) need, and looks at its deadline at every row of blocks.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "samples, coefficients and table entries are cut to their few bits on purpose; sides have 16 bits"
)]

mod bits;
mod codes;
mod header;
mod huffman;
pub(crate) mod marker;
mod plane;
mod profile;
mod progressive;
mod scan;
mod sequential;
mod standard;
mod store;
mod streams;
mod transform;

pub use plane::{Plane, Planes};
pub use profile::{ColourModel, icc_profile};

use header::{Component, Frame, Next, Segments, Tables};
use transform::Sides;

use crate::{Deadline, DeadlineExceeded};

/// How much smaller than the picture a plane is, and of how many of a block's coefficients it is
/// made. Those of a square corner are what libjpeg takes; those of a triangle are the first ones in
/// zigzag order, which are read faster: what is left out are frequencies that are high in both
/// directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// 1/8: a sample for each block of 8 × 8.
    Eighth,
    /// 1/4, of a triangle of 3 coefficients.
    QuarterOf3,
    /// 1/4.
    Quarter,
    /// 3/8, of a triangle of 6 coefficients.
    ThreeEighthsOf6,
    /// 1/2, of a triangle of 10 coefficients.
    HalfOf10,
    /// 1/2.
    Half,
    /// 3/4.
    ThreeQuarters,
    /// As stored.
    Full,
}

impl Scale {
    /// All, from the one that takes the least.
    pub const ALL: [Self; 8] = [
        Self::Eighth,
        Self::QuarterOf3,
        Self::Quarter,
        Self::ThreeEighthsOf6,
        Self::HalfOf10,
        Self::Half,
        Self::ThreeQuarters,
        Self::Full,
    ];

    /// Samples that stand for the 8 of a block's side.
    pub fn side(self) -> usize {
        match self {
            Self::Eighth => 1,
            Self::QuarterOf3 | Self::Quarter => 2,
            Self::ThreeEighthsOf6 => 3,
            Self::HalfOf10 | Self::Half => 4,
            Self::ThreeQuarters => 6,
            Self::Full => 8,
        }
    }

    /// Whether only coefficients count whose frequencies in both directions add up to less than the
    /// side.
    pub fn is_of_triangle(self) -> bool {
        matches!(self, Self::QuarterOf3 | Self::ThreeEighthsOf6 | Self::HalfOf10)
    }
}

/// The scales of a plane's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    /// Of a row's samples.
    pub horizontal: Scale,
    /// Of the rows.
    pub vertical: Scale,
}

impl From<Scale> for Scales {
    fn from(scale: Scale) -> Self {
        Self { horizontal: scale, vertical: scale }
    }
}

/// The share of the picture's samples that a component has in each direction: 1, or 1/2 when two
/// share one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of a row's samples.
    pub horizontal: f64,
    /// Of the rows.
    pub vertical: f64,
    /// Whether its means are in scans of their own.
    pub is_progressive: bool,
    /// The picture's pixels.
    pub pixels: usize,
}

/// What is done about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is an error.
    Refused,
    /// An invalid code ends its block, and decoding continues after it, as in libjpeg. Where data
    /// are missing, the last mean of each component fills the picture up to the next restart marker
    /// or the end of the scan.
    Concealed,
}

/// Whether a sequential scan is read at several positions in turn; what comes out is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// From its start to its end.
    Never,
    /// Where it is worth it.
    WhereFaster,
    /// However short it is, as tests want it.
    Always,
}

/// Why an image is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// It is of a kind that this decoder does not know.
    #[error("{0}")]
    Unsupported(&'static str),
    /// It ends before it should.
    #[error("The file ends in the middle of the picture.")]
    Truncated,
    /// It contradicts itself.
    #[error("{0}")]
    Corrupt(&'static str),
    /// There is no memory for its planes.
    #[error("There is not enough memory to decode the picture.")]
    OutOfMemory,
    /// It took too long.
    #[error(transparent)]
    DeadlineExceeded(#[from] DeadlineExceeded),
}

/// Decodes a file to planes. `choose` gives the scales of a component from its number, what it
/// means, and its share of the picture's samples; where its two scales differ, they are raised to
/// sides that the transform knows. A file of more than `max_scans` is refused.
pub fn decode(
    file: &[u8],
    choose: impl Fn(ColourModel, usize, Share) -> Scales,
    max_scans: u32,
    damage: Damage,
    deadline: &Deadline,
) -> Result<Planes, JpegError> {
    decode_in(Streams::WhereFaster, file, choose, max_scans, damage, deadline)
}

/// The same, as told about streams.
pub fn decode_in(
    streams: Streams,
    file: &[u8],
    choose: impl Fn(ColourModel, usize, Share) -> Scales,
    max_scans: u32,
    damage: Damage,
    deadline: &Deadline,
) -> Result<Planes, JpegError> {
    let (mut segments, mut tables) = (Segments::new(file), Tables::default());
    let Next::Frame(frame) = segments.next(&mut tables, None)? else {
        return Err(JpegError::Corrupt("The file has no picture."));
    };
    let model = profile::colour_model(file, &frame);
    let sides = sides(&frame, model, choose);
    let (read, conditions) = (&mut segments, (damage, deadline));
    let planes = if frame.is_progressive {
        progressive::decode(file, &frame, read, &mut tables, &sides, max_scans, conditions)?
    } else {
        let conditions = (streams, damage, deadline);
        decode_sequential(file, &frame, read, &mut tables, &sides, max_scans, conditions)?
    };
    Ok(Planes { model, planes })
}

/// The bytes that [`decode`] holds at a time at most, besides the file, by the frame header alone.
pub fn memory_needed(
    file: &[u8],
    choose: impl Fn(ColourModel, usize, Share) -> Scales,
) -> Result<u64, JpegError> {
    let (mut segments, mut tables) = (Segments::new(file), Tables::default());
    let Next::Frame(frame) = segments.next(&mut tables, None)? else {
        return Err(JpegError::Corrupt("The file has no picture."));
    };
    let sides = sides(&frame, profile::colour_model(file, &frame), choose);
    let bytes = frame.components.iter().zip(sides).map(|(component, sides)| {
        let Sides { wide, high, .. } = sides;
        let blocks = component.stored_blocks_wide as u64 * component.stored_blocks_high as u64;
        let coefficients = if frame.is_progressive {
            store::block_bytes(wide * high)
        } else {
            streams::block_bytes(sides)
        };
        blocks * ((wide * high) as u64 + coefficients)
    });
    Ok(bytes.sum())
}

/// The samples to a block of each component.
fn sides(
    frame: &Frame,
    model: ColourModel,
    choose: impl Fn(ColourModel, usize, Share) -> Scales,
) -> Vec<Sides> {
    let of_component = |(index, component): (usize, &Component)| {
        let share = Share {
            horizontal: component.horizontal as f64 / frame.max_horizontal as f64,
            vertical: component.vertical as f64 / frame.max_vertical as f64,
            is_progressive: frame.is_progressive,
            pixels: frame.width * frame.height,
        };
        let scales = choose(model, index, share);
        Sides::of(scales)
    };
    frame.components.iter().enumerate().map(of_component).collect()
}

/// Reads scans until each component had its own; nothing may come behind them.
fn decode_sequential(
    file: &[u8],
    frame: &Frame,
    segments: &mut Segments<'_>,
    tables: &mut Tables,
    sides: &[Sides],
    max_scans: u32,
    (streams, damage, deadline): (Streams, Damage, &Deadline),
) -> Result<Vec<Plane>, JpegError> {
    tables.add_standard_huffman();
    let mut planes = Vec::new();
    for (index, &sides) in sides.iter().enumerate() {
        planes.push(Plane::new(frame, index, sides)?);
    }
    let mut is_decoded = vec![false; sides.len()];
    for _ in 0..max_scans {
        let scan = match segments.next(tables, Some(frame))? {
            Next::Scan(scan) => scan,
            Next::End if !is_decoded.contains(&false) => return Ok(planes),
            Next::End => return Err(JpegError::Corrupt("A colour component has no data.")),
            Next::Frame(_) => return Err(JpegError::Corrupt("The file describes two pictures.")),
        };
        for component in &scan.components {
            let is_again = std::mem::replace(&mut is_decoded[component.index], true);
            if is_again && damage == Damage::Refused {
                return Err(JpegError::Corrupt("A colour component has two scans."));
            }
        }
        segments.position = sequential::decode_scan(
            file,
            frame,
            &scan,
            tables,
            (&mut planes, sides),
            (if damage == Damage::Refused { streams } else { Streams::Never }, damage, deadline),
        )?;
    }
    match segments.next(tables, Some(frame))? {
        Next::End if !is_decoded.contains(&false) => Ok(planes),
        _ => Err(JpegError::Unsupported("The picture has too many scans.")),
    }
}
