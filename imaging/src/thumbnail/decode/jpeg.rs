//! JPEG: by the scaled decoder, and by another one in full, or where that one gives up.

use std::{io::Cursor, panic};

use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::{colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use super::{Decoded, Inks, Picture, Pixels, undecodable};
use crate::{
    Deadline, Limits,
    deadline::UntilDeadline,
    inspect,
    jpeg::{self, ColourModel, JpegError, Scale},
    thumbnail::{ThumbnailError, colour, profile::Profile},
};

/// How many times as many rows as the thumbnail a plane must at least have, so that the thumbnail is as good as one of
/// the whole picture. The less was left out, the less is needed: a block's mean aliases most.
const ROWS_ENOUGH: [(Scale, f64); 3] = [(Scale::Eighth, 1.75), (Scale::Quarter, 1.4), (Scale::Half, 1.15)];
/// The same for colour differences, of which the eye, and a thumbnail in 4:2:0, has half as many.
const CHROMA_ROWS_ENOUGH: f64 = 0.85;

pub(super) fn decode(
    original: &[u8],
    share: f64,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, ThumbnailError> {
    let profile = jpeg::icc_profile(original, limits.max_metadata_bytes);
    let profile = profile.and_then(|bytes| Profile::read(&bytes));
    let choose = |model, index, rows| scale(model, index, rows, share);
    let scaled = if choose(ColourModel::Grey, 0, 1.0) == Scale::Full {
        // with nothing to leave out, the other decoder is the faster one
        None
    } else {
        match jpeg::decode(original, choose, limits.max_scans, deadline) {
            Ok(planes) => Some(planes),
            Err(JpegError::DeadlineExceeded(passed)) => return Err(passed.into()),
            Err(_) => None,
        }
    };
    let pixels = if let Some(planes) = scaled {
        Pixels::Planes(planes)
    } else {
        // the other decoder is lenient, and would take a file that ends too early
        inspect(&mut Cursor::new(original), limits)?;
        decode_in_full(original, deadline)?
    };
    Ok(Decoded { pixels, profile })
}

/// The scale for a component that has this share of the picture's rows.
fn scale(model: ColourModel, index: usize, rows: f64, share: f64) -> Scale {
    let is_chroma = model == ColourModel::YCbCr && index > 0;
    let is_enough = |(scale, enough): &(Scale, f64)| {
        let enough = if is_chroma { CHROMA_ROWS_ENOUGH } else { *enough };
        rows * scale.side() as f64 / 8.0 >= share * enough
    };
    ROWS_ENOUGH.iter().find(|candidate| is_enough(candidate)).map_or(Scale::Full, |(scale, _)| *scale)
}

/// By a decoder that knows all kinds, and shows what it can of a picture whose data are damaged, as browsers do.
fn decode_in_full(original: &[u8], deadline: &Deadline) -> Result<Pixels, ThumbnailError> {
    // fuzzing has found sampling factors that make it panic
    let decoded = panic::catch_unwind(|| decode_leniently(original, deadline));
    decoded.unwrap_or_else(|_| Err(undecodable("its decoder gave up")))
}

fn decode_leniently(original: &[u8], deadline: &Deadline) -> Result<Pixels, ThumbnailError> {
    let source = UntilDeadline::new(Cursor::new(original), *deadline);
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(source, options);
    decoder.decode_headers().map_err(undecodable)?;
    let stored = decoder.input_colorspace().ok_or_else(|| undecodable("it has no components"))?;
    let wanted = match stored {
        ColorSpace::Luma | ColorSpace::CMYK | ColorSpace::YCCK => stored,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let samples = decoder.decode();
    // bytes that dried up look like damage to it
    deadline.check()?;
    let samples = samples.map_err(undecodable)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| undecodable("it has no size"))?;
    let side = |px: usize| u32::try_from(px).map_err(undecodable);
    let (width, height) = (side(width)?, side(height)?);
    let wrong_size = || undecodable("it has less samples than its size says");
    match wanted {
        ColorSpace::CMYK | ColorSpace::YCCK => {
            let is_inverted = jpeg::is_by_adobe(original);
            let samples = colour::inks(samples, wanted == ColorSpace::YCCK, is_inverted);
            Ok(Pixels::Cmyk(Inks { samples, width, height }))
        }
        ColorSpace::Luma => {
            let grey = GrayImage::from_raw(width, height, samples).ok_or_else(wrong_size)?;
            Ok(Pixels::Picture(Picture::whole(DynamicImage::ImageLuma8(grey))))
        }
        _ => {
            let rgb = RgbImage::from_raw(width, height, samples).ok_or_else(wrong_size)?;
            Ok(Pixels::Picture(Picture::whole(DynamicImage::ImageRgb8(rgb))))
        }
    }
}
