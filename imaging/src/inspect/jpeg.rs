//! The structure of a JPEG (ITU-T T.81, annex B): its markers, from the start of the image to its end.

use std::io::{BufRead, ErrorKind, Seek};

use super::{Extent, InspectError, Inspection, check_size, read_array, read_vec};
use crate::{
    Format, Limits, Orientation,
    jpeg::marker::{
        APP1, DAC, DHT, EOI, JPG, RST0, RST7, SOF0_BASELINE, SOF1_EXTENDED, SOF2_PROGRESSIVE, SOF15, SOI,
        SOS, TEM,
    },
};

/// SOI and the 0xFF that starts the next marker.
pub(super) const SIGNATURE: &[u8] = &[0xFF, SOI, 0xFF];

const EXIF_HEADER: &[u8] = b"Exif\0\0";

/// What a frame header says (T.81 section B.2.2).
struct Frame {
    width: u32,
    height: u32,
}

pub(super) fn inspect<R: BufRead + Seek>(
    source: &mut R,
    limits: &Limits,
    extent: Extent,
) -> Result<Inspection, InspectError> {
    let _soi = read_array::<2>(source)?;
    let (mut frame, mut orientation, mut scans) = (None, None, 0);
    let mut marker = next_marker(source)?;
    loop {
        match marker {
            EOI => break,
            SOI => {
                return Err(InspectError::Corrupt { reason: "an image starts within the image" });
            }
            TEM | RST0..=RST7 => {}
            SOS => {
                scans += 1;
                if frame.is_none() {
                    return Err(InspectError::Corrupt { reason: "a scan stands before the frame header" });
                }
                if scans > limits.max_scans {
                    return Err(InspectError::TooManyScans { limit: limits.max_scans });
                }
                if extent == Extent::Head {
                    break;
                }
                skip_segment(source)?;
                marker = skip_entropy_coded_data(source)?;
                continue;
            }
            DHT | DAC | JPG => skip_segment(source)?,
            SOF0_BASELINE..=SOF15 if frame.is_some() => {
                return Err(InspectError::Corrupt { reason: "it has two frame headers" });
            }
            SOF0_BASELINE..=SOF15 => frame = Some(read_frame(source, marker, limits)?),
            APP1 if orientation.is_none() => orientation = read_exif(source, limits)?,
            _ => skip_segment(source)?,
        }
        marker = next_marker(source)?;
    }
    let Some(frame) = frame.filter(|_| scans > 0) else {
        return Err(InspectError::Corrupt { reason: "it has no picture" });
    };
    let orientation = orientation.unwrap_or(Orientation::UPRIGHT);
    let (width, height) = orientation.turn((frame.width, frame.height));
    Ok(Inspection { format: Format::Jpeg, width, height, orientation, scans, animated: false })
}

/// The next marker's code. Bytes between segments that are no marker are skipped, as every decoder does.
fn next_marker(source: &mut impl BufRead) -> Result<u8, InspectError> {
    loop {
        skip_until_ff(source)?;
        // any number of 0xFF may fill the space before a marker (T.81 section B.1.1.2)
        let mut code = 0xFF;
        while code == 0xFF {
            [code] = read_array(source)?;
        }
        if code != 0 {
            return Ok(code);
        }
    }
}

/// Moves behind the next 0xFF.
fn skip_until_ff(source: &mut impl BufRead) -> Result<(), InspectError> {
    loop {
        let buffer = match source.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Err(InspectError::Truncated);
        }
        let found = memchr::memchr(0xFF, buffer);
        let length = buffer.len();
        source.consume(found.map_or(length, |position| position + 1));
        if found.is_some() {
            return Ok(());
        }
    }
}

/// The marker that ends a scan. Stuffed zeros and restart markers belong to the scan (T.81 sections B.1.1.5, E.1.4).
fn skip_entropy_coded_data(source: &mut impl BufRead) -> Result<u8, InspectError> {
    loop {
        match next_marker(source)? {
            RST0..=RST7 => {}
            marker => return Ok(marker),
        }
    }
}

/// The length in bytes of what follows a segment's length field (T.81 section B.1.1.4).
fn segment_length(source: &mut impl BufRead) -> Result<u16, InspectError> {
    let length = u16::from_be_bytes(read_array(source)?);
    length
        .checked_sub(2)
        .ok_or(InspectError::Corrupt { reason: "a segment is shorter than its length field" })
}

fn skip_segment<R: BufRead + Seek>(source: &mut R) -> Result<(), InspectError> {
    let length = segment_length(source)?;
    source.seek_relative(i64::from(length))?;
    Ok(())
}

fn read_frame(source: &mut impl BufRead, marker: u8, limits: &Limits) -> Result<Frame, InspectError> {
    let reason = match marker {
        SOF0_BASELINE | SOF1_EXTENDED | SOF2_PROGRESSIVE => None,
        0xC3 => Some("lossless JPEG"),
        0xC5..=0xC7 => Some("hierarchical JPEG"),
        _ => Some("arithmetic-coded JPEG"),
    };
    if let Some(reason) = reason {
        return Err(InspectError::Unsupported { reason });
    }
    let length = usize::from(segment_length(source)?);
    let header = read_vec(source, length)?;
    let &[precision, height_high, height_low, width_high, width_low, count, ref components @ ..] =
        header.as_slice()
    else {
        return Err(InspectError::Corrupt { reason: "the frame header is too short" });
    };
    let height = u32::from(u16::from_be_bytes([height_high, height_low]));
    let width = u32::from(u16::from_be_bytes([width_high, width_low]));
    if width == 0 {
        return Err(InspectError::Corrupt { reason: "it is 0 px wide" });
    }
    if height == 0 {
        return Err(InspectError::Unsupported { reason: "a JPEG that tells its height after the picture" });
    }
    check_size(width, height, limits)?;
    if precision != 8 {
        return Err(InspectError::Unsupported { reason: "JPEG of other than 8 bits a sample" });
    }
    if !matches!(count, 1 | 3 | 4) {
        return Err(InspectError::Unsupported { reason: "JPEG of other than 1, 3 or 4 components" });
    }
    check_components(components, usize::from(count))?;
    Ok(Frame { width, height })
}

/// Each component has an identifier, its sampling factors and its quantization table, a byte each.
fn check_components(components: &[u8], count: usize) -> Result<(), InspectError> {
    if components.len() != count * 3 {
        return Err(InspectError::Corrupt {
            reason: "the frame header has another length than its components",
        });
    }
    let is_factor = |factor: u8| (1..=4).contains(&factor);
    if components
        .chunks_exact(3)
        .all(|component| is_factor(component[1] >> 4) && is_factor(component[1] & 0xF))
    {
        return Ok(());
    }
    Err(InspectError::Corrupt { reason: "a sampling factor is not 1 to 4" })
}

/// The orientation of an EXIF block, if the segment is one.
fn read_exif<R: BufRead + Seek>(
    source: &mut R,
    limits: &Limits,
) -> Result<Option<Orientation>, InspectError> {
    let length = segment_length(source)?;
    if u64::from(length) > limits.max_metadata_bytes {
        source.seek_relative(i64::from(length))?;
        return Ok(None);
    }
    let mut segment = read_vec(source, usize::from(length))?;
    if !segment.starts_with(EXIF_HEADER) {
        return Ok(None);
    }
    Ok(Orientation::of_exif_block(segment.split_off(EXIF_HEADER.len())))
}
