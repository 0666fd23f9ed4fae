//! The rows of interlaced PNG (W3C PNG specification, section 8.2), each pixel of which is added to
//! the sum of its square.

use super::png::{Divisor, premultiplied};

/// Of a pass: its first column and row, and how far its next ones are.
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];
/// The longest side of a square in px whose samples' sum fits into 16 bits.
pub(super) const MAX_NARROW_SIDE: usize = 16;

/// Where the pixels of a pass's row belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PassRow {
    y: usize,
    first_x: usize,
    step: usize,
}

/// The rows in the order in which they are stored; passes without pixels are left out.
pub(super) fn rows(width: usize, height: usize) -> impl Iterator<Item = PassRow> {
    PASSES.into_iter().filter(move |&[first_x, ..]| first_x < width).flat_map(
        move |[first_x, first_y, step, row_step]| {
            (first_y..height).step_by(row_step).map(move |y| PassRow { y, first_x, step })
        },
    )
}

/// The sums of the squares of a picture, `BYTES` to each, the lowest first.
pub(super) struct Squares<const CHANNELS: usize, const BYTES: usize> {
    sums: Vec<u8>,
    width: usize,
    height: usize,
    factor: usize,
}

impl<const CHANNELS: usize, const BYTES: usize> Squares<CHANNELS, BYTES> {
    /// For a picture of `width` × `height` px in squares of `factor` × `factor` px; none when there
    /// is no memory for it.
    pub(super) fn new(width: usize, height: usize, factor: usize) -> Option<Self> {
        let samples = width.div_ceil(factor) * height.div_ceil(factor) * CHANNELS;
        let mut sums = Vec::new();
        sums.try_reserve_exact(samples * BYTES).ok()?;
        sums.resize(samples * BYTES, 0);
        Some(Self { sums, width, height, factor })
    }

    pub(super) fn add(&mut self, place: PassRow, row: &[u8]) {
        let row_squares = self.width.div_ceil(self.factor);
        let start = place.y / self.factor * row_squares * CHANNELS * BYTES;
        let (sums, _) = self.sums[start..].as_chunks_mut::<BYTES>();
        let (squares, _) = sums.as_chunks_mut::<CHANNELS>();
        let (mut square, mut within) = (place.first_x / self.factor, place.first_x % self.factor);
        let (pixels, _) = row.as_chunks::<CHANNELS>();
        for pixel in pixels {
            let Some(sums) = squares.get_mut(square) else { return };
            for (sum, sample) in sums.iter_mut().zip(premultiplied(*pixel)) {
                *sum = bytes(number(*sum) + u64::from(sample));
            }
            within += place.step;
            while within >= self.factor {
                within -= self.factor;
                square += 1;
            }
        }
    }

    /// The mean of each square, row by row, in the memory of the sums.
    pub(super) fn into_means(mut self) -> Vec<u8> {
        let factor = self.factor;
        let (squares_wide, squares_high) =
            (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let mut at = 0;
        for y in 0..squares_high {
            let rows = factor.min(self.height - y * factor);
            let (inner, last) = (
                Divisor::new(factor * rows),
                Divisor::new((self.width - (squares_wide - 1) * factor) * rows),
            );
            for x in 0..squares_wide {
                let divisor = if x + 1 == squares_wide { &last } else { &inner };
                for _ in 0..CHANNELS {
                    let mut sum = [0; BYTES];
                    sum.copy_from_slice(&self.sums[at * BYTES..(at + 1) * BYTES]);
                    self.sums[at] = divisor.mean(number(sum));
                    at += 1;
                }
            }
        }
        self.sums.truncate(at);
        self.sums.shrink_to_fit();
        self.sums
    }
}

#[inline]
fn number<const BYTES: usize>(bytes: [u8; BYTES]) -> u64 {
    let mut all = [0; 8];
    all[..BYTES].copy_from_slice(&bytes);
    u64::from_le_bytes(all)
}

#[inline]
fn bytes<const BYTES: usize>(number: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(&number.to_le_bytes()[..BYTES]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_has_its_place_once() {
        for (width, height) in [(1, 1), (3, 2), (5, 9), (17, 8)] {
            let mut seen = vec![0; width * height];
            for PassRow { y, first_x, step } in rows(width, height) {
                (first_x..width).step_by(step).for_each(|x| seen[y * width + x] += 1);
            }
            assert_eq!(seen, vec![1; width * height], "{width} × {height}");
        }
    }

    #[test]
    fn white_is_white_in_squares_of_any_size() {
        fn means<const BYTES: usize>(factor: usize) -> Vec<u8> {
            let (width, height) = (37, 35);
            let mut squares = Squares::<3, BYTES>::new(width, height, factor).expect("memory");
            for place in rows(width, height) {
                let pixels = (width - place.first_x).div_ceil(place.step);
                squares.add(place, &vec![255; pixels * 3]);
            }
            squares.into_means()
        }
        for factor in [2, 15, MAX_NARROW_SIDE] {
            let length = 37_usize.div_ceil(factor) * 35_usize.div_ceil(factor) * 3;
            assert_eq!(means::<2>(factor), vec![255; length]);
        }
        assert_eq!(means::<8>(40), [255; 3]);
    }
}
