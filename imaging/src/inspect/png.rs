//! The structure of a PNG (W3C PNG specification, section 5): its chunks, from the header to the
//! end. Chunks of no interest are passed over, whatever they would unpack to.

use std::io::{BufRead, Cursor, Seek};

use super::{InspectError, Inspection, check_size, read_array, read_vec};
use crate::{Format, Limits, Orientation};

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";

/// Lengths and sides are at most this (section 7.1).
const MAX_INTEGER: u32 = (1 << 31) - 1;
const PALETTE: u8 = 3;

pub(super) fn inspect<R: BufRead + Seek>(
    source: &mut R,
    limits: &Limits,
) -> Result<Inspection, InspectError> {
    let _signature = read_array::<8>(source)?;
    let header = read_header(source)?;
    check_size(header.width, header.height, limits)?;
    let (mut orientation, mut animated, mut has_palette, mut has_pixels) =
        (None, false, false, false);
    loop {
        let (length, kind) = read_chunk_start(source)?;
        match &kind {
            b"IEND" => break,
            b"IHDR" => {
                return Err(InspectError::Corrupt { reason: "The file has two headers." });
            }
            // three bytes for each of 1 to 256 colours (PNG, third edition, section 11.2.2)
            b"PLTE"
                if header.colour_type == PALETTE
                    && (length % 3 != 0 || !(3..=768).contains(&length)) =>
            {
                return Err(InspectError::Corrupt {
                    reason: "The palette has an impossible length.",
                });
            }
            b"PLTE" => has_palette = true,
            b"IDAT" => {
                if header.colour_type == PALETTE && !has_palette {
                    return Err(InspectError::Corrupt { reason: "The picture has no palette." });
                }
                has_pixels = true;
            }
            b"acTL" => animated = true,
            b"eXIf" if orientation.is_none() && u64::from(length) <= limits.max_metadata_bytes => {
                let block = read_vec(source, usize::try_from(length).unwrap_or(usize::MAX))?;
                orientation = Orientation::of_exif_block(block);
                source.seek_relative(CHECKSUM_BYTES)?;
                continue;
            }
            _ => {}
        }
        source.seek_relative(i64::from(length) + CHECKSUM_BYTES)?;
    }
    if !has_pixels {
        return Err(InspectError::Corrupt { reason: "The file has no picture." });
    }
    let orientation = orientation.unwrap_or(Orientation::UPRIGHT);
    let (width, height) = orientation.turn((header.width, header.height));
    Ok(Inspection { format: Format::Png, width, height, orientation, scans: 0, animated })
}

/// Whether other chunks stand between those of the pixels (section 5.6).
pub(crate) fn is_interrupted(file: &[u8]) -> bool {
    let mut source = Cursor::new(file.get(SIGNATURE.len()..).unwrap_or_default());
    let (mut has_pixels, mut has_ended) = (false, false);
    while let Ok((length, kind)) = read_chunk_start(&mut source) {
        let is_pixels = &kind == b"IDAT";
        if is_pixels && has_ended {
            return true;
        }
        has_ended = has_pixels && !is_pixels;
        has_pixels |= is_pixels;
        source.set_position(source.position() + u64::from(length) + CHECKSUM_BYTES.unsigned_abs());
    }
    false
}

const CHECKSUM_BYTES: i64 = 4;

/// Length in bytes and kind of a chunk.
fn read_chunk_start(source: &mut impl BufRead) -> Result<(u32, [u8; 4]), InspectError> {
    let length = u32::from_be_bytes(read_array(source)?);
    if length > MAX_INTEGER {
        return Err(InspectError::Corrupt { reason: "A chunk is longer than PNG allows." });
    }
    Ok((length, read_array(source)?))
}

struct Header {
    width: u32,
    height: u32,
    colour_type: u8,
}

/// The header chunk (section 11.2.1).
fn read_header(source: &mut impl BufRead) -> Result<Header, InspectError> {
    let (length, kind) = read_chunk_start(source)?;
    if &kind != b"IHDR" || length != 13 {
        return Err(InspectError::Corrupt { reason: "The file does not start with a header." });
    }
    let fields: [u8; 13] = read_array(source)?;
    let checksum = u32::from_be_bytes(read_array(source)?);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind);
    hasher.update(&fields);
    if hasher.finalize() != checksum {
        return Err(InspectError::Corrupt { reason: "The header's checksum is wrong." });
    }
    let [w0, w1, w2, w3, h0, h1, h2, h3, depth, colour_type, compression, filter, interlace] =
        fields;
    let (width, height) =
        (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
    if width == 0 || height == 0 || width > MAX_INTEGER || height > MAX_INTEGER {
        return Err(InspectError::Corrupt {
            reason: "A side of the picture has an impossible length.",
        });
    }
    let is_possible = match colour_type {
        0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
        PALETTE => matches!(depth, 1 | 2 | 4 | 8),
        2 | 4 | 6 => matches!(depth, 8 | 16),
        _ => false,
    };
    if !is_possible || compression != 0 || filter != 0 || interlace > 1 {
        return Err(InspectError::Corrupt {
            reason: "The header has an impossible colour type or method.",
        });
    }
    Ok(Header { width, height, colour_type })
}
