//! The parser: finds where blocks start, and nothing else (T.81 section F.2.2). Several streams take
//! a step each in turn, so that the processor need not wait for one look-up before the next.

use super::layout::{Layout, MAX_PAIRS};

/// A stream's state, in 32 bits. From the bottom: the position in its window in bits (16), the index
/// of a coefficient (8), and the number of the state (8): 2 × block for its DC code, 2 × block + 1
/// for its AC codes. An entry of a table is added to it, and the carry out of the index ends the
/// block.
pub(super) type State = u32;

const INDEX_SHIFT: u32 = 16;
const NUMBER_SHIFT: u32 = 24;
const POSITION_MASK: u32 = (1 << INDEX_SHIFT) - 1;
const INDEX_MASK: u32 = 255 << INDEX_SHIFT;
/// The index before the first AC coefficient: after 63 more it carries.
const FIRST_INDEX: u32 = 193;
/// What the end of a block adds to the index: it leaves 66 to 128, and carries.
const END: u32 = 129;
/// Passing over the block's last coefficient sets this bit of the index + 63, whether the block's
/// end follows or not. So does an invalid entry.
const SLOW: u32 = 64;
/// Numbers of states.
pub(super) const NUMBERS: usize = 256;
/// Streams that take turns: as many as have their state and bits in registers.
pub(super) const STREAMS: usize = 6;
/// Bytes of a stream's window; their bits must fit into a position.
pub(super) const WINDOW_BYTES: usize = 4096;
/// Bytes of a load.
const LOAD_BYTES: usize = 8;
/// Bits that one look-up sees.
const LOOKUP_BITS: u32 = 11;
const TABLE_SIZE: usize = (MAX_PAIRS * 2) << LOOKUP_BITS;
/// Look-ups to a load of 57 bits.
const STEPS: usize = 3;
/// Bits that one entry may cover, so that a load has enough for all look-ups.
const MAX_ENTRY_BITS: u32 = 22;
/// Loads of a turn. Each step passes at most two states, and their number must not wrap.
const ROUNDS: usize = 38;
/// Bytes that may be looked at from the start of a turn on: a step takes at most 16 bits of a code
/// and 15 of a value; the values of a block that starts at its end are read, too.
pub(super) const TURN_BYTES: usize = ROUNDS * STEPS * 4 + 40;

/// The unstuffed bytes that a stream is at, with room for a load at their end.
pub(super) type Window = [u8; WINDOW_BYTES + LOAD_BYTES];
/// By state, where the stream was last in it.
pub(super) type Positions = [u16; NUMBERS];

/// The position in the window, in bits.
pub(super) fn position(state: State) -> u32 {
    state & POSITION_MASK
}

pub(super) fn number(state: State) -> usize {
    (state >> NUMBER_SHIFT) as usize
}

/// The state at the start of a block, given its number.
#[inline]
pub(super) fn start_of(number: usize, positions: &Positions) -> State {
    let number = number & (NUMBERS - 1);
    (number as u32) << NUMBER_SHIFT | u32::from(positions[number])
}

/// The same state in a unit whose numbers start from zero.
pub(super) fn with_number(state: State, number: usize) -> State {
    state & !(255 << NUMBER_SHIFT) | (number as u32) << NUMBER_SHIFT
}

/// The next bits, from the top; at least 57.
#[inline]
pub(super) fn load(window: &Window, position: u32) -> u64 {
    let at = (position >> 3) as usize & (WINDOW_BYTES - 1);
    let mut next = [0; LOAD_BYTES];
    next.copy_from_slice(&window[at..at + LOAD_BYTES]);
    u64::from_be_bytes(next) << (position & 7)
}

/// What a state looks up.
#[derive(Clone, Copy)]
struct Lookup {
    /// Where the table is.
    base: u32,
    /// What is kept of the state: not the index, before a DC code.
    mask: u32,
}

/// Numbers of the first and the last state of a turn at which the bits made no sense.
pub(super) type Damaged = Option<(usize, usize)>;

/// What all streams of a turn use. Positions are written at each step, look-ups read: they must not
/// be at the same place modulo 4 KiB, or the processor takes a load for one of what was just stored.
#[repr(C, align(4096))]
pub(super) struct Parser {
    lookups: [Lookup; NUMBERS],
    pub(super) positions: [Positions; STREAMS],
    table: [u32; TABLE_SIZE],
    pub(super) windows: [Window; STREAMS],
    pub(super) damaged: [Damaged; STREAMS],
}

impl Parser {
    #[expect(
        clippy::large_stack_arrays,
        reason = "made once, and moved to the heap as one, whose parts keep their distance"
    )]
    pub(super) fn new(layout: &Layout) -> Box<Self> {
        let mut parser = Box::new(Self {
            lookups: [Lookup { base: 0, mask: u32::MAX }; NUMBERS],
            positions: [[0; NUMBERS]; STREAMS],
            table: [0; TABLE_SIZE],
            windows: [[0; WINDOW_BYTES + LOAD_BYTES]; STREAMS],
            damaged: [None; STREAMS],
        });
        let (tables, _) = parser.table.as_chunks_mut::<{ 2 << LOOKUP_BITS }>();
        for (pair, table) in layout.pairs.iter().zip(tables) {
            let (dc, ac) = table.split_at_mut(1 << LOOKUP_BITS);
            let first_dc = pair.dc.of_lookup(LOOKUP_BITS);
            let first = pair.ac.of_lookup(LOOKUP_BITS);
            for (window, (dc, ac)) in dc.iter_mut().zip(ac).enumerate() {
                *dc = entry_of_dc(window, first_dc[window], &first);
                *ac = entry_of_ac(window, &first);
            }
        }
        for (number, lookup) in parser.lookups.iter_mut().enumerate() {
            let pair = layout.phases[number / 2 % layout.phases.len()].pair;
            lookup.base = ((pair * 2 + number % 2) << LOOKUP_BITS) as u32;
            lookup.mask = if number.is_multiple_of(2) { !INDEX_MASK } else { u32::MAX };
        }
        parser
    }

    /// So many rounds of steps of the first `count` streams.
    pub(super) fn turn(&mut self, layout: &Layout, states: &mut [State; STREAMS], count: usize) {
        match count {
            1 => self.turn_of::<1>(layout, states),
            2 => self.turn_of::<2>(layout, states),
            3 => self.turn_of::<3>(layout, states),
            4 => self.turn_of::<4>(layout, states),
            5 => self.turn_of::<5>(layout, states),
            _ => self.turn_of::<STREAMS>(layout, states),
        }
    }

    #[inline(never)]
    fn turn_of<const N: usize>(&mut self, layout: &Layout, states: &mut [State; STREAMS]) {
        let mut now: [State; N] = std::array::from_fn(|stream| states[stream]);
        for _ in 0..ROUNDS {
            let mut bits: [u64; N] =
                std::array::from_fn(|stream| load(&self.windows[stream], position(now[stream])));
            for _ in 0..STEPS {
                for stream in 0..N {
                    self.step(layout, stream, &mut now[stream], &mut bits[stream]);
                }
            }
        }
        for (positions, &state) in self.positions.iter_mut().zip(&now) {
            positions[number(state)] = state as u16;
        }
        states[..N].copy_from_slice(&now);
    }

    /// One look-up. There is no branch other than for what is rare.
    #[expect(
        clippy::inline_always,
        reason = "the innermost loop, whose registers a call would spill"
    )]
    #[inline(always)]
    fn step(&mut self, layout: &Layout, stream: usize, state: &mut State, bits: &mut u64) {
        let number = number(*state);
        self.positions[stream][number] = *state as u16;
        let Lookup { base, mask } = self.lookups[number];
        let before = *state & mask;
        let at = (*bits >> (64 - LOOKUP_BITS)) as usize + base as usize;
        let entry = self.table[at & (TABLE_SIZE - 1)];
        let mut after = before.wrapping_add(entry);
        *bits <<= entry & 63;
        if after.wrapping_add(63 << INDEX_SHIFT) & (SLOW << INDEX_SHIFT) != 0 {
            (after, *bits) =
                one_symbol(layout, &self.windows[stream], before, &mut self.damaged[stream]);
        }
        *state = after;
    }
}

/// One symbol, by its code.
#[cold]
#[inline(never)]
fn one_symbol(
    layout: &Layout,
    window: &Window,
    state: State,
    damaged: &mut Damaged,
) -> (State, u64) {
    let number = number(state);
    let pair = &layout.pairs[layout.phases[number / 2 % layout.phases.len()].pair];
    let bits = (load(window, position(state)) >> 48) as u32;
    let added = if number.is_multiple_of(2) {
        let start = FIRST_INDEX << INDEX_SHIFT | 1 << NUMBER_SHIFT;
        pair.dc.find(bits).map(|(length, size)| start + length + u32::from(size & 15))
    } else {
        pair.ac.find(bits).and_then(|(length, symbol)| {
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && run != 15 {
                return Some(length + (END << INDEX_SHIFT));
            }
            let index = (state & INDEX_MASK) >> INDEX_SHIFT;
            (index + run < 256).then_some(length + size + ((run + 1) << INDEX_SHIFT))
        })
    };
    let added = added.unwrap_or_else(|| {
        *damaged = Some((damaged.map_or(number, |(first, _)| first), number));
        // any way on is as good as any other
        let next = if number.is_multiple_of(2) {
            FIRST_INDEX << INDEX_SHIFT | 1 << NUMBER_SHIFT
        } else {
            END << INDEX_SHIFT
        };
        next + 16
    });
    let after = state.wrapping_add(added);
    (after, load(window, position(after)))
}

/// A DC difference, and the coefficients behind it that the bits hold.
fn entry_of_dc(window: usize, dc: Option<(u32, u8)>, first: &[Option<(u32, u8)>]) -> u32 {
    // before a DC code the index is 0, so that this is slow
    const NONE: u32 = 1 << INDEX_SHIFT;
    let Some((length, size)) = dc else { return NONE };
    let used = length + u32::from(size);
    if used > MAX_ENTRY_BITS {
        return NONE;
    }
    let (used, index, _) = symbols(window, used, first);
    used + (FIRST_INDEX << INDEX_SHIFT | 1 << NUMBER_SHIFT) + (index << INDEX_SHIFT)
}

/// The coefficients that the bits hold.
fn entry_of_ac(window: usize, first: &[Option<(u32, u8)>]) -> u32 {
    match symbols(window, 0, first) {
        (.., false) => SLOW << INDEX_SHIFT,
        (used, index, true) => used + (index << INDEX_SHIFT),
    }
}

/// As many symbols as the bits of a look-up hold wholly behind the first `used`; of the last, the
/// value's bits may stand behind them. Gives the bits used, what to add to the index, and whether
/// there is any symbol.
fn symbols(window: usize, mut used: u32, first: &[Option<(u32, u8)>]) -> (u32, u32, bool) {
    let (mut index, mut is_any) = (0, false);
    while used < LOOKUP_BITS {
        let rest = (window << used) & ((1 << LOOKUP_BITS) - 1);
        let Some((length, symbol)) = first[rest] else { break };
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if used + length > LOOKUP_BITS {
            break;
        }
        if size == 0 && run != 15 {
            return (used + length, index + END, true);
        }
        if used + length + size > MAX_ENTRY_BITS || index + run + 1 > 62 {
            break;
        }
        used += length + size;
        index += run + 1;
        is_any = true;
    }
    (used, index, is_any)
}
