//! The scaled decoder against the reference.

use imaging::{
    Deadline,
    jpeg::{self, ColourModel, Damage, Scale},
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;

use crate::{
    compare,
    fixtures::{segment, with_segments},
    reference::Reference,
};

/// How a JPEG is made.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) quality: u8,
    pub(crate) sampling: SamplingFactor,
    pub(crate) is_grey: bool,
    /// None is sequential.
    pub(crate) progressive_scans: Option<u8>,
    /// In MCUs; 0 is none.
    pub(crate) restart_interval: u16,
    pub(crate) has_own_tables: bool,
}

impl Variant {
    /// A picture of waves and noise, which has coefficients of all frequencies.
    pub(crate) fn encode(&self, seed: u32) -> Vec<u8> {
        let mut noise = seed | 1;
        let mut sample = |x: u16, y: u16, channel: u16| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let wave = (f64::from(x) / 5.0 + f64::from(channel)).sin() * (f64::from(y) / 9.0).cos();
            (128.0 + 90.0 * wave + f64::from(noise % 64) - 32.0) as u8
        };
        let (channels, kind) =
            if self.is_grey { (1, ColorType::Luma) } else { (3, ColorType::Rgb) };
        let mut samples = Vec::new();
        for y in 0..self.height {
            for x in 0..self.width {
                samples.extend((0..channels).map(|channel| sample(x, y, channel)));
            }
        }
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.quality);
        encoder.set_sampling_factor(self.sampling);
        match self.progressive_scans {
            Some(scans) => encoder.set_progressive_scans(scans),
            None => encoder.set_progressive(false),
        }
        if self.restart_interval > 0 {
            encoder.set_restart_interval(self.restart_interval);
        }
        encoder.set_optimized_huffman_tables(self.has_own_tables);
        encoder.encode(&samples, self.width, self.height, kind).expect("an encoded picture");
        bytes
    }
}

pub(crate) fn variant() -> impl Strategy<Value = Variant> {
    let sampling = prop::sample::select(vec![
        SamplingFactor::R_4_4_4,
        SamplingFactor::R_4_2_2,
        SamplingFactor::R_4_4_0,
        SamplingFactor::R_4_2_0,
        SamplingFactor::R_4_1_1,
    ]);
    let scans = prop::option::of(3..20_u8);
    let shape = (1..70_u16, 1..70_u16, 20..=100_u8, prop::bool::weighted(0.2));
    (shape, sampling, scans, prop_oneof![Just(0), 1..6_u16], any::<bool>()).prop_map(
        |(
            (width, height, quality, is_grey),
            sampling,
            progressive_scans,
            restart_interval,
            has_own_tables,
        )| Variant {
            width,
            height,
            quality,
            sampling,
            is_grey,
            progressive_scans,
            restart_interval,
            // the encoder cannot do both
            has_own_tables: has_own_tables && restart_interval == 0,
        },
    )
}

fn decoded(file: &[u8], scales: [Scale; 2]) -> jpeg::Planes {
    let choose = |_, index: usize, _| scales[index.min(1)].into();
    jpeg::decode(file, choose, 64, Damage::Refused, &Deadline::none()).expect("planes")
}

fn assert_as_reference(file: &[u8], scales: [Scale; 2]) {
    compare::assert_same(&decoded(file, scales), &Reference::of(file), scales);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_kind_of_jpeg_is_decoded_as_the_standard_says(
        variant in variant(),
        luma in prop::sample::select(Scale::ALL.to_vec()),
        chroma in prop::sample::select(Scale::ALL.to_vec()),
        seed in any::<u32>(),
    ) {
        assert_as_reference(&variant.encode(seed), [luma, chroma]);
    }
}

#[test]
fn each_scale_of_each_kind_is_met() {
    for sampling in [SamplingFactor::R_4_2_0, SamplingFactor::R_4_1_1] {
        for progressive_scans in [None, Some(10)] {
            for restart_interval in [0, 1, 3] {
                let variant = Variant {
                    width: 61,
                    height: 47,
                    quality: 90,
                    sampling,
                    is_grey: false,
                    progressive_scans,
                    restart_interval,
                    has_own_tables: restart_interval == 0,
                };
                let file = variant.encode(7);
                for scale in Scale::ALL {
                    assert_as_reference(&file, [scale, scale]);
                }
            }
        }
    }
}

/// What the encoder above cannot make.
pub(crate) const BY_LIBJPEG: [&[u8]; 4] = [
    include_bytes!("pictures/progressive-420.jpg"),
    include_bytes!("pictures/progressive-444-restart.jpg"),
    include_bytes!("pictures/progressive-grey.jpg"),
    include_bytes!("pictures/one-scan-each-420.jpg"),
];

#[test]
fn successive_approximation_and_scans_of_one_component_are_read() {
    for file in BY_LIBJPEG {
        for luma in Scale::ALL {
            for chroma in Scale::ALL {
                assert_as_reference(file, [luma, chroma]);
            }
        }
    }
}

#[test]
fn what_is_left_out_of_a_scan_is_noticed() {
    let whole = Variant {
        width: 61,
        height: 47,
        quality: 90,
        sampling: SamplingFactor::R_4_2_0,
        is_grey: false,
        progressive_scans: None,
        restart_interval: 0,
        has_own_tables: false,
    };
    let whole = whole.encode(3);
    let end = whole.len() - 2;
    let decode = |file: &[u8]| {
        jpeg::decode(file, |_, _, _| Scale::Eighth.into(), 64, Damage::Refused, &Deadline::none())
            .map(drop)
    };
    assert_eq!(decode(&whole), Ok(()));
    // less data, more data, no end, and another picture behind it
    for damaged in [
        [&whole[..end - 40], &whole[end..]].concat(),
        [&whole[..end], &[0x55; 40], &whole[end..]].concat(),
        whole[..end].to_vec(),
        [&whole[..end], &whole[2..]].concat(),
    ] {
        assert!(decode(&damaged).is_err());
    }
}

#[test]
fn more_scans_than_the_limit_are_refused() {
    let file = BY_LIBJPEG[0];
    let decode = |max_scans| {
        jpeg::decode(
            file,
            |_, _, _| Scale::Eighth.into(),
            max_scans,
            Damage::Refused,
            &Deadline::none(),
        )
    };
    assert!(decode(9).is_err());
    assert!(decode(10).is_ok());
}

#[test]
fn a_deadline_stops_a_decode() {
    let past = Deadline::after(std::time::Duration::ZERO);
    for file in BY_LIBJPEG {
        let outcome = jpeg::decode(file, |_, _, _| Scale::Full.into(), 64, Damage::Refused, &past);
        assert!(matches!(outcome, Err(jpeg::JpegError::DeadlineExceeded(_))));
    }
}

#[test]
fn the_colour_model_is_guessed_as_libjpeg_does() {
    let variant = Variant {
        width: 16,
        height: 16,
        quality: 90,
        sampling: SamplingFactor::R_4_4_4,
        is_grey: false,
        progressive_scans: None,
        restart_interval: 0,
        has_own_tables: false,
    };
    let file = variant.encode(5);
    let model = |file: &[u8]| {
        jpeg::decode(file, |_, _, _| Scale::Eighth.into(), 64, Damage::Refused, &Deadline::none())
            .expect("planes")
            .model
    };
    let adobe = |transform| segment(0xEE, &[b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat());
    let jfif = usize::from(file[5]) + 2;
    assert_eq!(&file[6..10], b"JFIF");
    let bare = [&file[..2], &file[2 + jfif..]].concat();
    assert_eq!(model(&file), ColourModel::YCbCr);
    assert_eq!(
        model(&with_segments(&file, &[adobe(0)])),
        ColourModel::YCbCr,
        "JFIF has luma, whoever else was there"
    );
    assert_eq!(model(&bare), ColourModel::YCbCr);
    assert_eq!(model(&with_segments(&bare, &[adobe(0)])), ColourModel::Rgb);
    assert_eq!(model(&with_segments(&bare, &[adobe(1)])), ColourModel::YCbCr);
    // components named R, G and B, in the frame and in the scan
    let mut named = bare.clone();
    let frame = named.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("a frame") + 10;
    let scan = named.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan") + 5;
    for (number, name) in b"RGB".iter().enumerate() {
        named[frame + number * 3] = *name;
        named[scan + number * 2] = *name;
    }
    assert_eq!(model(&named), ColourModel::Rgb);
    let grey = Variant { is_grey: true, ..variant };
    assert_eq!(model(&grey.encode(5)), ColourModel::Grey);
}

#[test]
fn a_second_frame_behind_the_last_scan_that_is_needed_is_refused() {
    let file = BY_LIBJPEG[0];
    let frame = file.windows(2).position(|marker| marker == [0xFF, 0xC2]).expect("a frame");
    let length = 2 + usize::from(file[frame + 3]);
    let end = file.len() - 2;
    let twice = [&file[..end], &file[frame..frame + length], &file[end..]].concat();
    let outcome = jpeg::decode(
        &twice,
        |_, _, _| Scale::Eighth.into(),
        64,
        Damage::Refused,
        &Deadline::none(),
    );
    assert!(matches!(outcome, Err(jpeg::JpegError::Corrupt(_))));
}

#[test]
fn only_planes_as_stored_are_known_as_half_the_picture() {
    let [subsampled, whole] = [BY_LIBJPEG[0], BY_LIBJPEG[1]];
    for scale in Scale::ALL {
        let halves = |file: &[u8]| -> Vec<_> {
            let planes = decoded(file, [scale, scale]).planes;
            planes.iter().map(|plane| (plane.is_half_wide, plane.is_half_high)).collect()
        };
        let chroma = (scale == Scale::Full, scale == Scale::Full);
        assert_eq!(halves(subsampled), [(false, false), chroma, chroma]);
        assert_eq!(halves(whole), [(false, false); 3]);
    }
}
