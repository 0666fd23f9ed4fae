//! The scaled decoder beside the reference, and beside itself where it reads in streams.

use std::panic;

use imaging::{
    Deadline,
    jpeg::{self, Damage, JpegError, Planes, Scale, Scales, Streams},
};

use crate::reference::Reference;

/// Above this a coefficient, times its step, cannot come from an 8-bit picture, and arithmetic may
/// wrap.
const MAX_COEFFICIENT: i32 = 4096;
/// Samples of the largest picture that is worth the time of the reference.
const MAX_SAMPLES: usize = 1 << 14;

/// Each plane has the size that the scale says, and each of its samples is within a level of the
/// reference; at 1/8, where there is but one way to round, it is the same.
pub(crate) fn assert_same(planes: &Planes, reference: &Reference, scales: [Scale; 2]) {
    let (max_horizontal, max_vertical) = reference.factors();
    assert_eq!(planes.planes.len(), reference.components.len());
    for (index, (plane, component)) in planes.planes.iter().zip(&reference.components).enumerate() {
        let scale = scales[index.min(1)];
        let side = scale.side();
        let share =
            |px: usize, factor: usize, max: usize| (px * factor * side) as f64 / (8 * max) as f64;
        let width = share(reference.width, component.horizontal, max_horizontal);
        let height = share(reference.height, component.vertical, max_vertical);
        assert_eq!((plane.width, plane.height), (width, height));
        assert!(plane.stride as f64 >= width && plane.rows as f64 >= height);
        for block in 0..component.blocks.len() {
            let (x, y) =
                (block % component.blocks_wide * side, block / component.blocks_wide * side);
            // what lies beyond the picture may never have been decoded
            if x as f64 >= width || y as f64 >= height {
                continue;
            }
            for (at, expected) in component.samples(block, scale).into_iter().enumerate() {
                let found =
                    f64::from(plane.samples[(y + at / side) * plane.stride + x + at % side]);
                let tolerance = if side == 1 { 0.5 } else { 1.0 };
                let difference = (found - expected).abs();
                assert!(
                    difference <= tolerance + 1e-9,
                    "component {index}, block {block}: {found} for {expected}"
                );
            }
        }
    }
}

/// The same for a file that may be damaged: what the strict decoder takes and the reference can
/// read is the same.
pub(crate) fn assert_same_if_sound(file: &[u8]) {
    for scale in Scale::ALL {
        let planes =
            jpeg::decode(file, |_, _, _| scale.into(), 64, Damage::Refused, &Deadline::none());
        let Ok(planes) = planes else { return };
        if planes.planes.iter().map(|plane| plane.samples.len()).sum::<usize>() > MAX_SAMPLES {
            return;
        }
        // it takes sound files only, and panics at others
        let Ok(reference) = panic::catch_unwind(|| Reference::of(file)) else { return };
        if reference.largest_coefficient() <= MAX_COEFFICIENT {
            assert_same(&planes, &reference, [scale; 2]);
        }
    }
}

/// The scales at which scans are read in streams.
pub(crate) const STREAM_SCALES: [Scales; 5] = [
    Scales { horizontal: Scale::Eighth, vertical: Scale::Eighth },
    Scales { horizontal: Scale::Quarter, vertical: Scale::Eighth },
    Scales { horizontal: Scale::QuarterOf3, vertical: Scale::QuarterOf3 },
    Scales { horizontal: Scale::Quarter, vertical: Scale::Quarter },
    Scales { horizontal: Scale::ThreeEighthsOf6, vertical: Scale::ThreeEighthsOf6 },
];

fn decoded_in(file: &[u8], scales: [Scales; 2], streams: Streams) -> Result<Planes, JpegError> {
    let choose = |_, index: usize, _| scales[index.min(1)];
    jpeg::decode_in(streams, file, choose, 64, Damage::Refused, &Deadline::none())
}

/// What is read in streams is what is read from start to end: every sample, or the error.
pub(crate) fn assert_streams_as_serial(file: &[u8], scales: [Scales; 2]) {
    let [serial, streams] =
        [Streams::Never, Streams::Always].map(|streams| decoded_in(file, scales, streams));
    match (serial, streams) {
        (Ok(serial), Ok(streams)) => {
            for (serial, streams) in serial.planes.iter().zip(&streams.planes) {
                assert!(serial.samples == streams.samples, "{scales:?}");
            }
        }
        (serial, streams) => assert_eq!(serial.err(), streams.err()),
    }
}
