//! Huffman tables, laid out for reading several symbols at a look-up.

use super::{
    Damage, JpegError,
    bits::{Bits, LOOKUP_BITS, LOOKUP_SIZE, Place, WindowBytes},
    codes::{Codes, HuffmanSpec},
};

/// Bits that one entry of [`AcTable::skip`] may cover, so that two entries fit into the bits of one
/// refill.
const MAX_SKIP_BITS: u32 = 28;
/// The index behind a block's last coefficient.
const BLOCK_END: u32 = 64;
/// What [`skip_entry`] adds to the advance when the block ends there.
const END_FLAG: u32 = 128;
/// An entry that covers nothing. With any index from 1 it is neither within a block nor the flagged
/// end of one.
const NO_SKIP: u16 = skip_entry(0, BLOCK_END);
/// The run that stands for a block's end in [`AcTable::value`].
pub(super) const RUN_TO_END: u32 = 63;

/// A table for DC differences.
#[derive(Clone, Debug)]
pub(super) struct DcTable {
    /// By the next bits: their first code, as [`value_entry`] has it; 0 where it is longer than a
    /// look-up.
    fast: Box<[u16; LOOKUP_SIZE]>,
    codes: Codes,
}

impl DcTable {
    pub(super) fn new(spec: &HuffmanSpec, damage: Damage) -> Result<Self, JpegError> {
        // T.81 table F.1 goes to 11; 12-bit images, which are not read, to 15
        if spec.symbols().iter().any(|&size| size > 15) {
            return Err(JpegError::Corrupt("A Huffman table is invalid."));
        }
        let codes = Codes::new(spec, damage)?;
        let mut fast = table(0);
        for (first, entry) in codes.of_lookup(LOOKUP_BITS).into_iter().zip(fast.iter_mut()) {
            if let Some((length, size)) = first {
                *entry = value_entry(length, 0, u32::from(size));
            }
        }
        Ok(Self { fast, codes })
    }

    /// The next difference. Needs 56 bits, and leaves 28.
    #[inline]
    pub(super) fn read(&self, mut bits: Bits, window: &WindowBytes) -> (Bits, i32) {
        let entry = u32::from(self.fast[bits.peek()]);
        if entry == 0 {
            let (place, difference) = self.read_slowly(bits.place(), window);
            return (place.bits(), difference);
        }
        let difference = bits.take_entry(entry, entry >> SIZE_SHIFT);
        (bits, difference)
    }

    #[cold]
    #[inline(never)]
    fn read_slowly(&self, place: Place, window: &WindowBytes) -> (Place, i32) {
        let mut bits = place.bits();
        let size = self.codes.read(&mut bits);
        let difference = bits.take_signed(u32::from(size));
        bits.refill(window);
        (bits.place(), difference)
    }
}

/// A table for AC coefficients.
#[derive(Clone, Debug)]
pub(super) struct AcTable {
    /// By the next bits: how many bits and coefficients the symbols among them take, as
    /// [`skip_entry`] has it.
    skip: Box<[u16; LOOKUP_SIZE]>,
    /// By the next bits: their first code, as [`value_entry`] has it; 0 where it is longer than a
    /// look-up.
    value: Box<[u16; LOOKUP_SIZE]>,
    codes: Codes,
}

/// Where in an entry for a value its size is.
const SIZE_SHIFT: u32 = 6;
/// Where in an entry for a value the run of zeros is.
const RUN_SHIFT: u32 = 10;
/// The lowest six bits are those that [`Bits::skip`] looks at.
const SKIP_SHIFT: u32 = 6;

const fn skip_entry(bits: u32, advance: u32) -> u16 {
    (bits | advance << SKIP_SHIFT) as u16
}

impl AcTable {
    pub(super) fn new(spec: &HuffmanSpec, damage: Damage) -> Result<Self, JpegError> {
        let codes = Codes::new(spec, damage)?;
        let (mut skip, mut value) = (table(NO_SKIP), table(0));
        let first = codes.of_lookup(LOOKUP_BITS);
        for window in 0..LOOKUP_SIZE {
            skip[window] = skip_of(window, &first);
            value[window] = first[window].map_or(0, value_of);
        }
        Ok(Self { skip, value, codes })
    }

    /// The next coefficient and how many zeros stand before it; 63 of them are the end of the
    /// block. Needs 32 bits.
    #[inline]
    pub(super) fn read(&self, mut bits: Bits) -> (Bits, u32, i32) {
        let entry = u32::from(self.value[bits.peek()]);
        if entry == 0 {
            let (place, run, value) = self.read_slowly(bits.place());
            return (place.bits(), run, value);
        }
        let value = bits.take_entry(entry, (entry >> SIZE_SHIFT) & 0xF);
        (bits, entry >> RUN_SHIFT, value)
    }

    #[cold]
    #[inline(never)]
    fn read_slowly(&self, place: Place) -> (Place, u32, i32) {
        let mut bits = place.bits();
        let symbol = self.codes.read(&mut bits);
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 0xF));
        if size == 0 && run != 15 {
            return (bits.place(), RUN_TO_END, 0);
        }
        let value = bits.take_signed(size);
        (bits.place(), run, value)
    }

    /// Notes that a coefficient lies behind the block.
    #[cold]
    #[inline(never)]
    pub(super) fn note_overrun(&self, place: Place) -> Place {
        let mut bits = place.bits();
        self.codes.note_damage(&mut bits);
        bits.place()
    }

    /// The coefficient right behind the mean, not read but looked at; 0 when there are zeros before
    /// the next one. Needs 28 bits.
    #[inline]
    pub(super) fn first(&self, mut bits: Bits, window: &WindowBytes) -> i32 {
        let entry = u32::from(self.value[bits.peek()]);
        if entry == 0 {
            return self.first_slowly(bits.place(), window);
        }
        let value = bits.take_entry(entry, (entry >> SIZE_SHIFT) & 0xF);
        if entry >> RUN_SHIFT == 0 { value } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn first_slowly(&self, place: Place, window: &WindowBytes) -> i32 {
        let mut bits = place.bits();
        bits.refill(window);
        let (_, run, value) = self.read(bits);
        if run == 0 { value } else { 0 }
    }

    /// The two coefficients right behind the mean, not read but looked at. Needs 56 bits. What
    /// most blocks have is no branch to be guessed.
    #[inline]
    pub(super) fn first_two(&self, mut bits: Bits, window: &WindowBytes) -> [i32; 2] {
        let start = bits;
        let entry = u32::from(self.value[bits.peek()]);
        let first = bits.take_entry(entry, (entry >> SIZE_SHIFT) & 0xF);
        let next = u32::from(self.value[bits.peek()]);
        if entry == 0 || next == 0 {
            return self.first_two_slowly(start.place(), window);
        }
        let second = bits.take_entry(next, (next >> SIZE_SHIFT) & 0xF);
        let (run, next_run) = (entry >> RUN_SHIFT, next >> RUN_SHIFT);
        let if_so = |is_so: bool, value: i32| value & -i32::from(is_so);
        [if_so(run == 0, first), if_so(run == 1, first) | if_so(run | next_run == 0, second)]
    }

    #[cold]
    #[inline(never)]
    fn first_two_slowly(&self, place: Place, window: &WindowBytes) -> [i32; 2] {
        let (mut bits, run, first) = self.read(place.bits());
        match run {
            0 => {
                bits.refill(window);
                let (_, run, second) = self.read(bits);
                [first, if run == 0 { second } else { 0 }]
            }
            1 => [0, first],
            _ => [0, 0],
        }
    }

    /// Passes over the coefficients of a block from `index` (1 to 63) on (T.81 section F.2.2.2),
    /// none of them decoded. Needs 28 bits, and leaves it to the next reader to refill.
    #[expect(
        clippy::inline_always,
        reason = "the decoder's innermost loop, whose registers a call would spill"
    )]
    #[inline(always)]
    pub(super) fn skip_block(&self, mut bits: Bits, window: &WindowBytes, mut index: u32) -> Bits {
        loop {
            // two steps to a refill: see MAX_SKIP_BITS
            for step in 0..2 {
                let entry = u32::from(self.skip[bits.peek()]);
                let next = index + (entry >> SKIP_SHIFT);
                if next < BLOCK_END {
                    bits.skip(entry);
                    index = next;
                } else if next == BLOCK_END || next.wrapping_sub(END_FLAG) < BLOCK_END {
                    bits.skip(entry);
                    return bits;
                } else {
                    let place;
                    (place, index) = self.skip_one(bits.place(), window, index);
                    bits = place.bits();
                    if index >= BLOCK_END {
                        return bits;
                    }
                }
                if step == 0 {
                    bits.refill(window);
                }
            }
        }
    }

    /// One symbol, where an entry is none or goes beyond the block.
    #[cold]
    #[inline(never)]
    fn skip_one(&self, place: Place, window: &WindowBytes, index: u32) -> (Place, u32) {
        let mut bits = place.bits();
        bits.refill(window);
        let symbol = self.codes.read(&mut bits);
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 0xF));
        if size == 0 && run != 15 {
            return (bits.place(), BLOCK_END);
        }
        bits.skip(size);
        let next = index + run + 1;
        if next > BLOCK_END {
            self.codes.note_damage(&mut bits);
        }
        bits.refill(window);
        (bits.place(), next)
    }
}

/// A table for the symbols of progressive scans, whose values need not follow at once.
#[derive(Clone, Debug)]
pub(super) struct SymbolTable {
    /// By the next bits: the length of their first code in the upper byte, its symbol in the lower;
    /// 0 where the code is longer than a look-up.
    fast: Box<[u16; LOOKUP_SIZE]>,
    codes: Codes,
}

impl SymbolTable {
    pub(super) fn new(spec: &HuffmanSpec, damage: Damage) -> Result<Self, JpegError> {
        let codes = Codes::new(spec, damage)?;
        let mut fast = table(0_u16);
        for (first, entry) in codes.of_lookup(LOOKUP_BITS).into_iter().zip(fast.iter_mut()) {
            *entry = first.map_or(0, |(length, symbol)| (length as u16) << 8 | u16::from(symbol));
        }
        Ok(Self { fast, codes })
    }

    /// The next symbol: a run of zeros, and the size of the value behind them. Needs 17 bits.
    #[inline]
    pub(super) fn read(&self, mut bits: Bits) -> (Bits, u32, u32) {
        let entry = self.fast[bits.peek()];
        let mut symbol = entry as u8;
        if entry == 0 {
            let place;
            (place, symbol) = self.read_slowly(bits.place());
            bits = place.bits();
        } else {
            bits.skip(u32::from(entry >> 8));
        }
        (bits, u32::from(symbol >> 4), u32::from(symbol & 0xF))
    }

    /// Notes that a coefficient lies behind its band.
    #[cold]
    pub(super) fn note_overrun(&self, bits: &mut Bits) {
        self.codes.note_damage(bits);
    }

    #[cold]
    #[inline(never)]
    fn read_slowly(&self, place: Place) -> (Place, u8) {
        let mut bits = place.bits();
        let symbol = self.codes.read(&mut bits);
        (bits.place(), symbol)
    }
}

/// As many symbols as these bits hold wholly; of the last, the value's bits may stand behind them.
fn skip_of(window: usize, first: &[Option<(u32, u8)>]) -> u16 {
    let (mut used, mut advance) = (0, 0);
    while used < LOOKUP_BITS {
        let rest = (window << used) & (LOOKUP_SIZE - 1);
        let Some((length, symbol)) = first[rest] else { break };
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 0xF));
        if used + length > LOOKUP_BITS {
            break;
        }
        if size == 0 && run != 15 {
            return skip_entry(used + length, advance + END_FLAG);
        }
        if used + length + size > MAX_SKIP_BITS || advance + run + 1 >= BLOCK_END {
            break;
        }
        used += length + size;
        advance += run + 1;
    }
    if used == 0 { NO_SKIP } else { skip_entry(used, advance) }
}

fn value_of((length, symbol): (u32, u8)) -> u16 {
    match (u32::from(symbol >> 4), u32::from(symbol & 0xF)) {
        (run, 0) if run != 15 => value_entry(length, RUN_TO_END, 0),
        (run, size) => value_entry(length, run, size),
    }
}

/// The bits of a code and its value together, in the six that [`Bits::skip`] looks at; then the
/// bits of the value alone, and the zeros before it.
fn value_entry(length: u32, run: u32, size: u32) -> u16 {
    ((length + size) | size << SIZE_SHIFT | run << RUN_SHIFT) as u16
}

/// A table on the heap, never on the stack.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "an array of so many entries does not belong on the stack"
)]
fn table<T: Copy>(entry: T) -> Box<[T; LOOKUP_SIZE]> {
    match vec![entry; LOOKUP_SIZE].into_boxed_slice().try_into() {
        Ok(table) => table,
        Err(_) => Box::new([entry; LOOKUP_SIZE]),
    }
}
