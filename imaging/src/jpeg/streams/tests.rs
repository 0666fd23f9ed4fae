//! That streams meet, and that nothing is taken that is not sound; what they read is compared with
//! the serial decoder in the crate's tests.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::{
    super::{
        JpegError, Scale, Streams,
        header::{Next, Segments, Tables},
        plane::Plane,
        scan::Geometry,
        transform::Sides,
    },
    decode_scan,
};
use crate::Deadline;

/// A picture of noise and flat parts.
fn file(sampling: SamplingFactor, restart_interval: u16) -> Vec<u8> {
    let (width, height) = (500_u16, 300_u16);
    let mut noise = 1_u32;
    let samples: Vec<u8> = (0..u32::from(width) * u32::from(height) * 3)
        .map(|at| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at / 20_000 % 2 == 0 { (noise >> 24) as u8 } else { 90 }
        })
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.set_sampling_factor(sampling);
    if restart_interval > 0 {
        encoder.set_restart_interval(restart_interval);
    }
    encoder.encode(&samples, width, height, ColorType::Rgb).expect("a file");
    bytes
}

/// Whether the streams take a file, or leave it to the serial decoder.
fn are_used(file: &[u8], deadline: &Deadline) -> Result<bool, JpegError> {
    let (mut segments, mut tables) = (Segments::new(file), Tables::default());
    let Next::Frame(frame) = segments.next(&mut tables, None)? else { panic!("no frame") };
    let Next::Scan(scan) = segments.next(&mut tables, Some(&frame))? else { panic!("no scan") };
    let sides = vec![Sides::of(Scale::Quarter.into()); frame.components.len()];
    let mut planes = (0..sides.len())
        .map(|index| Plane::new(&frame, index, sides[index]))
        .collect::<Result<Vec<_>, _>>()?;
    let geometry = Geometry::new(&frame, &scan);
    let conditions = (Streams::Always, deadline);
    decode_scan(file, (&frame, &scan, &tables), &geometry, (&mut planes, &sides), conditions)
        .map(|end| end.is_some())
}

#[test]
fn streams_meet() {
    for sampling in [SamplingFactor::R_4_2_0, SamplingFactor::R_4_2_2, SamplingFactor::R_4_4_4] {
        for restart_interval in [0, 7, 50] {
            let file = file(sampling, restart_interval);
            assert_eq!(are_used(&file, &Deadline::none()), Ok(true), "{sampling:?}");
        }
    }
}

#[test]
fn what_is_left_out_or_added_is_seen() {
    for restart_interval in [0, 50] {
        let whole = file(SamplingFactor::R_4_2_0, restart_interval);
        let middle = whole.len() / 2;
        let mut shorter = whole.clone();
        shorter.drain(middle..middle + 300);
        let mut longer = whole.clone();
        longer.splice(whole.len() - 2..whole.len() - 2, [0x12; 30]);
        for file in [shorter, longer] {
            assert_eq!(are_used(&file, &Deadline::none()), Ok(false));
        }
    }
}

#[test]
fn the_deadline_is_kept() {
    let file = file(SamplingFactor::R_4_2_0, 0);
    let passed = Deadline::after(std::time::Duration::ZERO);
    assert!(matches!(are_used(&file, &passed), Err(JpegError::DeadlineExceeded(_))));
}
