//! PNG, row by row: each square of pixels becomes their mean, in a picture about twice as large as
//! the thumbnail, so that the memory is that of a row and of the small picture.

use std::io::{Cursor, ErrorKind};

use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use png::{ColorType, DecodeOptions, Decoder, DecodingError, Reader, Transformations};

use super::{
    Decoded, Picture, Pixels,
    adam7::{self, Squares},
};
use crate::{
    Deadline, Limits,
    deadline::UntilDeadline,
    inspect,
    thumbnail::{ThumbnailError, profile::Profile},
};

/// The small picture has at least so many rows for each of the thumbnail's. With fewer it would
/// show; with more it would only take more memory.
const ROWS_ENOUGH: f64 = 1.85;
/// Rows of 255 that a sum of 16 bits holds.
const MAX_ROWS_IN_SUM: usize = 257;
/// RGBA of 16 bits each.
const MAX_PIXEL_BYTES: u64 = 8;
/// Of RGBA.
const MAX_CHANNELS: u64 = 4;

fn damaged(reason: &str) -> ThumbnailError {
    ThumbnailError::Decode { reason: reason.to_owned() }
}

/// What the decoder's own words, which are for programmers, start with, and what they mean.
const REASONS: [(&str, &str); 7] = [
    ("CRC", "A checksum of the picture is wrong."),
    ("Unrecognized critical chunk", "The file has a required part of an unknown kind."),
    ("Unexpected restart", INTERRUPTED),
    ("Unknown filter", "A row of the picture has an unknown filter."),
    ("IDAT or fDAT", ENDS_EARLY),
    ("Corrupt deflate stream. InsufficientInput", ENDS_EARLY),
    ("Corrupt deflate stream", "The picture's compressed data are damaged."),
];
const INTERRUPTED: &str = "The picture's data are interrupted by another part.";
const ENDS_EARLY: &str = "The picture's data end before its last row.";
const OTHER_REASON: &str = "A part of the file is invalid or in the wrong place.";

fn undecodable(error: DecodingError) -> ThumbnailError {
    damaged(match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "The file ends in the middle of the picture."
        }
        DecodingError::LimitsExceeded => "The picture needs more memory than allowed.",
        other => {
            let words = other.to_string();
            let meaning = REASONS.iter().find(|(start, _)| words.starts_with(start));
            meaning.map_or(OTHER_REASON, |(_, reason)| reason)
        }
    })
}

type PngReader<'a> = Reader<UntilDeadline<Cursor<&'a [u8]>>>;

pub(super) fn decode(
    original: &[u8],
    share: f64,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, ThumbnailError> {
    let decoded = decode_until(original, share, limits, deadline);
    // a decoder whose bytes dried up says so in words of its own
    deadline.check()?;
    decoded.map_err(|error| match error {
        // it reads no farther than to the first part that is something else
        ThumbnailError::Decode { reason }
            if reason == ENDS_EARLY && inspect::is_png_interrupted(original) =>
        {
            damaged(INTERRUPTED)
        }
        other => other,
    })
}

fn decode_until(
    original: &[u8],
    share: f64,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, ThumbnailError> {
    let source = UntilDeadline::new(Cursor::new(original), *deadline);
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    let mut decoder = Decoder::new_with_options(source, options);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_limits(decoder_limits(original, limits));
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let profile = reader.info().icc_profile.as_deref().and_then(Profile::read);
    let factor = factor(share);
    let picture = if factor == 1 {
        Picture::whole(read_whole(&mut reader)?)
    } else {
        match reader.output_color_type().0 {
            ColorType::Grayscale => small::<1>(&mut reader, factor)?,
            ColorType::GrayscaleAlpha => small::<2>(&mut reader, factor)?,
            ColorType::Rgb => small::<3>(&mut reader, factor)?,
            ColorType::Rgba => small::<4>(&mut reader, factor)?,
            ColorType::Indexed => return Err(damaged("The palette was not applied.")),
        }
    };
    Ok(Decoded { pixels: Pixels::Picture(picture), profile })
}

/// The bytes that [`decode`] holds at most.
pub(super) fn memory_needed(width: u32, height: u32, share: f64) -> u64 {
    let (width, height, factor) = (u64::from(width), u64::from(height), factor(share) as u64);
    // as stored and as expanded, and the sums
    let rows = width * (2 * MAX_PIXEL_BYTES + 3 * MAX_CHANNELS);
    let small = width.div_ceil(factor) * height.div_ceil(factor) * MAX_CHANNELS;
    let sums = if factor > adam7::MAX_NARROW_SIDE as u64 { 8 } else { 2 };
    rows + small * if factor == 1 { 1 } else { sums }
}

/// How many pixels a square of the small picture is wide; rounded down, so that it is never smaller
/// than wanted.
fn factor(share: f64) -> usize {
    (1.0 / (share * ROWS_ENOUGH)).max(1.0) as usize
}

/// What the decoder may hold besides the picture: rows, and metadata that nobody wants. Metadata as
/// they are stored, which it holds up to three times (a buffer that doubles, and a copy), must not
/// fail an honest file; those that unpack to more than `max_metadata_bytes` on top are passed over
/// by it.
fn decoder_limits(original: &[u8], limits: &Limits) -> png::Limits {
    let row_bytes = u64::from(limits.max_side_px) * MAX_PIXEL_BYTES;
    let bytes = (row_bytes + 3 * original.len() as u64).saturating_add(limits.max_metadata_bytes);
    png::Limits { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

fn read_whole(reader: &mut PngReader<'_>) -> Result<DynamicImage, ThumbnailError> {
    let size = reader.output_buffer_size().ok_or_else(|| damaged("The picture is too large."))?;
    let mut samples = Vec::new();
    samples.try_reserve_exact(size).map_err(|_| ThumbnailError::OutOfMemory)?;
    samples.resize(size, 0);
    let frame = reader.next_frame(&mut samples).map_err(undecodable)?;
    samples.truncate(frame.buffer_size());
    picture(samples, frame.color_type.samples(), frame.width, frame.height)
}

/// An image of one to four samples a pixel.
fn picture(
    samples: Vec<u8>,
    channels: usize,
    width: u32,
    height: u32,
) -> Result<DynamicImage, ThumbnailError> {
    let picture = match channels {
        1 => GrayImage::from_raw(width, height, samples).map(DynamicImage::ImageLuma8),
        2 => GrayAlphaImage::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8),
        3 => RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8),
        _ => RgbaImage::from_raw(width, height, samples).map(DynamicImage::ImageRgba8),
    };
    picture.ok_or_else(|| damaged("The picture has less samples than its size says."))
}

/// The mean of each square of `factor` × `factor` px; at the right and lower edges, of what is left
/// of it.
fn small<const CHANNELS: usize>(
    reader: &mut PngReader<'_>,
    factor: usize,
) -> Result<Picture, ThumbnailError> {
    let (width, height) = reader.info().size();
    let (small_width, small_height) =
        (width.div_ceil(factor as u32), height.div_ceil(factor as u32));
    let means = match (reader.info().interlaced, factor) {
        (false, _) => shrink::<CHANNELS>(reader, factor)?,
        (true, ..=adam7::MAX_NARROW_SIDE) => shrink_interlaced::<CHANNELS, 2>(reader, factor)?,
        (true, _) => shrink_interlaced::<CHANNELS, 8>(reader, factor)?,
    };
    Ok(Picture {
        pixels: picture(means, CHANNELS, small_width, small_height)?,
        width: f64::from(width) / factor as f64,
        height: f64::from(height) / factor as f64,
        is_premultiplied: matches!(CHANNELS, 2 | 4),
    })
}

fn shrink<const CHANNELS: usize>(
    reader: &mut PngReader<'_>,
    factor: usize,
) -> Result<Vec<u8>, ThumbnailError> {
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    let mut means = Vec::with_capacity(width.div_ceil(factor) * height.div_ceil(factor) * CHANNELS);
    let mut sums = Sums::<CHANNELS>::new(width, factor);
    while let Some(row) = reader.next_row().map_err(undecodable)? {
        sums.add(row.data());
        if sums.rows == factor {
            sums.write_means(factor, &mut means);
        }
    }
    if sums.rows > 0 {
        sums.write_means(factor, &mut means);
    }
    Ok(means)
}

fn shrink_interlaced<const CHANNELS: usize, const BYTES: usize>(
    reader: &mut PngReader<'_>,
    factor: usize,
) -> Result<Vec<u8>, ThumbnailError> {
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    let mut squares = Squares::<CHANNELS, BYTES>::new(width, height, factor)
        .ok_or(ThumbnailError::OutOfMemory)?;
    for place in adam7::rows(width, height) {
        let row = reader.next_row().map_err(undecodable)?;
        squares.add(place, row.ok_or_else(|| damaged("Rows of the picture are missing."))?.data());
    }
    // behind the last row stands the checksum
    reader.next_row().map_err(undecodable)?;
    Ok(squares.into_means())
}

/// The samples multiplied by the last one where that is alpha.
#[inline]
pub(super) fn premultiplied<const CHANNELS: usize>(mut pixel: [u8; CHANNELS]) -> [u8; CHANNELS] {
    if matches!(CHANNELS, 2 | 4) {
        let alpha = u32::from(pixel[CHANNELS - 1]);
        for sample in &mut pixel[..CHANNELS - 1] {
            // divided by 255 and rounded, exactly
            *sample = ((u32::from(*sample) * alpha * 257 + 32_768) >> 16) as u8;
        }
    }
    pixel
}

/// The sums of a column's samples over the rows of a square.
struct Sums<const CHANNELS: usize> {
    /// Of the rows since the last spill: narrow, so that many are added at a time.
    narrow: Vec<u16>,
    /// Of the rows before; empty where no square has so many.
    wide: Vec<u32>,
    rows: usize,
}

impl<const CHANNELS: usize> Sums<CHANNELS> {
    /// For rows of `width` px and squares of `factor` rows.
    fn new(width: usize, factor: usize) -> Self {
        let wide = if factor > MAX_ROWS_IN_SUM { width * CHANNELS } else { 0 };
        Self { narrow: vec![0; width * CHANNELS], wide: vec![0; wide], rows: 0 }
    }

    fn add(&mut self, row: &[u8]) {
        if self.rows > 0 && self.rows.is_multiple_of(MAX_ROWS_IN_SUM) {
            self.spill();
        }
        self.rows += 1;
        if matches!(CHANNELS, 2 | 4) {
            let (sums, _) = self.narrow.as_chunks_mut::<CHANNELS>();
            let (pixels, _) = row.as_chunks::<CHANNELS>();
            for (sums, pixel) in sums.iter_mut().zip(pixels) {
                for (sum, sample) in sums.iter_mut().zip(premultiplied(*pixel)) {
                    *sum += u16::from(sample);
                }
            }
        } else {
            for (sum, &sample) in self.narrow.iter_mut().zip(row) {
                *sum += u16::from(sample);
            }
        }
    }

    fn spill(&mut self) {
        for (wide, narrow) in self.wide.iter_mut().zip(&mut self.narrow) {
            *wide += u32::from(std::mem::take(narrow));
        }
    }

    /// Appends a row of means, and starts anew.
    fn write_means(&mut self, factor: usize, small: &mut Vec<u8>) {
        if self.wide.is_empty() {
            write_means::<u16, CHANNELS>(&self.narrow, factor, self.rows, small);
            self.narrow.fill(0);
        } else {
            self.spill();
            write_means::<u32, CHANNELS>(&self.wide, factor, self.rows, small);
            self.wide.fill(0);
        }
        self.rows = 0;
    }
}

/// The means of squares of `factor` columns, whose samples are summed up over `rows`.
fn write_means<T: Copy + Into<u64>, const CHANNELS: usize>(
    sums: &[T],
    factor: usize,
    rows: usize,
    small: &mut Vec<u8>,
) {
    let mut divisor = Divisor::new(factor * rows);
    for square in sums.chunks(factor * CHANNELS) {
        let (columns, _) = square.as_chunks::<CHANNELS>();
        if columns.len() < factor {
            divisor = Divisor::new(columns.len() * rows);
        }
        let mut totals = [0; CHANNELS];
        for column in columns {
            for (total, &sum) in totals.iter_mut().zip(column) {
                *total += sum.into();
            }
        }
        small.extend(totals.map(|total| divisor.mean(total)));
    }
}

/// Divides many numbers by the same one, by a multiplication.
pub(super) struct Divisor {
    by: u64,
    reciprocal: u64,
}

impl Divisor {
    /// Above this the quotient would not be exact.
    const MAX: u64 = (MAX_ROWS_IN_SUM * MAX_ROWS_IN_SUM) as u64;
    const SHIFT: u32 = 44;

    pub(super) fn new(by: usize) -> Self {
        let by = by as u64;
        Self { by, reciprocal: (1_u64 << Self::SHIFT).div_ceil(by) }
    }

    /// The rounded mean of as many samples as the divisor says.
    pub(super) fn mean(&self, sum: u64) -> u8 {
        self.divide(sum + self.by / 2) as u8
    }

    /// The quotient of a number below 256 times the divisor. The reciprocal is too large by less
    /// than 1, which makes up less than the remainder while the product of number and divisor is
    /// below 2 to [`Self::SHIFT`].
    fn divide(&self, number: u64) -> u64 {
        if self.by > Self::MAX {
            number / self.by
        } else {
            (number * self.reciprocal) >> Self::SHIFT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_exact_over_any_number_of_rows() {
        for factor in [1, 2, 257, 258, 1000] {
            let mut sums = Sums::<1>::new(5, factor);
            for _ in 0..factor {
                sums.add(&[255, 255, 255, 0, 100]);
            }
            let mut means = Vec::new();
            sums.write_means(3, &mut means);
            assert_eq!(means, [255, 50], "{factor} rows");
        }
    }

    #[test]
    fn a_small_file_cannot_make_the_decoder_hold_much() {
        let limits = Limits { max_side_px: 1000, max_metadata_bytes: 5000, ..Limits::default() };
        assert_eq!(decoder_limits(&[0; 200], &limits).bytes, 8000 + 600 + 5000);
    }

    #[test]
    fn a_quotient_is_exact() {
        for by in (1..=300).chain(65_000..=66_049).chain(1_000_000..1_000_010) {
            let divisor = Divisor::new(by);
            for quotient in 0..256 {
                let number = quotient * by as u64;
                assert_eq!(divisor.divide(number), quotient, "{number} / {by}");
                assert_eq!(divisor.divide(number + by as u64 - 1), quotient, "{number} / {by}");
            }
        }
    }

    #[test]
    fn colours_count_as_much_as_they_can_be_seen() {
        let mut sums = Sums::<4>::new(2, 2);
        sums.add(&[200, 100, 0, 255, 9, 9, 9, 0]);
        let mut means = Vec::new();
        sums.write_means(2, &mut means);
        // of the two pixels one is not to be seen: half as much of the colour, and half the alpha
        assert_eq!(means, [100, 50, 0, 128]);
    }
}
