//! Components that share a sample between two pixels, made as wide or high as the picture: by the
//! triangle filter that libjpeg calls fancy upsampling, so that a thumbnail that is hardly smaller
//! than its original looks as that does.

use crate::jpeg::Plane;

/// Twice as many samples to a row, or rows, as asked.
pub(super) fn doubled(plane: &Plane, is_wider: bool, is_higher: bool) -> Plane {
    let (width, height) = (plane.width.ceil() as usize, plane.height.ceil() as usize);
    let row = |y: usize| &plane.samples[y.min(height - 1) * plane.stride..][..width];
    let stride = if is_wider { width * 2 } else { width };
    let rows = if is_higher { height * 2 } else { height };
    let mut samples = Vec::with_capacity(stride * rows);
    let mut sums = vec![0_u16; width];
    for y in 0..rows {
        if is_higher {
            // three parts of the nearer row, one of the other
            let (near, far) =
                (y / 2, if y % 2 == 0 { (y / 2).saturating_sub(1) } else { y / 2 + 1 });
            for ((sum, &near), &far) in sums.iter_mut().zip(row(near)).zip(row(far)) {
                *sum = 3 * u16::from(near) + u16::from(far);
            }
        } else {
            sums.iter_mut().zip(row(y)).for_each(|(sum, &sample)| *sum = u16::from(sample));
        }
        match (is_wider, is_higher) {
            // the rounding alternates as libjpeg's does
            (true, true) => widen::<4>(&sums, [8, 7], &mut samples),
            (true, false) => widen::<2>(&sums, [1, 2], &mut samples),
            (false, true) => {
                samples.extend(sums.iter().map(|sum| ((sum + 1 + y as u16 % 2) >> 2) as u8));
            }
            (false, false) => samples.extend(sums.iter().map(|&sum| sum as u8)),
        }
    }
    let times = |is_doubled: bool, side: f64| if is_doubled { side * 2.0 } else { side };
    Plane {
        samples,
        stride,
        rows,
        width: times(is_wider, plane.width),
        height: times(is_higher, plane.height),
        samples_of_block: (8, 8),
        is_half_wide: plane.is_half_wide && !is_wider,
        is_half_high: plane.is_half_high && !is_higher,
    }
}

/// Appends two samples for each sum, of which so many bits are shifted off. The ends count as their
/// own neighbours.
fn widen<const BITS: u32>(sums: &[u16], [left, right]: [u16; 2], samples: &mut Vec<u8>) {
    let pair = |[before, sum, after]: [u16; 3]| {
        [(3 * sum + before + left) >> BITS, (3 * sum + after + right) >> BITS]
            .map(|sample| sample as u8)
    };
    let start = samples.len();
    samples.resize(start + sums.len() * 2, 0);
    let (pairs, _) = samples[start..].as_chunks_mut::<2>();
    for (target, window) in pairs.iter_mut().skip(1).zip(sums.array_windows()) {
        *target = pair(*window);
    }
    if let ([first, ..], [target, ..]) = (sums, &mut *pairs) {
        *target = pair([*first, *first, *sums.get(1).unwrap_or(first)]);
    }
    if let ([.., last_but_one, last], [_, .., target]) = (sums, pairs) {
        *target = pair([*last_but_one, *last, *last]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(samples: &[u8], stride: usize, width: f64, height: f64) -> Plane {
        let rows = samples.len() / stride;
        Plane {
            samples: samples.to_vec(),
            stride,
            rows,
            width,
            height,
            samples_of_block: (8, 8),
            is_half_wide: true,
            is_half_high: true,
        }
    }

    #[test]
    fn flat_stays_flat_and_what_lies_beyond_the_picture_is_not_seen() {
        let plane = plane(&[9, 9, 9, 0, 9, 9, 9, 0, 0, 0, 0, 0], 4, 2.5, 2.0);
        for (is_wider, is_higher) in [(true, true), (true, false), (false, true), (false, false)] {
            let doubled = doubled(&plane, is_wider, is_higher);
            assert_eq!(doubled.samples.len(), doubled.stride * doubled.rows);
            assert!(doubled.samples.iter().all(|&sample| sample == 9), "{doubled:?}");
        }
    }

    #[test]
    fn a_step_becomes_a_slope() {
        let step = plane(&[0, 100], 2, 2.0, 1.0);
        assert_eq!(doubled(&step, true, false).samples, [0, 25, 75, 100]);
        let step = plane(&[0, 100], 1, 1.0, 2.0);
        assert_eq!(doubled(&step, false, true).samples, [0, 25, 75, 100]);
    }
}
