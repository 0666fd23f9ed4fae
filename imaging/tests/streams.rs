//! Scans that are read at several positions in turn, against those that are read from start to end.

use imaging::{
    Deadline,
    jpeg::{self, Damage, JpegError, Planes, Scale, Scales, Streams},
};
use jpeg_encoder::ColorType;
use proptest::prelude::*;

use crate::{
    fixtures::cmyk,
    scaled::{BY_LIBJPEG, Variant, variant},
};

/// The scales at which scans are read in streams.
pub(crate) const SCALES: [Scales; 5] = [
    Scales { horizontal: Scale::Eighth, vertical: Scale::Eighth },
    Scales { horizontal: Scale::Quarter, vertical: Scale::Eighth },
    Scales { horizontal: Scale::QuarterOf3, vertical: Scale::QuarterOf3 },
    Scales { horizontal: Scale::Quarter, vertical: Scale::Quarter },
    Scales { horizontal: Scale::ThreeEighthsOf6, vertical: Scale::ThreeEighthsOf6 },
];

fn decoded(file: &[u8], scales: [Scales; 2], streams: Streams) -> Result<Planes, JpegError> {
    let choose = |_, index: usize, _| scales[index.min(1)];
    jpeg::decode_in(streams, file, choose, 64, Damage::Refused, &Deadline::none())
}

/// Every sample is the same, or the error is.
fn assert_as_serial(file: &[u8], scales: [Scales; 2]) {
    let [serial, streams] =
        [Streams::Never, Streams::Always].map(|streams| decoded(file, scales, streams));
    match (serial, streams) {
        (Ok(serial), Ok(streams)) => {
            for (serial, streams) in serial.planes.iter().zip(&streams.planes) {
                assert!(serial.samples == streams.samples, "{scales:?}");
            }
        }
        (serial, streams) => assert_eq!(serial.err(), streams.err()),
    }
}

/// What a fault does to a file.
#[derive(Clone, Debug)]
enum Fault {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
}

impl Fault {
    fn apply(&self, file: &mut Vec<u8>) {
        if file.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(file.len());
                file[at] ^= bits;
            }
            Self::Cut(at) => file.truncate(at.index(file.len())),
            Self::Insert(at, bytes) => {
                let at = at.index(file.len());
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(file.len());
                file.drain(at..(at + count).min(file.len()));
            }
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let marker = (0xD0..=0xDA_u8).prop_map(|code| vec![0xFF, code]);
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 1..40), marker];
    prop_oneof![
        4 => (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, bits)| Fault::Flip(at, bits)),
        1 => any::<prop::sample::Index>().prop_map(Fault::Cut),
        1 => (any::<prop::sample::Index>(), bytes).prop_map(|(at, bytes)| Fault::Insert(at, bytes)),
        1 => (any::<prop::sample::Index>(), 1..40_usize)
            .prop_map(|(at, count)| Fault::Remove(at, count)),
    ]
}

fn sequential() -> impl Strategy<Value = Variant> {
    (variant(), prop_oneof![1..70_u16, 70..400_u16], prop_oneof![Just(0), 1..80_u16]).prop_map(
        |(variant, width, restart_interval)| Variant {
            width,
            restart_interval,
            has_own_tables: variant.has_own_tables && restart_interval == 0,
            progressive_scans: None,
            ..variant
        },
    )
}

fn scales() -> impl Strategy<Value = Scales> {
    prop::sample::select(SCALES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn streams_read_what_the_serial_decoder_reads(
        variant in sequential(),
        scales in [scales(), scales()],
        seed in any::<u32>(),
    ) {
        assert_as_serial(&variant.encode(seed), scales);
    }

    #[test]
    fn streams_take_no_damaged_file_for_another(
        variant in sequential(),
        scales in [scales(), scales()],
        seed in any::<u32>(),
        faults in prop::collection::vec(fault(), 1..4),
    ) {
        let mut file = variant.encode(seed);
        for fault in &faults {
            fault.apply(&mut file);
        }
        assert_as_serial(&file, scales);
    }
}

#[test]
fn streams_read_what_libjpeg_wrote() {
    let inks = [ColorType::Cmyk, ColorType::CmykAsYcck].map(|kind| cmyk(240, 180, kind));
    for file in BY_LIBJPEG.into_iter().chain(inks.iter().map(Vec::as_slice)) {
        for luma in SCALES {
            for chroma in SCALES {
                assert_as_serial(file, [luma, chroma]);
            }
        }
    }
}
