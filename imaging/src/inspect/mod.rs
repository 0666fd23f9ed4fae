//! What a file is, read from its structure: by content, never by name, and without decoding a
//! pixel. Memory is bounded by a block of metadata, whatever the file's size.

mod jpeg;
mod png;

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use crate::{Format, Limits, Orientation};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// By its content.
    pub format: Format,
    /// As displayed, in px.
    pub width: u32,
    /// As displayed, in px.
    pub height: u32,
    /// How the stored pixels are turned to be displayed.
    pub orientation: Orientation,
    /// Scans of a JPEG; none of a PNG.
    pub scans: u32,
    /// Whether it is an animation (APNG), of which the first frame counts.
    pub animated: bool,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It has no bytes.
    #[error("The file is empty. Choose a PNG or JPEG file.")]
    Empty,
    /// It is something else.
    #[error("The file is neither PNG nor JPEG. Save the picture as one of them.")]
    NotAnImage,
    /// It is a PNG or JPEG of a kind that next to nobody uses.
    #[error("{reason} Save the picture as an ordinary PNG or JPEG.")]
    Unsupported {
        /// Which kind, in a sentence.
        reason: &'static str,
    },
    /// It ends before the image does.
    #[error("The file ends in the middle of the picture. Copy it again.")]
    Truncated,
    /// It has no end marker: whether the picture is whole is known only when it is decoded.
    #[error(
        "The file ends without an end marker. Part of the picture may be missing. Copy it again."
    )]
    NoEnd,
    /// Its structure contradicts itself.
    #[error("The picture is damaged. {reason}")]
    Corrupt {
        /// What was found, in a sentence.
        reason: &'static str,
    },
    /// It has more pixels than [`Limits::max_pixels`].
    #[error("The picture has {} megapixels. At most {} are allowed.", megapixels(*pixels), megapixels(*limit))]
    TooManyPixels {
        /// Width times height.
        pixels: u64,
        /// The limit.
        limit: u64,
    },
    /// A side is longer than [`Limits::max_side_px`].
    #[error("A side of the picture is {side_px} px long. At most {limit} px are allowed.")]
    SideTooLong {
        /// The longer side.
        side_px: u32,
        /// The limit.
        limit: u32,
    },
    /// It has more scans than [`Limits::max_scans`].
    #[error(
        "The picture has more than {limit} scans, which is the limit. Save it as a baseline JPEG."
    )]
    TooManyScans {
        /// The limit.
        limit: u32,
    },
    /// Its source cannot be read.
    #[error("The file cannot be read: {0}")]
    Io(io::Error),
}

/// Rounded up to a tenth, so that what is above a limit is not shown as equal to it.
fn megapixels(pixels: u64) -> String {
    let tenths = pixels.div_ceil(100_000);
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// A file that ends where more was expected is truncated; any other failure is the source's.
impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Reads what a file is, from its start. The limits hold as soon as the size is known, before
/// anything else is read. It is buffered here; where the source stands afterwards is not defined.
pub fn inspect<R: Read + Seek>(
    source: &mut R,
    limits: &Limits,
) -> Result<Inspection, InspectError> {
    source.seek(SeekFrom::Start(0))?;
    inspect_buffered(&mut BufReader::new(source), limits, Extent::Whole)
}

/// The same of a file in memory, for a decoder that sees for itself whether the picture is whole:
/// of a JPEG it reads no farther than to the first scan.
pub(crate) fn inspect_head(file: &[u8], limits: &Limits) -> Result<Inspection, InspectError> {
    inspect_buffered(&mut Cursor::new(file), limits, Extent::Head)
}

pub(crate) use png::is_interrupted as is_png_interrupted;

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Head,
    Whole,
}

fn inspect_buffered<R: BufRead + Seek>(
    source: &mut R,
    limits: &Limits,
    extent: Extent,
) -> Result<Inspection, InspectError> {
    let start = read_start(source)?;
    if start.is_empty() {
        return Err(InspectError::Empty);
    }
    if start.starts_with(jpeg::SIGNATURE) {
        jpeg::inspect(source, limits, extent)
    } else if start.starts_with(png::SIGNATURE) {
        png::inspect(source, limits)
    } else {
        Err(InspectError::NotAnImage)
    }
}

/// As many bytes as the longest signature has, or all there are. They are read again by whoever
/// knows them.
fn read_start<R: BufRead + Seek>(source: &mut R) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    source.by_ref().take(png::SIGNATURE.len() as u64).read_to_end(&mut start)?;
    source.seek(SeekFrom::Start(0))?;
    Ok(start)
}

/// Holds the stored sides, in px, against the limits.
fn check_size(width: u32, height: u32, limits: &Limits) -> Result<(), InspectError> {
    let side_px = width.max(height);
    if side_px > limits.max_side_px {
        return Err(InspectError::SideTooLong { side_px, limit: limits.max_side_px });
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(InspectError::TooManyPixels { pixels, limit: limits.max_pixels });
    }
    Ok(())
}

fn read_array<const N: usize>(source: &mut impl BufRead) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_vec(source: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}
