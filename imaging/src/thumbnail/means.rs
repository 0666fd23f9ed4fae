//! What planes at 1/8 lack. A block's mean lets waves of its own length through more weakly the
//! shorter they are; a filter of three taps makes up for that, to the second order: 1/24 of each
//! neighbour is taken away.

use crate::jpeg::Plane;

/// What is taken away of a neighbour, of 128: a twenty-fourth is 5.3.
const NEIGHBOUR: i16 = 5;
const NEIGHBOUR_BITS: u32 = 7;
/// Fractional bits between the two directions: as many as let everything fit into 16 bits, of which
/// vector instructions take most at a time.
const BITS: u32 = 3;

/// Sharpens a plane in place, in the directions in which it is of means.
pub(super) fn sharpen(plane: &mut Plane) {
    match plane.samples_of_block {
        (1, 1) => sharpen_both(plane),
        (_, 1) => sharpen_columns(plane),
        (1, _) => sharpen_rows(plane),
        _ => {}
    }
}

fn sharpen_rows(plane: &mut Plane) {
    let (width, height) = (plane.width.ceil() as usize, plane.height.ceil() as usize);
    let mut sharper = vec![0; width];
    for row in plane.samples.chunks_exact_mut(plane.stride).take(height) {
        filter_row(&row[..width], &mut sharper);
        for (sample, &sharper) in row.iter_mut().zip(&sharper) {
            *sample = rounded(sharper);
        }
    }
}

fn sharpen_columns(plane: &mut Plane) {
    let (width, height) = (plane.width.ceil() as usize, plane.height.ceil() as usize);
    let row = |y: usize| y * plane.stride..y * plane.stride + width;
    let mut here = plane.samples[row(0)].to_vec();
    let (mut before, mut after) = (here.clone(), here.clone());
    for y in 0..height {
        after.copy_from_slice(if y + 1 < height { &plane.samples[row(y + 1)] } else { &here });
        let neighbours = before.iter().zip(&here).zip(&after);
        for (sample, ((&before, &here), &after)) in plane.samples[row(y)].iter_mut().zip(neighbours)
        {
            *sample = rounded(filter([before, here, after]));
        }
        std::mem::swap(&mut before, &mut here);
        std::mem::swap(&mut here, &mut after);
    }
}

fn sharpen_both(plane: &mut Plane) {
    let (width, height) = (plane.width.ceil() as usize, plane.height.ceil() as usize);
    let row = |y: usize| y * plane.stride..y * plane.stride + width;
    let mut here = vec![0; width];
    filter_row(&plane.samples[row(0)], &mut here);
    let (mut before, mut after) = (here.clone(), here.clone());
    for y in 0..height {
        if y + 1 < height {
            filter_row(&plane.samples[row(y + 1)], &mut after);
        } else {
            after.copy_from_slice(&here);
        }
        let sums = here.iter().zip(&before).zip(&after);
        for (sample, ((&here, &before), &after)) in plane.samples[row(y)].iter_mut().zip(sums) {
            let half = 1 << (NEIGHBOUR_BITS - 1);
            let sharper =
                here + ((((here - before) + (here - after)) * NEIGHBOUR + half) >> NEIGHBOUR_BITS);
            *sample = rounded(sharper);
        }
        std::mem::swap(&mut before, &mut here);
        std::mem::swap(&mut here, &mut after);
    }
}

#[inline]
fn rounded(sharper: i16) -> u8 {
    ((sharper + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

/// With so many fractional bits.
#[inline]
fn filter([before, here, after]: [u8; 3]) -> i16 {
    let [before, here, after] = [before, here, after].map(i16::from);
    (here << BITS) + ((((here - before) + (here - after)) * NEIGHBOUR) >> (NEIGHBOUR_BITS - BITS))
}

/// The ends count as their own neighbours.
fn filter_row(samples: &[u8], sharper: &mut [i16]) {
    for (target, window) in sharper.iter_mut().skip(1).zip(samples.array_windows::<3>()) {
        *target = filter(*window);
    }
    if let ([first, ..], [target, ..]) = (samples, &mut *sharper) {
        *target = filter([*first, *first, *samples.get(1).unwrap_or(first)]);
    }
    if let ([.., last_but_one, last], [_, .., target]) = (samples, sharper) {
        *target = filter([*last_but_one, *last, *last]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(samples: &[u8], stride: usize, width: f64) -> Plane {
        let rows = samples.len() / stride;
        Plane {
            samples: samples.to_vec(),
            stride,
            rows,
            width,
            height: rows as f64,
            samples_of_block: (1, 1),
            is_half_wide: false,
            is_half_high: false,
        }
    }

    #[test]
    fn flat_stays_flat_whatever_lies_beyond_the_picture() {
        for (width, stride) in [(0.5, 3), (1.5, 3), (2.0, 3), (3.0, 3)] {
            let mut flat = plane(&[77; 12], stride, width);
            let beyond = width.ceil() as usize;
            flat.samples.chunks_mut(stride).for_each(|row| row[beyond..].fill(0));
            let before = flat.samples.clone();
            sharpen(&mut flat);
            assert_eq!(flat.samples, before);
        }
    }

    #[test]
    fn the_sharpest_edges_fit_into_the_numbers() {
        for period in [1, 2, 3] {
            let samples =
                (0..64_usize).map(|at| if (at % 8 / period + at / 8) % 2 == 0 { 0 } else { 255 });
            let mut edges = plane(&samples.collect::<Vec<_>>(), 8, 8.0);
            let before = edges.samples.clone();
            sharpen(&mut edges);
            assert_eq!(edges.samples, before, "black and white cannot become sharper");
        }
    }

    #[test]
    fn an_edge_becomes_steeper() {
        let mut edge = plane(&[100, 100, 200, 200].repeat(4), 4, 4.0);
        sharpen(&mut edge);
        assert_eq!(edge.samples[4..8], [100, 96, 204, 200]);
        let mut edge = plane(&[100, 200], 1, 1.0);
        sharpen(&mut edge);
        assert_eq!(edge.samples, [96, 204]);
    }

    #[test]
    fn only_the_direction_of_means_is_sharpened() {
        let mut columns = plane(&[100, 200, 100, 200, 200, 100, 200, 100], 4, 4.0);
        let mut rows = columns.clone();
        columns.samples_of_block.0 = 2;
        sharpen(&mut columns);
        assert_eq!(columns.samples, [96, 204, 96, 204, 204, 96, 204, 96]);
        rows.samples_of_block.1 = 2;
        sharpen(&mut rows);
        assert_eq!(rows.samples, [96, 208, 92, 204, 204, 92, 208, 96]);
    }
}
