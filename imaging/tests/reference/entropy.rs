//! Entropy-coded data, bit by bit (T.81 annexes C, F and G).

use std::collections::HashMap;

/// By length and code.
pub(super) type Codes = HashMap<(u32, u32), u8>;

/// The bits of what stands between two restart markers.
pub(super) struct Bits {
    pub(super) bytes: Vec<u8>,
    pub(super) position: usize,
}

impl Bits {
    pub(super) fn bit(&mut self) -> i32 {
        let byte = self.bytes.get(self.position / 8).expect("no more bits than there are");
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        i32::from(bit)
    }

    pub(super) fn number(&mut self, size: u8) -> i32 {
        (0..size).fold(0, |number, _| number << 1 | self.bit())
    }

    /// EXTEND (section F.2.2.1).
    pub(super) fn signed(&mut self, size: u8) -> i32 {
        let number = self.number(size);
        if size > 0 && number < 1 << (size - 1) { number - (1 << size) + 1 } else { number }
    }

    pub(super) fn symbol(&mut self, codes: &Codes) -> u8 {
        let mut code = 0;
        for length in 1..=16 {
            code = code << 1 | self.bit().cast_unsigned();
            if let Some(symbol) = codes.get(&(length, code)) {
                return *symbol;
            }
        }
        panic!("no such code");
    }
}

pub(super) struct Scan<'a> {
    /// Index, DC codes, AC codes.
    pub(super) components: Vec<(usize, Option<&'a Codes>, Option<&'a Codes>)>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) high: u8,
    pub(super) low: u8,
}

pub(super) fn dc_difference(bits: &mut Bits, codes: Option<&Codes>) -> i32 {
    let size = bits.symbol(codes.expect("a DC table"));
    bits.signed(size)
}

/// Sections F.2.2.2 and G.1.2.2.
pub(super) fn read_band(
    bits: &mut Bits,
    block: &mut [i32; 64],
    codes: Option<&Codes>,
    first: usize,
    last: usize,
    low: u8,
    run_of_ends: &mut i32,
) {
    if *run_of_ends > 0 {
        *run_of_ends -= 1;
        return;
    }
    let mut index = first;
    while index <= last {
        let symbol = bits.symbol(codes.expect("an AC table"));
        let (run, size) = (symbol >> 4, symbol & 0xF);
        if size == 0 && run < 15 {
            *run_of_ends = (1 << run) - 1 + bits.number(run);
            return;
        }
        index += usize::from(run);
        block[index] = bits.signed(size) << low;
        index += 1;
    }
}

/// Section G.1.2.3, figure G.7.
pub(super) fn refine_band(
    bits: &mut Bits,
    block: &mut [i32; 64],
    codes: Option<&Codes>,
    scan: &Scan<'_>,
    run_of_ends: &mut i32,
) {
    let step = 1 << scan.low;
    let correct = |bits: &mut Bits, value: &mut i32| {
        if bits.bit() == 1 {
            *value += step * value.signum();
        }
    };
    let mut index = scan.first;
    while *run_of_ends == 0 && index <= scan.last {
        let symbol = bits.symbol(codes.expect("an AC table"));
        let (mut run, size) = (symbol >> 4, symbol & 0xF);
        if size == 0 && run < 15 {
            *run_of_ends = (1 << run) + bits.number(run);
            break;
        }
        let value = if size == 0 || bits.bit() == 1 { step } else { -step };
        while index <= scan.last {
            if block[index] != 0 {
                correct(bits, &mut block[index]);
            } else if run == 0 {
                break;
            } else {
                run -= 1;
            }
            index += 1;
        }
        if size > 0 {
            block[index] = value;
        }
        index += 1;
    }
    if *run_of_ends > 0 {
        *run_of_ends -= 1;
        block[index..=scan.last]
            .iter_mut()
            .filter(|value| **value != 0)
            .for_each(|value| correct(bits, value));
    }
}
