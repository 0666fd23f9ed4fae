//! The bits of a scan (T.81 sections B.1.1.5 and F.2.2.5): entropy-coded bytes are unstuffed into a small window, and
//! read from there eight at a time.
//!
//! Everything here is total. Who reads too far, or meets what is no code, sees it at [`Window::is_intact`]; until then
//! the bits are some bits, and each read moves on.

use super::marker::{RST0, RST7};

/// Bytes of the window; a power of two, so that a masked index needs no check of its bounds.
const WINDOW_BYTES: usize = 1 << 14;
const MASK: usize = WINDOW_BYTES - 1;
/// Bytes that one refill reads.
const REFILL_BYTES: usize = 8;
/// What must be there before a unit (an MCU) is read. A block is at most 64 symbols of at most 16 bits, each with at
/// most 16 bits behind it: 256 bytes; an MCU has at most 10 blocks (T.81 section B.2.3).
const UNIT_BYTES: u64 = 10 * 256 + 8;
/// A position that is behind every window's end, and stays so whatever is read on.
const DAMAGED: u64 = 1 << 32;

/// Bits of [`Place::state`] for a number below 64.
const COUNT_BITS: u32 = 6;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Bits that one table look-up sees.
pub(super) const LOOKUP_BITS: u32 = 12;
/// Entries of a table for [`Bits::peek`].
pub(super) const LOOKUP_SIZE: usize = 1 << LOOKUP_BITS;

/// Where a reader is within a window, in two words, which a function takes and gives back in registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    buffer: u64,
    /// The position, and in the lowest [`COUNT_BITS`] the count.
    state: u64,
}

impl Place {
    #[inline]
    pub(super) fn bits(self) -> Bits {
        let (count, position) = (self.state & COUNT_MASK, self.state >> COUNT_BITS);
        Bits { buffer: self.buffer, count: count as u32, position }
    }
}

/// A reader of bits. Its parts are apart, as the next refill's address must not wait for the symbol before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits {
    /// The next bits, from the top.
    buffer: u64,
    /// How many of them count, below 64.
    count: u32,
    /// Where in the window the bytes behind them are.
    position: u64,
}

impl Bits {
    #[inline]
    pub(super) fn place(self) -> Place {
        Place { buffer: self.buffer, state: self.position << COUNT_BITS | u64::from(self.count) & COUNT_MASK }
    }

    /// How many bytes of the window are read, those included of which a bit is.
    #[inline]
    fn bytes_read(self) -> u64 {
        self.position.saturating_sub(u64::from(self.count >> 3))
    }

    /// Loads at least 56 bits.
    #[inline]
    pub(super) fn refill(&mut self, bytes: &WindowBytes) {
        let start = self.position as usize & MASK;
        let mut next = [0; REFILL_BYTES];
        next.copy_from_slice(&bytes.0[start..start + REFILL_BYTES]);
        // what is or-ed in above the count comes again with the next refill, the same
        self.buffer |= u64::from_be_bytes(next) >> (self.count & 63);
        self.position += u64::from((63 - self.count) >> 3);
        self.count |= 56;
    }

    /// The next [`LOOKUP_BITS`] bits as an index.
    #[inline]
    pub(super) fn peek(self) -> usize {
        (self.buffer >> (64 - LOOKUP_BITS)) as usize
    }

    /// The next 16 bits.
    #[inline]
    pub(super) fn peek_16(self) -> u32 {
        (self.buffer >> 48) as u32
    }

    /// Drops `count` bits; there must be as many.
    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count & 63;
        self.count = self.count.wrapping_sub(count);
    }

    /// The next `count` bits, at most 16, as a number.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        // two shifts, as one by 64 is none
        let value = ((self.buffer >> 1) >> (63 - (count & 63))) as u32;
        self.skip(count);
        value
    }

    /// The next bit.
    #[inline]
    pub(super) fn take_bit(&mut self) -> bool {
        let is_set = self.buffer >> 63 == 1;
        self.skip(1);
        is_set
    }

    /// The next `size` bits, at most 16, as a difference or coefficient (EXTEND, T.81 section F.2.2.1).
    #[inline]
    pub(super) fn take_signed(&mut self, size: u32) -> i32 {
        extend(self.take(size), size)
    }

    /// Notes that the bits make no sense.
    #[cold]
    pub(super) fn damage(&mut self) {
        self.position = DAMAGED;
    }
}

/// A number of `size` bits whose upper half is positive (T.81 section F.2.2.1, figure F.12).
#[inline]
pub(super) fn extend(value: u32, size: u32) -> i32 {
    let value = value.cast_signed();
    if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
}

/// The bytes of a window, with room for a refill at its end.
#[derive(Debug)]
pub(super) struct WindowBytes([u8; WINDOW_BYTES + REFILL_BYTES]);

/// A moving window over the unstuffed bytes of one entropy-coded segment: a scan, or what is between two restart
/// markers.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a [u8],
    /// Where in the file the bytes behind the window are.
    next: usize,
    bytes: Box<WindowBytes>,
    /// How many bytes are in the window.
    end: u64,
    /// Whether the segment ends with the window.
    is_last: bool,
}

impl<'a> Window<'a> {
    /// A window over the segment that starts at `start` in the file.
    pub(super) fn new(file: &'a [u8], start: usize) -> Self {
        let bytes = Box::new(WindowBytes([0; WINDOW_BYTES + REFILL_BYTES]));
        Self { file, next: start, bytes, end: 0, is_last: false }
    }

    pub(super) fn bytes(&self) -> &WindowBytes {
        &self.bytes
    }

    /// Makes sure that a unit can be read, or all that is left of the segment.
    #[inline]
    pub(super) fn prepare(&mut self, place: Place) -> Place {
        let must_move = place.bits().position + UNIT_BYTES > self.end && !self.is_last;
        if must_move { self.move_on(place) } else { place }
    }

    /// Whether all that was read so far was there, and made sense.
    #[inline]
    pub(super) fn is_intact(&self, place: Place) -> bool {
        place.bits().bytes_read() <= self.end
    }

    /// Whether the segment was read to its end: at most a byte is left (T.81 section F.1.2.3 pads with ones).
    pub(super) fn is_used_up(&mut self, place: Place) -> bool {
        let place = if self.is_last { place } else { self.move_on(place) };
        self.is_last && self.is_intact(place) && place.bits().bytes_read() + 1 >= self.end
    }

    /// Moves to the next segment, if the marker there is this one (T.81 section E.2.4).
    pub(super) fn restart(&mut self, expected: u8) -> bool {
        let at = self.marker_position();
        if self.file.get(at + 1) != Some(&expected) {
            return false;
        }
        (self.next, self.end, self.is_last) = (at + 2, 0, false);
        true
    }

    /// Where the marker behind this segment is.
    pub(super) fn marker_position(&mut self) -> usize {
        while !self.is_last {
            self.end = 0;
            self.fill();
        }
        self.next
    }

    /// Drops what is read from the window, and fills it.
    #[cold]
    #[inline(never)]
    fn move_on(&mut self, place: Place) -> Place {
        let mut bits = place.bits();
        if bits.position < DAMAGED {
            let start = bits.position.min(self.end);
            self.bytes.0.copy_within(start as usize..self.end as usize, 0);
            self.end -= start;
            bits.position -= start;
            self.fill();
        }
        bits.place()
    }

    /// Unstuffs into the room behind the window's end. A zero behind 0xFF is left out, so are further 0xFF before a
    /// marker; the segment ends at a marker, or with the file.
    fn fill(&mut self) {
        let mut end = self.end as usize;
        while end < WINDOW_BYTES && !self.is_last {
            let rest = self.file.get(self.next..).unwrap_or_default();
            let rest = &rest[..rest.len().min(WINDOW_BYTES - end)];
            let plain = memchr::memchr(0xFF, rest).unwrap_or(rest.len());
            self.bytes.0[end..end + plain].copy_from_slice(&rest[..plain]);
            end += plain;
            self.next += plain;
            if plain == rest.len() {
                self.is_last = self.next >= self.file.len();
                continue;
            }
            match self.file.get(self.next + 1) {
                Some(0) => {
                    self.bytes.0[end] = 0xFF;
                    end += 1;
                    self.next += 2;
                }
                Some(0xFF) => self.next += 1,
                _ => self.is_last = true,
            }
        }
        self.end = end as u64;
    }
}

/// Where the marker is that ends the scan whose bytes start at `start`; restart markers belong to the scan.
pub(super) fn end_of_scan(file: &[u8], start: usize) -> Option<usize> {
    let mut position = start;
    loop {
        position += memchr::memchr(0xFF, file.get(position..)?)?;
        match *file.get(position + 1)? {
            0 | RST0..=RST7 => position += 2,
            0xFF => position += 1,
            _ => return Some(position),
        }
    }
}
