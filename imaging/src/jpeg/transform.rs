//! Inverse transforms of a block's lowest frequencies (T.81 section A.3.3): a W × H corner of the
//! coefficients gives W × H samples, which is the block scaled to W/8 and H/8. This is what
//! libjpeg, from release 7 on, defines as scaled decoding; at 1/8 it is the block's mean.
//!
//! The factors are those of Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms
//! with 11 multiplications" (ICASSP 1989). Arithmetic wraps: what is no picture may become any
//! picture, but never a panic.

use std::{array::from_fn, f64::consts::FRAC_1_SQRT_2, num::Wrapping};

use super::Scales;

/// A fixed-point number.
type Fixed = Wrapping<i32>;

/// Coefficients of a block in zigzag order (T.81 figure A.6).
pub(super) type Coefficients = [i32; 64];

/// The place of each coefficient in zigzag order, row by row.
const ZIGZAG: [usize; 64] = [
    0, 1, 5, 6, 14, 15, 27, 28, 2, 4, 7, 13, 16, 26, 29, 42, 3, 8, 12, 17, 25, 30, 41, 43, 9, 11,
    18, 24, 31, 40, 44, 53, 10, 19, 23, 32, 39, 45, 52, 54, 20, 22, 33, 38, 46, 51, 55, 60, 21, 34,
    37, 47, 50, 56, 59, 61, 35, 36, 48, 49, 57, 58, 62, 63,
];

/// Samples of a block in each direction: 1, 2, 3, 4, 6 or 8, and one at most twice the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    pub(super) wide: usize,
    pub(super) high: usize,
    /// The last coefficient in zigzag order that counts; those behind it are taken as zeros.
    pub(super) last: usize,
}

impl Sides {
    /// At least so many samples. Of two different scales neither a triangle is made, other than of
    /// 3 × 2 samples, nor a side of 6.
    pub(super) fn of(Scales { horizontal, vertical }: Scales) -> Self {
        let (wide, high) = (horizontal.side(), vertical.side());
        if horizontal == vertical && horizontal.is_of_triangle() {
            return Self { wide, high, last: last_of_triangle(wide) };
        }
        if horizontal == vertical {
            return Self { wide, high, last: last_of_corner(wide, high) };
        }
        if matches!((wide, high), (2, 3) | (3, 2)) {
            return Self { wide, high, last: last_of_triangle(3) };
        }
        let (wide, high) = (wide.next_power_of_two(), high.next_power_of_two());
        let (wide, high) = (wide.max(high / 2), high.max(wide / 2));
        Self { wide, high, last: last_of_corner(wide, high) }
    }

    /// Where in zigzag order the coefficients are that these sides need, row by row.
    pub(super) fn corner(self) -> Vec<usize> {
        let Self { wide, high, last } = self;
        let corner = (0..high).flat_map(|y| (0..wide).map(move |x| ZIGZAG[y * 8 + x]));
        corner.filter(|&at| at <= last).collect()
    }
}

/// Fractional bits of the factors.
const FACTOR_BITS: usize = 13;
/// Fractional bits that the columns keep for the rows.
const COLUMN_BITS: usize = 2;
/// The transform is 8 times too large.
const SCALE_BITS: usize = 3;

/// Where in zigzag order the coefficients of the W × H corner are.
const fn corner<const W: usize, const H: usize>() -> [[usize; W]; H] {
    let mut corner = [[0; W]; H];
    let mut y = 0;
    while y < H {
        let mut x = 0;
        while x < W {
            corner[y][x] = ZIGZAG[y * 8 + x];
            x += 1;
        }
        y += 1;
    }
    corner
}

/// The last coefficient in zigzag order of a corner.
pub(super) const fn last_of_corner(wide: usize, high: usize) -> usize {
    let (mut last, mut at) = (0, 0);
    while at < 64 {
        if at % 8 < wide && at / 8 < high && ZIGZAG[at] > last {
            last = ZIGZAG[at];
        }
        at += 1;
    }
    last
}

/// The last coefficient in zigzag order whose two frequencies add up to less than the side.
pub(super) const fn last_of_triangle(side: usize) -> usize {
    side * (side + 1) / 2 - 1
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

/// What [`samples`] gives of a block's mean and its horizontal slope, without factors.
#[inline]
pub(super) fn samples_2_by_1(dc: i32, slope: i32, quantization: &Coefficients) -> [[u8; 2]; 1] {
    let (mean, slope) =
        (Wrapping(dc) * Wrapping(quantization[0]), Wrapping(slope) * Wrapping(quantization[1]));
    [[sample(mean + slope, SCALE_BITS), sample(mean - slope, SCALE_BITS)]]
}

/// What [`samples`] gives of a block's mean and its two slopes, without factors.
#[inline]
pub(super) fn samples_of_slopes(
    dc: i32,
    slopes: [i32; 2],
    quantization: &Coefficients,
) -> [[u8; 2]; 2] {
    let [dc, x, y] = [(dc, 0), (slopes[0], 1), (slopes[1], 2)]
        .map(|(coefficient, at)| Wrapping(coefficient) * Wrapping(quantization[at]));
    let row = |mean: Fixed| [sample(mean + x, SCALE_BITS), sample(mean - x, SCALE_BITS)];
    [row(dc + y), row(dc - y)]
}

/// What [`samples`] gives of the four lowest frequencies, without factors.
#[inline]
pub(super) fn samples_2_by_2(
    coefficients: &Coefficients,
    quantization: &Coefficients,
) -> [[u8; 2]; 2] {
    let [dc, x, y, xy] =
        [0, 1, 2, 4].map(|at| Wrapping(coefficients[at]) * Wrapping(quantization[at]));
    let row = |mean: Fixed, slope: Fixed| {
        [sample(mean + slope, SCALE_BITS), sample(mean - slope, SCALE_BITS)]
    };
    [row(dc + y, x + xy), row(dc - y, x - xy)]
}

/// What [`samples`] gives of the triangle of the six lowest frequencies, but for rounding: with
/// fewer factors, as most products are zero.
#[inline]
pub(super) fn samples_of_six(
    coefficients: &Coefficients,
    quantization: &Coefficients,
) -> [[u8; 3]; 3] {
    const SLOPE: Fixed = factor(1.224_744_871);
    const BEND: Fixed = factor(FRAC_1_SQRT_2);
    let [dc, x, y, yy, xy, xx] =
        from_fn(|at| Wrapping(coefficients[at & 63]) * Wrapping(quantization[at & 63]));
    let (mean, slope_x, slope_y) = (dc << FACTOR_BITS, x * SLOPE, y * SLOPE);
    let (twist, bend_x, bend_y) = ((xy + (xy << 1)) << (FACTOR_BITS - 1), xx * BEND, yy * BEND);
    let row = |mean: Fixed, slope: Fixed| {
        [mean + slope + bend_x, mean - bend_x - bend_x, mean - slope + bend_x]
            .map(|value| sample(value, FACTOR_BITS + SCALE_BITS))
    };
    [
        row(mean + slope_y + bend_y, slope_x + twist),
        row(mean - bend_y - bend_y, slope_x),
        row(mean - slope_y + bend_y, slope_x - twist),
    ]
}

/// The samples of a block from its lowest frequencies: columns first, then rows.
#[inline]
pub(super) fn samples<const W: usize, const H: usize>(
    coefficients: &Coefficients,
    quantization: &Coefficients,
) -> [[u8; W]; H]
where
    [Fixed; W]: Inverse,
    [Fixed; H]: Inverse,
{
    // most blocks of a sky or a wall are flat; it is not worth a look at few samples
    if W * H > 16
        && coefficients[1..=const { last_of_corner(W, H) }]
            .iter()
            .all(|&coefficient| coefficient == 0)
    {
        return [[sample_1(coefficients[0], quantization[0]); W]; H];
    }
    let positions = const { corner::<W, H>() };
    let rows = positions
        .map(|row| row.map(|at| Wrapping(coefficients[at & 63]) * Wrapping(quantization[at & 63])));
    let half = Wrapping(1 << (FACTOR_BITS - COLUMN_BITS - 1));
    let columns: [[Fixed; H]; W] = from_fn(|x| from_fn::<_, H, _>(|y| rows[y][x]).inverse());
    let rows =
        columns.map(|column| column.map(|value| (value + half) >> (FACTOR_BITS - COLUMN_BITS)));
    from_fn(|y| {
        let row = from_fn::<_, W, _>(|x| rows[x][y]).inverse();
        row.map(|value| sample(value, FACTOR_BITS + COLUMN_BITS + SCALE_BITS))
    })
}

/// A transform of one dimension, whose results have `FACTOR_BITS` more fractional bits.
pub(super) trait Inverse {
    fn inverse(self) -> Self;
}

impl Inverse for [Fixed; 1] {
    #[inline]
    fn inverse(self) -> Self {
        self.map(|value| value << FACTOR_BITS)
    }
}

impl Inverse for [Fixed; 2] {
    #[inline]
    fn inverse(self) -> Self {
        let [mean, slope] = self;
        [(mean + slope) << FACTOR_BITS, (mean - slope) << FACTOR_BITS]
    }
}

impl Inverse for [Fixed; 3] {
    #[inline]
    fn inverse(self) -> Self {
        let [mean, slope, bend] = self;
        let (slope, bend) =
            (slope * const { factor(1.224_744_871) }, bend * const { factor(FRAC_1_SQRT_2) });
        let (mean, outer) = (mean << FACTOR_BITS, (mean << FACTOR_BITS) + bend);
        [outer + slope, mean - bend - bend, outer - slope]
    }
}

impl Inverse for [Fixed; 4] {
    #[inline]
    fn inverse(self) -> Self {
        inverse_4(self)
    }
}

impl Inverse for [Fixed; 6] {
    #[inline]
    fn inverse(self) -> Self {
        let [c0, c1, c2, c3, c4, c5] = self;
        let [e0, e1, e2] = [c0, c2, c4].inverse();
        let common = (c1 + c5) * const { factor(0.366_025_404) };
        let (o0, o1) = (common + ((c1 + c3) << FACTOR_BITS), (c1 - c3 - c5) << FACTOR_BITS);
        let o2 = common + ((c5 - c3) << FACTOR_BITS);
        [e0 + o0, e1 + o1, e2 + o2, e2 - o2, e1 - o1, e0 - o0]
    }
}

impl Inverse for [Fixed; 8] {
    #[inline]
    fn inverse(self) -> Self {
        inverse_8(self)
    }
}

/// A factor as a fixed-point number.
const fn factor(value: f64) -> Fixed {
    Wrapping((value * (1 << FACTOR_BITS) as f64 + 0.5) as i32)
}

/// Turns a pair by 3π/8, times √2.
#[inline]
fn rotate(low: Fixed, high: Fixed) -> (Fixed, Fixed) {
    let common = (low + high) * const { factor(0.541_196_1) };
    (
        common + low * const { factor(0.765_366_865) },
        common - high * const { factor(1.847_759_065) },
    )
}

/// Four points, with `FACTOR_BITS` more fractional bits.
#[inline]
fn inverse_4([c0, c1, c2, c3]: [Fixed; 4]) -> [Fixed; 4] {
    let (sum, difference) = ((c0 + c2) << FACTOR_BITS, (c0 - c2) << FACTOR_BITS);
    let (outer, inner) = rotate(c1, c3);
    [sum + outer, difference + inner, difference - inner, sum - outer]
}

/// Eight points, with `FACTOR_BITS` more fractional bits; the even coefficients are four points.
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
    use crate::jpeg::Scale;

    /// The definition (T.81 section A.3.3), for W × H points.
    fn reference<const W: usize, const H: usize>(
        coefficients: &Coefficients,
        quantization: &Coefficients,
    ) -> [[f64; W]; H] {
        let basis = |frequency: usize, at: usize, points: usize| {
            let scale = if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 };
            let angle =
                (2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * points) as f64;
            scale * angle.cos()
        };
        let corner = Sides { wide: W, high: H, last: 63 }.corner();
        from_fn(|y| {
            from_fn(|x| {
                let terms = corner.iter().enumerate().map(|(index, &at)| {
                    let value = f64::from(coefficients[at] * quantization[at]);
                    value * basis(index % W, x, W) * basis(index / W, y, H)
                });
                (terms.sum::<f64>() / 4.0 + 128.0).clamp(0.0, 255.0)
            })
        })
    }

    fn assert_as_defined<const W: usize, const H: usize>(
        block: &Coefficients,
        quantization: &Coefficients,
    ) where
        [Fixed; W]: Inverse,
        [Fixed; H]: Inverse,
    {
        let (found, expected) =
            (samples::<W, H>(block, quantization), reference::<W, H>(block, quantization));
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!(
                (f64::from(*found) - expected).abs() < 1.0,
                "{W} × {H}: {found} for {expected}"
            );
        }
    }

    /// Calls a function for all sides that a block may have.
    macro_rules! for_all_sides {
        (@each $function:ident, $values:tt, $($wide:literal $high:literal),*) => {
            $($function::<$wide, $high>$values;)*
        };
        ($function:ident, $($value:expr),*) => {
            for_all_sides!(@each $function, ($($value),*),
                1 1, 2 1, 1 2, 2 2, 3 2, 2 3, 3 3, 4 2, 2 4, 4 4, 6 6, 8 4, 4 8, 8 8)
        };
    }

    proptest::proptest! {
        #[test]
        fn samples_are_within_a_level_of_the_definition(
            coefficients in proptest::array::uniform32(-60..60_i32),
            step in 1..16_i32,
        ) {
            let mut block = [0; 64];
            block[..32].copy_from_slice(&coefficients);
            for_all_sides!(assert_as_defined, &block, &[step; 64]);
            assert_eq!(samples_2_by_2(&block, &[step; 64]), samples::<2, 2>(&block, &[step; 64]));
            assert_eq!(samples_2_by_1(block[0], block[1], &[step; 64]), samples::<2, 1>(&block, &[step; 64]));
            let slopes = [block[1], block[2]];
            let six: Coefficients = from_fn(|at| if at < 6 { block[at] } else { 0 });
            let found = samples_of_six(&six, &[step; 64]);
            for (found, expected) in found.iter().flatten().zip(reference::<3, 3>(&six, &[step; 64]).iter().flatten()) {
                assert!((f64::from(*found) - expected).abs() < 1.0, "{found} for {expected}");
            }
            block[4] = 0;
            assert_eq!(samples_of_slopes(block[0], slopes, &[step; 64]), samples::<2, 2>(&block, &[step; 64]));
        }

        #[test]
        fn absurd_coefficients_do_no_harm(value in proptest::num::i32::ANY, step in 0..=65_535_i32) {
            for_all_sides!(samples, &[value; 64], &[step; 64]);
            samples_2_by_2(&[value; 64], &[step; 64]);
            samples_2_by_1(value, value, &[step; 64]);
            samples_of_six(&[value; 64], &[step; 64]);
            samples_of_slopes(value, [value; 2], &[step; 64]);
        }
    }

    #[test]
    fn a_corner_lies_within_its_last_coefficient() {
        for horizontal in Scale::ALL {
            for vertical in Scale::ALL {
                let sides = Sides::of(Scales { horizontal, vertical });
                assert!(sides.corner().iter().all(|at| *at <= sides.last));
                assert!(sides.wide >= horizontal.side() && sides.high >= vertical.side());
                assert!(sides.wide <= sides.high * 2 && sides.high <= sides.wide * 2);
            }
        }
    }
}
