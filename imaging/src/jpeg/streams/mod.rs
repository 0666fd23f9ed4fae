//! Several positions of one sequential scan, parsed in turn on one core: a table look-up has to
//! wait for the one before it, but not for those of other positions.
//!
//! 1. Streams start at equal distances, or at restart markers. Where there are none, it is guessed
//!    that a block starts there, the first of a unit. Huffman codes soon fall into step: a stream
//!    that comes to where the next one started compares starts of blocks, and where both have the
//!    same, at the same place of a unit, all that follows is the same. That is exact.
//! 2. While a stream's bytes are in its window, the values that count are read at the starts that
//!    were found. Means are kept as differences, so that nothing depends on what came before.
//! 3. The parts of the streams that fit together are painted.
//!
//! The serial decoder reads a scan in which the streams find a fault: an invalid code, a wrong number
//! of blocks, a stream that no other one meets. It knows how to conceal damage.

mod decoder;
mod layout;
mod paint;
mod steps;
mod stream;
#[cfg(test)]
mod tests;
mod values;

use super::{
    JpegError, Streams,
    header::{Frame, Scan, Tables},
    marker::{EOI, RST0, RST7},
    plane::Plane,
    scan::Geometry,
    transform::Sides,
};
use crate::Deadline;
use decoder::Decoder;
use layout::{Kept, Layout};

/// The bytes that a block takes until it is painted.
pub(super) fn block_bytes(sides: Sides) -> u64 {
    Kept::of(sides).map_or(0, |kept| kept.len() * size_of::<i16>()) as u64
}

/// From how many bytes on it is done.
#[derive(Clone, Copy, Debug)]
struct Enough {
    /// Of a scan: below, the tables would take longer than is won.
    scan: usize,
    /// Between two restart markers, on average.
    segment: usize,
    /// Before a stream that is halved.
    halved: usize,
}

impl Enough {
    fn of(streams: Streams) -> Option<Self> {
        match streams {
            Streams::Never => None,
            Streams::WhereFaster => Some(Self { scan: 1 << 17, segment: 1 << 11, halved: 1 << 15 }),
            Streams::Always => Some(Self { scan: 1, segment: 0, halved: 1 << 8 }),
        }
    }
}

/// Decodes a scan into the planes of its components; gives the position behind it, or nothing if it
/// is left to the serial decoder, whatever the planes hold then.
pub(super) fn decode_scan(
    file: &[u8],
    (frame, scan, tables): (&Frame, &Scan, &Tables),
    geometry: &Geometry,
    (planes, sides): (&mut [Plane], &[Sides]),
    (streams, deadline): (Streams, &Deadline),
) -> Result<Option<usize>, JpegError> {
    let Some(enough) = Enough::of(streams) else { return Ok(None) };
    let is_long = file.len().saturating_sub(scan.start) >= enough.scan;
    if !is_long
        || scan.components.iter().any(|component| Kept::of(sides[component.index]).is_none())
    {
        return Ok(None);
    }
    let interval = tables.restart_interval;
    // where all is in one scan it ends with the file, or not far from it: the ends of streams tell
    let is_alone = scan.components.len() == frame.components.len();
    let segments = match file.strip_suffix(&[0xFF, EOI]) {
        Some(file) if is_alone && interval == 0 => Some(vec![(scan.start, file.len())]),
        _ => segments(file, scan.start, interval),
    };
    let is_enough = |segments: &Vec<(usize, usize)>| {
        let bytes = segments.last().map_or(0, |last| last.1.saturating_sub(scan.start));
        bytes >= enough.scan && bytes >= segments.len() * enough.segment
    };
    let Some(segments) = segments.filter(is_enough) else { return Ok(None) };
    let Ok(Some(layout)) = Layout::new(frame, scan, tables, geometry, sides) else {
        return Ok(None);
    };
    let mut decoder = Decoder::new(file, &layout, segments, interval, enough.halved);
    match decoder.run(deadline) {
        Ok(()) => {}
        // the serial decoder needs less
        Err(JpegError::OutOfMemory) => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some(parts) = decoder.parts() else { return Ok(None) };
    let Some(painters) = paint::painters(frame, scan, tables, geometry, (&layout, planes)) else {
        return Ok(None);
    };
    let end = parts.last().map(|part| part.stream.next);
    let records = parts.iter().flat_map(|part| part.records(&layout));
    paint::paint(painters, records, &layout, geometry, interval);
    Ok(end)
}

/// Where the bytes between restart markers start and end; nothing where the markers are not as they
/// should be.
fn segments(file: &[u8], start: usize, restart_interval: usize) -> Option<Vec<(usize, usize)>> {
    let (mut segments, mut from, mut at) = (Vec::new(), start, start);
    loop {
        at += memchr::memchr(0xFF, file.get(at..)?)? + 1;
        match *file.get(at)? {
            0 | 0xFF => {}
            code @ RST0..=RST7 => {
                if restart_interval == 0 || code != RST0 + (segments.len() % 8) as u8 {
                    return None;
                }
                segments.push((from, at - 1));
                from = at + 1;
            }
            _ => {
                segments.push((from, at - 1));
                return Some(segments);
            }
        }
    }
}
