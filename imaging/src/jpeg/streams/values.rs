//! The values of a block whose start is known (T.81 section F.2.2). No block waits for the one
//! before it.

use super::{
    layout::{Kept, Layout, Pair, Phase},
    steps::{Window, load},
};

/// Bits that a look-up of a DC difference sees.
const DC_BITS: u32 = 10;
/// Bits that a look-up of an AC coefficient sees.
const AC_BITS: u32 = 11;
/// In an entry: the bits of the code and its value together, from here on those of the value, from
/// here on the zeros before it.
const SIZE_SHIFT: u32 = 6;
const RUN_SHIFT: u32 = 10;
/// The run that stands for a block's end.
const RUN_TO_END: u32 = 63;
/// Values that are not kept are written here, behind the kept coefficients.
const NOT_KEPT: u32 = 7;

/// The tables of a block. By the next bits: the first code; 0 where it is longer than a look-up.
struct Tables {
    dc: Box<[u16; 1 << DC_BITS]>,
    ac: Box<[u16; 1 << AC_BITS]>,
}

/// By pair of tables.
pub(super) struct Values(Vec<Tables>);

impl Values {
    pub(super) fn new(layout: &Layout) -> Self {
        Self(layout.pairs.iter().map(Tables::new).collect())
    }

    /// Writes what is kept of blocks of one phase that start at these bits of the window; the means
    /// as differences.
    pub(super) fn read<'a>(
        &self,
        layout: &Layout,
        phase: &Phase,
        window: &Window,
        blocks: impl Iterator<Item = (&'a u16, &'a mut [i16])>,
    ) {
        let (tables, pair) = (&self.0[phase.pair], &layout.pairs[phase.pair]);
        let read_by = (tables, pair, phase.kept);
        match phase.kept {
            Kept::Mean => read_each(read_by, window, blocks, Tables::read_mean),
            Kept::Pair => read_each(read_by, window, blocks, Tables::read_pair),
            Kept::Slopes => read_each(read_by, window, blocks, Tables::read_slopes),
            Kept::Four => read_each(read_by, window, blocks, Tables::read_four),
            Kept::Six => read_each(read_by, window, blocks, Tables::read_six),
        }
    }
}

#[inline]
fn read_each<'a, const LEN: usize>(
    (tables, pair, kept): (&Tables, &Pair, Kept),
    window: &Window,
    blocks: impl Iterator<Item = (&'a u16, &'a mut [i16])>,
    read: impl Fn(&Tables, &Window, u32, &mut [i16; LEN]) -> bool,
) {
    for (&at, out) in blocks {
        let (at, Some(out)) = (u32::from(at), out.first_chunk_mut()) else { break };
        if !read(tables, window, at, out) {
            read_slowly(pair, kept, window, at, out);
        }
    }
}

impl Tables {
    fn new(pair: &Pair) -> Self {
        let mut tables = Self { dc: Box::new([0; 1 << DC_BITS]), ac: Box::new([0; 1 << AC_BITS]) };
        for (first, entry) in pair.dc.of_lookup(DC_BITS).into_iter().zip(tables.dc.iter_mut()) {
            *entry = first.map_or(0, |(length, size)| entry_of(length, 0, u32::from(size)));
        }
        for (first, entry) in pair.ac.of_lookup(AC_BITS).into_iter().zip(tables.ac.iter_mut()) {
            *entry = first.map_or(0, |(length, symbol)| {
                match (u32::from(symbol >> 4), u32::from(symbol & 15)) {
                    (run, 0) if run != 15 => entry_of(length, RUN_TO_END, 0),
                    (run, size) => entry_of(length, run, size),
                }
            });
        }
        tables
    }

    #[inline]
    fn dc_entry(&self, bits: u64) -> u32 {
        u32::from(self.dc[(bits >> (64 - DC_BITS)) as usize])
    }

    #[inline]
    fn ac_entry(&self, bits: u64) -> u32 {
        u32::from(self.ac[(bits >> (64 - AC_BITS)) as usize])
    }

    #[inline]
    fn read_mean(&self, window: &Window, at: u32, out: &mut [i16; 1]) -> bool {
        let bits = load(window, at);
        let entry = self.dc_entry(bits);
        *out = [value(bits, entry)];
        entry != 0
    }

    #[inline]
    fn read_pair(&self, window: &Window, at: u32, out: &mut [i16; 2]) -> bool {
        let bits = load(window, at);
        let dc = self.dc_entry(bits);
        let behind = bits << (dc & 63);
        let ac = self.ac_entry(behind);
        *out = [value(bits, dc), if_so(ac >> RUN_SHIFT == 0, value(behind, ac))];
        dc != 0 && ac != 0
    }

    #[inline]
    fn read_slopes(&self, window: &Window, at: u32, out: &mut [i16; 3]) -> bool {
        let bits = load(window, at);
        let dc = self.dc_entry(bits);
        let behind = load(window, at + (dc & 63));
        let first = self.ac_entry(behind);
        let last = behind << (first & 63);
        let second = self.ac_entry(last);
        let (run, next_run) = (first >> RUN_SHIFT, second >> RUN_SHIFT);
        let value_1 = value(behind, first);
        *out = [
            value(bits, dc),
            if_so(run == 0, value_1),
            if_so(run == 1, value_1) | if_so(run | next_run == 0, value(last, second)),
        ];
        dc != 0 && first != 0 && second != 0
    }

    /// Always as many symbols as may count, as branches would be guessed wrong. What stands behind
    /// the last coefficient that counts, or behind the block's end, is not kept.
    #[inline]
    fn read_six(&self, window: &Window, at: u32, out: &mut [i16; 8]) -> bool {
        let mut bits = load(window, at);
        let entry = self.dc_entry(bits);
        *out = [0; 8];
        out[0] = value(bits, entry);
        let (mut at, mut index, mut is_short) = (at + (entry & 63), 1, entry != 0);
        for symbol in 0..5 {
            if symbol % 2 == 0 {
                bits = load(window, at);
            }
            let entry = self.ac_entry(bits);
            is_short &= entry != 0 || index > 5;
            index += entry >> RUN_SHIFT;
            let place = if index > 5 { NOT_KEPT } else { index };
            out[place as usize & 7] = value(bits, entry);
            index += 1;
            bits <<= entry & 63;
            at += entry & 63;
        }
        is_short
    }

    /// The same of the coefficients 1, 2 and 4.
    #[inline]
    fn read_four(&self, window: &Window, at: u32, out: &mut [i16; 4]) -> bool {
        /// Where in a record each coefficient belongs.
        const PLACES: [u64; 8] = [0, 1 << 16, 1 << 32, 0, 1 << 48, 0, 0, 0];
        let mut bits = load(window, at);
        let entry = self.dc_entry(bits);
        let mut record = u64::from(value(bits, entry).cast_unsigned());
        let (mut at, mut index, mut is_short) = (at + (entry & 63), 1, entry != 0);
        for symbol in 0..4 {
            if symbol % 2 == 0 {
                bits = load(window, at);
            }
            let entry = self.ac_entry(bits);
            is_short &= entry != 0 || index > 4;
            index += entry >> RUN_SHIFT;
            let value = u64::from(value(bits, entry).cast_unsigned());
            record |= value * PLACES[index.min(NOT_KEPT) as usize];
            index += 1;
            bits <<= entry & 63;
            at += entry & 63;
        }
        *out = [0, 16, 32, 48].map(|shift| (record >> shift) as i16);
        is_short
    }
}

fn entry_of(length: u32, run: u32, size: u32) -> u16 {
    ((length + size) | size << SIZE_SHIFT | run << RUN_SHIFT) as u16
}

#[inline]
fn if_so(is_so: bool, value: i16) -> i16 {
    value & -i16::from(is_so)
}

/// The value behind a code (EXTEND, T.81 section F.2.2.1), without a branch.
#[inline]
fn value(bits: u64, entry: u32) -> i16 {
    let size = entry >> SIZE_SHIFT & 15;
    let from_value = bits << ((entry & 63).wrapping_sub(size) & 63);
    // all ones where the value is negative
    let negative = !(from_value.cast_signed() >> 63);
    let value = ((from_value ^ negative.cast_unsigned()) >> 1) >> (63 - size);
    ((value.cast_signed() ^ negative) - negative) as i16
}

/// A block with a code that is longer than a look-up.
#[cold]
#[inline(never)]
fn read_slowly(pair: &Pair, kept: Kept, window: &Window, at: u32, out: &mut [i16]) {
    let code = |at: u32| (load(window, at) >> 48) as u32;
    // where there is no code the parser has seen damage, and this is not used
    let (length, size) = pair.dc.find(code(at)).unwrap_or((16, 0));
    let entry = u32::from(entry_of(length, 0, u32::from(size & 15)));
    let mut coefficients = [0; 8];
    coefficients[0] = value(load(window, at), entry);
    let (mut at, mut index) = (at + (entry & 63), 1);
    while index <= 5 {
        let Some((length, symbol)) = pair.ac.find(code(at)) else { break };
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 && run != 15 {
            break;
        }
        let entry = u32::from(entry_of(length, run, size));
        index += run;
        if index <= 5 {
            coefficients[index as usize & 7] = value(load(window, at), entry);
        }
        index += 1;
        at += entry & 63;
    }
    let [mean, x, y, _, xy, ..] = coefficients;
    match kept {
        Kept::Four => out[..4].copy_from_slice(&[mean, x, y, xy]),
        _ => out[..kept.len()].copy_from_slice(&coefficients[..kept.len()]),
    }
}
