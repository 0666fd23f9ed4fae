//! Progressive images (T.81 annex G): of the scans, those are decoded that the scale needs; of their coefficients, those
//! are kept.

use super::{
    JpegError,
    bits::{Bits, Place, Window, WindowBytes, end_of_scan},
    header::{Frame, Next, Scan, Segments, Tables},
    huffman::{DcTable, SymbolTable},
    plane::Plane,
    scan::{Geometry, Unit, walk},
    store::Store,
    transform::last_of_corner,
};
use crate::Deadline;

/// Bits that a refill is sure to serve.
const MAX_SKIP: u32 = 56;

/// Decodes the scans that the sides, samples of a block's side for each component, need.
pub(super) fn decode(
    file: &[u8],
    frame: &Frame,
    segments: &mut Segments<'_>,
    tables: &mut Tables,
    sides: &[usize],
    max_scans: u32,
    deadline: &Deadline,
) -> Result<Vec<Plane>, JpegError> {
    let first = first_scan(segments, tables, frame)?;
    let plan = Plan::new(&headers(file, frame, max_scans)?, sides);
    let mut stores = Vec::new();
    for (index, &side) in sides.iter().enumerate() {
        stores.push(Store::new(frame, index, side, plan.refined[index])?);
    }
    let mut scan = first;
    for is_needed in plan.is_needed {
        for component in &scan.components {
            stores[component.index].latch(frame, component.index, tables)?;
        }
        segments.position = if is_needed {
            decode_scan(file, frame, &scan, tables, &mut stores, deadline)?
        } else {
            end_of_scan(file, scan.start).ok_or(JpegError::Truncated)?
        };
        match segments.next(tables, Some(frame))? {
            Next::Scan(next) => scan = next,
            Next::Frame(_) => return Err(JpegError::Corrupt("it has two frame headers")),
            Next::End => break,
        }
    }
    let mut planes = Vec::new();
    for (index, store) in stores.into_iter().enumerate() {
        deadline.check()?;
        let mut plane = Plane::new(frame, index, store.side)?;
        store.write(&mut plane)?;
        planes.push(plane);
    }
    Ok(planes)
}

fn first_scan(segments: &mut Segments<'_>, tables: &mut Tables, frame: &Frame) -> Result<Scan, JpegError> {
    match segments.next(tables, Some(frame))? {
        Next::Scan(scan) => Ok(scan),
        Next::Frame(_) | Next::End => Err(JpegError::Corrupt("it has no picture")),
    }
}

/// Which scans are needed.
struct Plan {
    /// For each scan up to the last that is needed.
    is_needed: Vec<bool>,
    /// For each component, whether coefficients other than the first are refined in a scan that is needed.
    refined: Vec<bool>,
}

impl Plan {
    fn new(scans: &[Scan], sides: &[usize]) -> Self {
        // coefficients that must be known, a bit for each; backwards, as a refinement needs what it refines
        let mut wanted: Vec<u64> = sides.iter().map(|&side| band(0, last_of_corner(side))).collect();
        let mut refined = vec![false; sides.len()];
        let mut is_needed = vec![false; scans.len()];
        for (scan, is_needed) in scans.iter().zip(&mut is_needed).rev() {
            let (first, last) = scan.spectral;
            for component in &scan.components {
                let wanted = &mut wanted[component.index];
                if *wanted & band(first, last) == 0 {
                    continue;
                }
                *is_needed = true;
                if first > 0 && scan.approximation.0 > 0 {
                    *wanted |= band(first, last);
                    refined[component.index] = true;
                }
            }
        }
        is_needed.truncate(is_needed.iter().rposition(|&needed| needed).map_or(0, |last| last + 1));
        Self { is_needed, refined }
    }
}

/// The headers of all scans, from the start of the file.
fn headers(file: &[u8], frame: &Frame, max_scans: u32) -> Result<Vec<Scan>, JpegError> {
    let mut segments = Segments::new(file);
    let mut tables = Tables::default();
    let mut scans = Vec::new();
    loop {
        match segments.next(&mut tables, Some(frame))? {
            Next::Scan(scan) => {
                segments.position = end_of_scan(file, scan.start).ok_or(JpegError::Truncated)?;
                scans.push(scan);
                if scans.len() > max_scans as usize {
                    return Err(JpegError::Unsupported("so many scans"));
                }
            }
            Next::Frame(_) => {}
            Next::End => return Ok(scans),
        }
    }
}

/// A bit for each of these coefficients.
fn band(first: usize, last: usize) -> u64 {
    let up_to_last = u64::MAX >> (63 - last.min(63));
    up_to_last & (u64::MAX << first.min(63))
}

fn decode_scan(
    file: &[u8],
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    stores: &mut [Store],
    deadline: &Deadline,
) -> Result<usize, JpegError> {
    let geometry = Geometry::new(frame, scan);
    let mut window = Window::new(file, scan.start);
    let (high, low) = scan.approximation;
    let interval = tables.restart_interval;
    if scan.spectral.0 == 0 && high == 0 {
        let mut dc = Vec::new();
        for component in &scan.components {
            dc.push((DcTable::new(tables.dc(component.dc)?)?, 0_i32));
        }
        return walk(&geometry, interval, &mut window, deadline, |unit, place, bytes| {
            first_of_dc(&geometry, unit, place, bytes, stores, &mut dc, low)
        });
    }
    if scan.spectral.0 == 0 {
        return walk(&geometry, interval, &mut window, deadline, |unit, place, bytes| {
            refine_dc(&geometry, unit, place, bytes, stores, low)
        });
    }
    let component = scan.components[0];
    let mut band = Band {
        store: &mut stores[component.index],
        symbols: SymbolTable::new(tables.ac(component.ac)?)?,
        spectral: scan.spectral,
        low,
        blocks_to_skip: 0,
    };
    walk(&geometry, interval, &mut window, deadline, |unit, place, bytes| {
        if unit.is_restart {
            band.blocks_to_skip = 0;
        }
        let block = unit.y * band.store.blocks_wide + unit.x;
        if high == 0 { band.first(block, place, bytes) } else { band.refine(block, place, bytes) }
    })
}

/// T.81 section G.1.2.1: as in a sequential scan, less the lowest bits.
fn first_of_dc(
    geometry: &Geometry,
    unit: &Unit,
    place: Place,
    bytes: &WindowBytes,
    stores: &mut [Store],
    dc: &mut [(DcTable, i32)],
    low: u32,
) -> Place {
    let mut bits = place.bits();
    for (blocks, (table, prediction)) in geometry.components.iter().zip(dc) {
        if unit.is_restart {
            *prediction = 0;
        }
        let store = &mut stores[blocks.index];
        for y in 0..blocks.vertical {
            for x in 0..blocks.horizontal {
                bits.refill(bytes);
                let difference;
                (bits, difference) = table.read(bits, bytes);
                *prediction = prediction.wrapping_add(difference);
                let block =
                    (unit.y * blocks.vertical + y) * store.blocks_wide + unit.x * blocks.horizontal + x;
                *store.dc(block) = (*prediction << low) as i16;
            }
        }
    }
    bits.place()
}

/// T.81 section G.1.2.1: a bit for each block.
fn refine_dc(
    geometry: &Geometry,
    unit: &Unit,
    place: Place,
    bytes: &WindowBytes,
    stores: &mut [Store],
    low: u32,
) -> Place {
    let mut bits = place.bits();
    bits.refill(bytes);
    for blocks in &geometry.components {
        let store = &mut stores[blocks.index];
        for y in 0..blocks.vertical {
            for x in 0..blocks.horizontal {
                let block =
                    (unit.y * blocks.vertical + y) * store.blocks_wide + unit.x * blocks.horizontal + x;
                *store.dc(block) |= i16::from(bits.take_bit()) << low;
            }
        }
    }
    bits.place()
}

/// A scan of a band of a component's AC coefficients.
struct Band<'a> {
    store: &'a mut Store,
    symbols: SymbolTable,
    spectral: (usize, usize),
    low: u32,
    /// EOBRUN: for how many blocks the band has ended.
    blocks_to_skip: u32,
}

impl Band<'_> {
    /// T.81 section G.1.2.2.
    #[inline(never)]
    fn first(&mut self, block: usize, place: Place, bytes: &WindowBytes) -> Place {
        if self.blocks_to_skip > 0 {
            self.blocks_to_skip -= 1;
            return place;
        }
        let mut bits = place.bits();
        let (mut index, last) = self.spectral;
        while index <= last {
            bits.refill(bytes);
            let (run, size);
            (bits, run, size) = self.symbols.read(bits);
            index += run as usize;
            if size == 0 {
                if run < 15 {
                    self.blocks_to_skip = (1 << run) - 1 + bits.take(run);
                    return bits.place();
                }
            } else if index > last {
                bits.damage();
            } else {
                let value = bits.take_signed(size) << self.low;
                self.store.set(block, index, value as i16);
            }
            index += 1;
        }
        bits.place()
    }

    /// T.81 section G.1.2.3: new coefficients of ±1, and among them a bit for each that was known before.
    #[inline(never)]
    fn refine(&mut self, block: usize, place: Place, bytes: &WindowBytes) -> Place {
        let mut bits = place.bits();
        let (mut index, last) = self.spectral;
        while self.blocks_to_skip == 0 && index <= last {
            bits.refill(bytes);
            let (run, size);
            (bits, run, size) = self.symbols.read(bits);
            if size == 0 && run < 15 {
                self.blocks_to_skip = (1 << run) + bits.take(run);
                break;
            }
            let is_positive = size == 0 || bits.take_bit();
            let known = self.store.nonzero.get(block).copied().unwrap_or_default();
            let mut zeros = !known & band(index, last);
            for _ in 0..run {
                zeros &= zeros.wrapping_sub(1);
            }
            // the end of the block, or the zero behind the run
            let stop = if zeros == 0 { last + 1 } else { zeros.trailing_zeros() as usize };
            if stop > index {
                bits = self.correct(block, known & band(index, stop - 1), bits, bytes);
            }
            if size > 0 {
                if stop > last {
                    bits.damage();
                    return bits.place();
                }
                let unit = 1_i16 << self.low;
                self.store.set(block, stop, if is_positive { unit } else { -unit });
            }
            index = stop + 1;
        }
        if self.blocks_to_skip > 0 {
            self.blocks_to_skip -= 1;
            if index <= last {
                let known = self.store.nonzero.get(block).copied().unwrap_or_default();
                bits = self.correct(block, known & band(index, last), bits, bytes);
            }
        }
        bits.place()
    }

    /// A bit for each of the coefficients: whether it is a step farther from zero.
    #[inline]
    fn correct(&mut self, block: usize, mut which: u64, mut bits: Bits, bytes: &WindowBytes) -> Bits {
        let step = 1_i16 << self.low;
        while which & self.store.kept_mask != 0 {
            bits.refill(bytes);
            let index = which.trailing_zeros() as usize;
            which &= which - 1;
            if bits.take_bit()
                && let Some(value) = self.store.kept(block, index)
                && *value & step == 0
            {
                *value = value.wrapping_add(if *value < 0 { -step } else { step });
            }
        }
        // nobody wants to know the others
        let mut others = which.count_ones();
        while others > 0 {
            bits.refill(bytes);
            let served = others.min(MAX_SKIP);
            bits.skip(served);
            others -= served;
        }
        bits
    }
}
