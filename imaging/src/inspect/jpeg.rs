//! The structure of a JPEG (ITU-T T.81, annex B): its markers, from the start of the image to its
//! end.

use std::io::{BufRead, ErrorKind, Seek};

use super::{Extent, InspectError, Inspection, check_size, read_array, read_vec};
use crate::{
    Format, Limits, Orientation,
    jpeg::marker::{
        APP1, DAC, DHT, DNL, EOI, JPG, RST0, RST7, SOF0_BASELINE, SOF1_EXTENDED, SOF2_PROGRESSIVE,
        SOF15, SOI, SOS, TEM, is_metadata, is_within_scan,
    },
};

/// SOI and the 0xFF that starts the next marker.
pub(super) const SIGNATURE: &[u8] = &[0xFF, SOI, 0xFF];

const EXIF_HEADER: &[u8] = b"Exif\0\0";

/// What a frame header says (T.81 section B.2.2).
struct Frame {
    width: u32,
    /// 0 until a DNL segment behind the first scan tells it.
    height: u32,
}

pub(super) fn inspect<R: BufRead + Seek>(
    source: &mut R,
    limits: &Limits,
    extent: Extent,
) -> Result<Inspection, InspectError> {
    let _soi = read_array::<2>(source)?;
    let (mut frame, mut orientation, mut scans): (Option<Frame>, _, _) = (None, None, 0);
    let mut marker = next_marker(source)?;
    loop {
        match marker {
            EOI => break,
            SOI => {
                return Err(InspectError::Corrupt {
                    reason: "Another picture starts within the picture.",
                });
            }
            TEM | RST0..=RST7 => {}
            SOS => {
                scans += 1;
                let Some(Frame { height, width }) = &mut frame else {
                    let reason = "The picture's data come before its description.";
                    return Err(InspectError::Corrupt { reason });
                };
                if scans > limits.max_scans {
                    return Err(InspectError::TooManyScans { limit: limits.max_scans });
                }
                if extent == Extent::Head && *height > 0 {
                    break;
                }
                skip_segment(source, marker)?;
                marker = skip_entropy_coded_data(source)?;
                if *height == 0 {
                    *height = read_number_of_lines(source, marker)?;
                    check_size(*width, *height, limits)?;
                    marker = next_marker(source)?;
                }
                continue;
            }
            DHT | DAC | JPG => skip_segment(source, marker)?,
            SOF0_BASELINE..=SOF15 if frame.is_some() => {
                return Err(InspectError::Corrupt { reason: "The file describes two pictures." });
            }
            SOF0_BASELINE..=SOF15 => frame = Some(read_frame(source, marker, limits)?),
            APP1 if orientation.is_none() => orientation = read_exif(source, limits)?,
            _ => skip_segment(source, marker)?,
        }
        marker = next_marker(source)?;
    }
    let Some(frame) = frame.filter(|_| scans > 0) else {
        return Err(InspectError::Corrupt { reason: "The file has no picture." });
    };
    let orientation = orientation.unwrap_or(Orientation::UPRIGHT);
    let (width, height) = orientation.turn((frame.width, frame.height));
    Ok(Inspection { format: Format::Jpeg, width, height, orientation, scans, animated: false })
}

/// The next marker's code. Bytes between segments that are no marker are skipped, as every decoder
/// does.
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

/// The marker that ends a scan. Stuffed zeros and restart markers belong to it (T.81 sections
/// B.1.1.5, E.1.4).
fn skip_entropy_coded_data(source: &mut impl BufRead) -> Result<u8, InspectError> {
    loop {
        match next_marker(source).map_err(without_end)? {
            marker if is_within_scan(marker) => {}
            marker => return Ok(marker),
        }
    }
}

/// A file that ends in a scan may have all of it.
fn without_end(error: InspectError) -> InspectError {
    match error {
        InspectError::Truncated => InspectError::NoEnd,
        other => other,
    }
}

/// The length in bytes of what follows a segment's length field, which counts itself (T.81 section
/// B.1.1.4).
fn segment_length(source: &mut impl BufRead, marker: u8) -> Result<u16, InspectError> {
    let length = u16::from_be_bytes(read_array(source)?);
    if length < 2 && !is_metadata(marker) {
        return Err(InspectError::Corrupt {
            reason: "A segment is shorter than its length field.",
        });
    }
    Ok(length.saturating_sub(2))
}

fn skip_segment<R: BufRead + Seek>(source: &mut R, marker: u8) -> Result<(), InspectError> {
    let length = segment_length(source, marker)?;
    source.seek_relative(i64::from(length))?;
    Ok(())
}

/// The height in px, which stands behind the first scan (T.81 section B.2.5).
fn read_number_of_lines(source: &mut impl BufRead, marker: u8) -> Result<u32, InspectError> {
    if marker != DNL || segment_length(source, marker)? != 2 {
        return Err(InspectError::Corrupt { reason: "The picture's height is missing." });
    }
    match u16::from_be_bytes(read_array(source)?) {
        0 => Err(InspectError::Corrupt { reason: "The picture is 0 px high." }),
        height => Ok(u32::from(height)),
    }
}

fn read_frame(
    source: &mut impl BufRead,
    marker: u8,
    limits: &Limits,
) -> Result<Frame, InspectError> {
    let reason = match marker {
        SOF0_BASELINE | SOF1_EXTENDED | SOF2_PROGRESSIVE => None,
        0xC3 => Some("Lossless JPEG is not supported."),
        0xC5..=0xC7 => Some("Hierarchical JPEG is not supported."),
        _ => Some("Arithmetic-coded JPEG is not supported."),
    };
    if let Some(reason) = reason {
        return Err(InspectError::Unsupported { reason });
    }
    let length = usize::from(segment_length(source, marker)?);
    let header = read_vec(source, length)?;
    let &[precision, height_high, height_low, width_high, width_low, count, ref components @ ..] =
        header.as_slice()
    else {
        return Err(InspectError::Corrupt { reason: "The frame header is too short." });
    };
    let height = u32::from(u16::from_be_bytes([height_high, height_low]));
    let width = u32::from(u16::from_be_bytes([width_high, width_low]));
    if width == 0 {
        return Err(InspectError::Corrupt { reason: "The picture is 0 px wide." });
    }
    // a height that comes later is at least 1
    check_size(width, height.max(1), limits)?;
    if precision != 8 {
        return Err(InspectError::Unsupported {
            reason: "JPEG with other than 8 bits per sample is not supported.",
        });
    }
    if !matches!(count, 1 | 3 | 4) {
        return Err(InspectError::Unsupported {
            reason: "JPEG with other than 1, 3 or 4 components is not supported.",
        });
    }
    check_components(components, usize::from(count))?;
    Ok(Frame { width, height })
}

/// Each component has an identifier, its sampling factors and its quantization table, a byte each.
fn check_components(components: &[u8], count: usize) -> Result<(), InspectError> {
    if components.len() != count * 3 {
        return Err(InspectError::Corrupt {
            reason: "The frame header does not fit its components.",
        });
    }
    let is_factor = |factor: u8| (1..=4).contains(&factor);
    if components
        .chunks_exact(3)
        .all(|component| is_factor(component[1] >> 4) && is_factor(component[1] & 0xF))
    {
        return Ok(());
    }
    Err(InspectError::Corrupt { reason: "A sampling factor is not 1 to 4." })
}

/// The orientation of an EXIF block, if the segment is one.
fn read_exif<R: BufRead + Seek>(
    source: &mut R,
    limits: &Limits,
) -> Result<Option<Orientation>, InspectError> {
    let length = segment_length(source, APP1)?;
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
