//! Huffman codes one by one (T.81 annex C).

use super::{Damage, JpegError, bits::Bits};

/// What a table is made of (T.81 section B.2.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HuffmanSpec {
    /// BITS: the number of codes of each length.
    counts: [u8; 16],
    /// HUFFVAL: the symbols, by their codes.
    symbols: Vec<u8>,
}

impl HuffmanSpec {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        Self { counts: *counts, symbols: symbols.to_vec() }
    }

    pub(super) fn symbols(&self) -> &[u8] {
        &self.symbols
    }
}

/// Bits that are dropped where no code stands: the longest code and one more, as libjpeg reads
/// them.
const BAD_CODE_BITS: u32 = 17;

/// The codes of a table in their canonical order.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    /// For each length less one: the first 16 bits that are above all codes up to this length,
    /// aligned to the left.
    limits: [u32; 16],
    /// What to add to a code of this length to have its symbol's index.
    offsets: [i32; 16],
    symbols: Vec<u8>,
    /// What is done where no code stands.
    damage: Damage,
}

impl Codes {
    /// T.81 section C.2.
    pub(super) fn new(spec: &HuffmanSpec, damage: Damage) -> Result<Self, JpegError> {
        let (mut limits, mut offsets) = ([0; 16], [0; 16]);
        let (mut code, mut index) = (0_u32, 0_i32);
        for (length, &count) in (1..=16).zip(&spec.counts) {
            let slot = length as usize - 1;
            offsets[slot] = index - code.cast_signed();
            code += u32::from(count);
            index += i32::from(count);
            if code > 1 << length {
                return Err(JpegError::Corrupt("A Huffman table is invalid."));
            }
            limits[slot] = code << (16 - length);
            code <<= 1;
        }
        Ok(Self { limits, offsets, symbols: spec.symbols.clone(), damage })
    }

    /// Length and symbol of the code that the 16 bits start with.
    pub(super) fn find(&self, bits: u32) -> Option<(u32, u8)> {
        let slot = self.limits.iter().position(|&limit| bits < limit)?;
        let length = u32::try_from(slot).ok()? + 1;
        let code = (bits >> (16 - length)).cast_signed();
        let symbol = self.symbols.get(usize::try_from(code + self.offsets[slot]).ok()?)?;
        Some((length, *symbol))
    }

    /// By the next `bits` bits, at most 16: length and symbol of the code that they start with, if
    /// it is wholly among them.
    pub(super) fn of_lookup(&self, bits: u32) -> Vec<Option<(u32, u8)>> {
        let mut found = vec![None; 1 << bits];
        let mut start = 0;
        while let Some((length, symbol)) = self.find((start as u32) << (16 - bits))
            && length <= bits
        {
            // shorter codes come first
            let end = start + (1 << (bits - length));
            found[start..end].fill(Some((length, symbol)));
            start = end;
            if start == found.len() {
                break;
            }
        }
        found
    }

    /// The next symbol, whatever its length; zero when there is no such code. Needs 17 bits.
    pub(super) fn read(&self, bits: &mut Bits) -> u8 {
        if let Some((length, symbol)) = self.find(bits.peek_16()) {
            bits.skip(length);
            symbol
        } else {
            bits.skip(BAD_CODE_BITS);
            self.note_damage(bits);
            0
        }
    }

    /// Codes are often found again behind damage, so only the strict decoder stops.
    pub(super) fn note_damage(&self, bits: &mut Bits) {
        if self.damage == Damage::Refused {
            bits.damage();
        }
    }
}
