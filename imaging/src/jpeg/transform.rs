//! Inverse transforms of a block's lowest frequencies (T.81 section A.3.3): an N × N corner of the coefficients gives
//! N × N samples, which is the block scaled to N/8. This is what libjpeg, from release 7 on, defines as scaled
//! decoding; at 1/8 it is the block's mean.
//!
//! The factors are those of Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11
//! multiplications" (ICASSP 1989). Arithmetic wraps: what is no picture may become any picture, but never a panic.

use std::{array::from_fn, num::Wrapping};

/// A fixed-point number.
type Fixed = Wrapping<i32>;

/// Coefficients of a block in zigzag order (T.81 figure A.6).
pub(super) type Coefficients = [i32; 64];

/// Where in zigzag order the coefficients of the N × N corner are, row by row.
const CORNER_2: [usize; 4] = [0, 1, 2, 4];
const CORNER_4: [usize; 16] = [0, 1, 5, 6, 2, 4, 7, 13, 3, 8, 12, 17, 9, 11, 18, 24];
const CORNER_8: [usize; 64] = [
    0, 1, 5, 6, 14, 15, 27, 28, 2, 4, 7, 13, 16, 26, 29, 42, 3, 8, 12, 17, 25, 30, 41, 43, 9, 11, 18, 24, 31,
    40, 44, 53, 10, 19, 23, 32, 39, 45, 52, 54, 20, 22, 33, 38, 46, 51, 55, 60, 21, 34, 37, 47, 50, 56, 59,
    61, 35, 36, 48, 49, 57, 58, 62, 63,
];

/// Fractional bits of the factors.
const FACTOR_BITS: usize = 13;
/// Fractional bits that the columns keep for the rows.
const COLUMN_BITS: usize = 2;
/// The transform is 8 times too large.
const SCALE_BITS: usize = 3;

/// Where in zigzag order the coefficients are that a scale of `side`/8 needs.
pub(super) fn corner(side: usize) -> &'static [usize] {
    match side {
        1 => &CORNER_2[..1],
        2 => &CORNER_2,
        4 => &CORNER_4,
        _ => &CORNER_8,
    }
}

/// The last coefficient in zigzag order that a scale of `side`/8 needs.
pub(super) const fn last_of_corner(side: usize) -> usize {
    match side {
        1 => 0,
        2 => 4,
        4 => 24,
        _ => 63,
    }
}

/// The sample of a block of which only the mean counts.
#[inline]
pub(super) fn sample_1(dc: i32, quantization: i32) -> u8 {
    sample(Wrapping(dc) * Wrapping(quantization), SCALE_BITS)
}

/// Rounds off `bits`, and shifts the level from around 0 to around 128 (T.81 section A.3.1).
#[inline]
fn sample(value: Fixed, bits: usize) -> u8 {
    let level = ((value + Wrapping(1 << (bits - 1))) >> bits) + Wrapping(128);
    level.0.clamp(0, 255) as u8
}

#[inline]
pub(super) fn samples_2(coefficients: &Coefficients, quantization: &Coefficients) -> [[u8; 2]; 2] {
    let [dc, x, y, xy] = CORNER_2.map(|at| Wrapping(coefficients[at]) * Wrapping(quantization[at]));
    let row =
        |mean: Fixed, slope: Fixed| [sample(mean + slope, SCALE_BITS), sample(mean - slope, SCALE_BITS)];
    [row(dc + y, x + xy), row(dc - y, x - xy)]
}

#[inline]
pub(super) fn samples_4(coefficients: &Coefficients, quantization: &Coefficients) -> [[u8; 4]; 4] {
    separable(coefficients, quantization, &CORNER_4, inverse_4)
}

#[inline]
pub(super) fn samples_8(coefficients: &Coefficients, quantization: &Coefficients) -> [[u8; 8]; 8] {
    separable(coefficients, quantization, &CORNER_8, inverse_8)
}

/// Columns first, then rows.
#[inline]
fn separable<const N: usize>(
    coefficients: &Coefficients,
    quantization: &Coefficients,
    corner: &[usize],
    inverse: impl Fn([Fixed; N]) -> [Fixed; N],
) -> [[u8; N]; N] {
    // most blocks of a sky or a wall are flat
    if coefficients[1..=last_of_corner(N)].iter().all(|&coefficient| coefficient == 0) {
        return [[sample_1(coefficients[0], quantization[0]); N]; N];
    }
    let mut rows = [[Wrapping(0); N]; N];
    for (row, positions) in rows.iter_mut().zip(corner.chunks_exact(N)) {
        for (value, &at) in row.iter_mut().zip(positions) {
            *value = Wrapping(coefficients[at & 63]) * Wrapping(quantization[at & 63]);
        }
    }
    let half = Wrapping(1 << (FACTOR_BITS - COLUMN_BITS - 1));
    let columns: [[Fixed; N]; N] = from_fn(|x| inverse(from_fn(|y| rows[y][x])));
    let rows = columns.map(|column| column.map(|value| (value + half) >> (FACTOR_BITS - COLUMN_BITS)));
    from_fn(|y| {
        let row = inverse(from_fn(|x| rows[x][y]));
        row.map(|value| sample(value, FACTOR_BITS + COLUMN_BITS + SCALE_BITS))
    })
}

/// A factor as a fixed-point number.
const fn factor(value: f64) -> Fixed {
    Wrapping((value * (1 << FACTOR_BITS) as f64 + 0.5) as i32)
}

/// Turns a pair by 3π/8, times √2.
#[inline]
fn rotate(low: Fixed, high: Fixed) -> (Fixed, Fixed) {
    let common = (low + high) * const { factor(0.541_196_1) };
    (common + low * const { factor(0.765_366_865) }, common - high * const { factor(1.847_759_065) })
}

/// Four points, with `FACTOR_BITS` more fractional bits.
#[inline]
fn inverse_4([c0, c1, c2, c3]: [Fixed; 4]) -> [Fixed; 4] {
    let (sum, difference) = ((c0 + c2) << FACTOR_BITS, (c0 - c2) << FACTOR_BITS);
    let (outer, inner) = rotate(c1, c3);
    [sum + outer, difference + inner, difference - inner, sum - outer]
}

/// Eight points, with `FACTOR_BITS` more fractional bits: the even coefficients are a transform of four points.
#[inline]
fn inverse_8([c0, c1, c2, c3, c4, c5, c6, c7]: [Fixed; 8]) -> [Fixed; 8] {
    let [e0, e1, e2, e3] = inverse_4([c0, c2, c4, c6]);
    let (a, b, c, d) = (c7 + c1, c5 + c3, c7 + c3, c5 + c1);
    let common = (c + d) * const { factor(1.175_875_602) };
    let a = a * const { factor(0.899_976_223) };
    let b = b * const { factor(2.562_915_447) };
    let c = common - c * const { factor(1.961_570_56) };
    let d = common - d * const { factor(0.390_180_644) };
    let o3 = c7 * const { factor(0.298_631_336) } - a + c;
    let o2 = c5 * const { factor(2.053_119_869) } - b + d;
    let o1 = c3 * const { factor(3.072_711_026) } - b + c;
    let o0 = c1 * const { factor(1.501_321_11) } - a + d;
    [e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition (T.81 section A.3.3), for N points.
    fn reference<const N: usize>(coefficients: &Coefficients, quantization: &Coefficients) -> [[f64; N]; N] {
        let basis = |frequency: usize, at: usize| {
            let scale = if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 };
            let angle = (2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * N) as f64;
            scale * angle.cos()
        };
        std::array::from_fn(|y| {
            std::array::from_fn(|x| {
                let terms = corner(N).iter().enumerate().map(|(index, &at)| {
                    let value = f64::from(coefficients[at] * quantization[at]);
                    value * basis(index % N, x) * basis(index / N, y)
                });
                (terms.sum::<f64>() / 4.0 + 128.0).clamp(0.0, 255.0)
            })
        })
    }

    fn assert_near<const N: usize>(found: [[u8; N]; N], expected: [[f64; N]; N]) {
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((f64::from(*found) - expected).abs() < 1.0, "{found} for {expected}");
        }
    }

    proptest::proptest! {
        #[test]
        fn samples_are_within_a_level_of_the_definition(
            coefficients in proptest::array::uniform32(-60..60_i32),
            step in 1..16_i32,
        ) {
            let mut block = [0; 64];
            block[..32].copy_from_slice(&coefficients);
            let quantization = [step; 64];
            assert_near([[sample_1(block[0], step)]], reference::<1>(&block, &quantization).map(|row| row.map(|value| {
                128.0 + (value - 128.0) / 1.0
            })));
            assert_near(samples_2(&block, &quantization), reference::<2>(&block, &quantization));
            assert_near(samples_4(&block, &quantization), reference::<4>(&block, &quantization));
            assert_near(samples_8(&block, &quantization), reference::<8>(&block, &quantization));
        }

        #[test]
        fn absurd_coefficients_do_no_harm(value in proptest::num::i32::ANY, step in 0..=65_535_i32) {
            let (block, quantization) = ([value; 64], [step; 64]);
            sample_1(value, step);
            samples_2(&block, &quantization);
            samples_4(&block, &quantization);
            samples_8(&block, &quantization);
        }
    }

    #[test]
    fn a_corner_lies_within_its_last_coefficient() {
        for side in [1, 2, 4, 8] {
            assert_eq!(corner(side).len(), side * side);
            assert_eq!(corner(side).iter().max(), Some(&last_of_corner(side)));
        }
    }
}
