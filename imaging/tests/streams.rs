//! Scans that are read at several positions in turn, against those that are read from start to end.

use imaging::jpeg::Scales;
use jpeg_encoder::ColorType;
use proptest::prelude::*;

use crate::{
    compare::{self, STREAM_SCALES},
    fixtures::{cmyk, jpeg},
    scaled::{BY_LIBJPEG, Variant, variant},
};

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
    prop::sample::select(STREAM_SCALES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn streams_read_what_the_serial_decoder_reads(
        variant in sequential(),
        scales in [scales(), scales()],
        seed in any::<u32>(),
    ) {
        compare::assert_streams_as_serial(&variant.encode(seed), scales);
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
        compare::assert_streams_as_serial(&file, scales);
    }
}

#[test]
fn streams_read_what_libjpeg_wrote() {
    let inks = [ColorType::Cmyk, ColorType::CmykAsYcck].map(|kind| cmyk(240, 180, kind));
    for file in BY_LIBJPEG.into_iter().chain(inks.iter().map(Vec::as_slice)) {
        for luma in STREAM_SCALES {
            for chroma in STREAM_SCALES {
                compare::assert_streams_as_serial(file, [luma, chroma]);
            }
        }
    }
}

#[test]
fn a_scan_that_starts_behind_the_end_is_left_alone() {
    let mut file = jpeg(40, 30);
    let start = file.windows(2).position(|bytes| bytes == [0xFF, 0xDA]).expect("a scan");
    // the scan's header takes all that is left
    file.truncate(start + 14);
    file.extend([0xFF, 0xD9]);
    file[start + 3] = 14;
    for scales in STREAM_SCALES {
        compare::assert_streams_as_serial(&file, [scales; 2]);
    }
}
