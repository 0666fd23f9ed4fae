//! Resizing with Lanczos3 in the stored, gamma-encoded samples, as libvips does. Alpha is
//! premultiplied meanwhile, so that what is transparent does not bleed.

use std::{array, borrow::Cow, f64::consts::PI};

use fast_image_resize::{
    Filter, FilterType, MulDiv, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{DynamicImage, GrayImage, RgbImage};

use super::{
    ThumbnailError, colour,
    decode::{Decoded, Picture, Pixels},
    upsample::doubled,
};
use crate::jpeg::{ColourModel, Plane, Planes};

/// Samples of a plane up to which it may be copied, to be resized with others.
const MAX_SAMPLES_TOGETHER: usize = 1 << 19;

/// What was decoded in `width` × `height` px, its colours in sRGB.
pub(super) fn resize(decoded: &Decoded, size: (u32, u32)) -> Result<DynamicImage, ThumbnailError> {
    let profile = decoded.profile.as_ref();
    let picture = match &decoded.pixels {
        Pixels::Planes(planes) => match planes.model {
            ColourModel::Grey => {
                let [grey] = resize_planes(planes, size)?;
                let grey = GrayImage::from_raw(size.0, size.1, grey).map(DynamicImage::ImageLuma8);
                grey.ok_or_else(wrong_size)?
            }
            model @ (ColourModel::YCbCr | ColourModel::Rgb) => rgb_picture(
                colour::interleave(&resize_planes(planes, size)?, model == ColourModel::YCbCr),
                size,
            )?,
            model @ (ColourModel::Cmyk | ColourModel::Ycck) => {
                let samples = resize_planes(planes, size)?;
                let inks = colour::inks(&samples, model == ColourModel::Ycck);
                let rgb = profile.and_then(|profile| profile.rgb_of_inks(&inks));
                return rgb_picture(rgb.unwrap_or_else(|| colour::plain_rgb_of_inks(&inks)), size);
            }
        },
        Pixels::Picture(picture) => resize_picture(picture, size)?,
    };
    Ok(profile.and_then(|profile| profile.to_srgb(&picture)).unwrap_or(picture))
}

fn rgb_picture(rgb: Vec<u8>, (width, height): (u32, u32)) -> Result<DynamicImage, ThumbnailError> {
    RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8).ok_or_else(wrong_size)
}

/// The samples of each component, of which there must be as many as the colours have.
fn resize_planes<const N: usize>(
    planes: &Planes,
    size: (u32, u32),
) -> Result<[Vec<u8>; N], ThumbnailError> {
    let prepared: Vec<_> = planes.planes.iter().map(|plane| interpolated(plane, size)).collect();
    let mut resized = Vec::new();
    // the colour differences of nearly all pictures, and the inks of most
    for alike in prepared.chunk_by(|one, other| is_alike(one, other)) {
        match alike {
            [_, _] => resized.extend(resize_together::<2>(alike, PixelType::U8x2, size)?),
            [_, _, _] => resized.extend(resize_together::<3>(alike, PixelType::U8x3, size)?),
            [_, _, _, _] => resized.extend(resize_together::<4>(alike, PixelType::U8x4, size)?),
            _ => {
                for plane in alike {
                    resized.push(resize_plane(plane, size)?);
                }
            }
        }
    }
    let wrong = || failed("The picture has another number of components than its colours.");
    resized.try_into().map_err(|_| wrong())
}

/// A plane that shares samples between pixels, as wide and high as the picture.
fn interpolated(plane: &Plane, size: (u32, u32)) -> Cow<'_, Plane> {
    // with twice as many samples as the thumbnail it makes no difference
    let is_wider = plane.is_half_wide && plane.width < f64::from(size.0) * 2.0;
    let is_higher = plane.is_half_high && plane.height < f64::from(size.1) * 2.0;
    if is_wider || is_higher {
        Cow::Owned(doubled(plane, is_wider, is_higher))
    } else {
        Cow::Borrowed(plane)
    }
}

/// Whether two planes are worth to be resized together, which is faster, but takes a copy.
fn is_alike(one: &Plane, other: &Plane) -> bool {
    let (width, height) = (one.width.ceil() as usize, one.height.ceil() as usize);
    let is_same = one.width.to_bits() == other.width.to_bits()
        && one.height.to_bits() == other.height.to_bits();
    is_same && width * height <= MAX_SAMPLES_TOGETHER
}

fn resize_together<const N: usize>(
    planes: &[Cow<'_, Plane>],
    kind: PixelType,
    (width, height): (u32, u32),
) -> Result<[Vec<u8>; N], ThumbnailError> {
    let first = &planes[0];
    let (columns, rows) = (first.width.ceil() as usize, first.height.ceil() as usize);
    let mut samples = vec![0; columns * rows * N];
    for (y, row) in samples.chunks_exact_mut(columns * N).enumerate() {
        let (pixels, _) = row.as_chunks_mut::<N>();
        for (index, plane) in planes.iter().take(N).enumerate() {
            let source = &plane.samples[y * plane.stride..][..columns];
            for (pixel, &sample) in pixels.iter_mut().zip(source) {
                pixel[index] = sample;
            }
        }
    }
    let side = |samples: usize| u32::try_from(samples).map_err(failed);
    let source = ImageRef::new(side(columns)?, side(rows)?, &samples, kind).map_err(failed)?;
    let mut target = Image::new(width, height, kind);
    let options = lanczos().crop(0.0, 0.0, first.width, first.height).use_alpha(false);
    Resizer::new().resize(&source, &mut target, &options).map_err(failed)?;
    let (pixels, _) = target.buffer().as_chunks::<N>();
    Ok(array::from_fn(|index| pixels.iter().map(|pixel| pixel[index]).collect()))
}

fn failed(error: impl std::fmt::Display) -> ThumbnailError {
    ThumbnailError::Decode { reason: error.to_string() }
}

fn wrong_size() -> ThumbnailError {
    failed("The picture has less samples than its size says.")
}

fn lanczos() -> ResizeOptions {
    let filter = Filter::new("Lanczos3", lanczos3, LOBES);
    let filter = filter.map_or(FilterType::Lanczos3, FilterType::Custom);
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter))
}

/// Samples of the result on either side that count.
const LOBES: f64 = 3.0;

/// sinc(x) · sinc(x / 3), by one sine that is a polynomial: a thumbnail has some ten thousand
/// weights, and the sines of the library took as long as much of the resize.
fn lanczos3(x: f64) -> f64 {
    if x.abs() >= LOBES {
        return 0.0;
    }
    let turn = x.abs() * (PI / LOBES);
    if turn < 1e-6 {
        return 1.0;
    }
    // sin(t) = sin(π - t)
    let near = turn.min(PI - turn);
    let series = SINE.iter().rev().fold(0.0, |sum, factor| sum * near * near + factor);
    let sine = near * series;
    // sin(3t) = 3 sin(t) - 4 sin³(t)
    let threefold = sine * (3.0 - 4.0 * sine * sine);
    sine * threefold / (LOBES * turn * turn)
}

/// The series of sin(t) / t, which is exact to 13 digits up to π/2.
const SINE: [f64; 9] = {
    let (mut series, mut at) = ([1.0; 9], 1);
    while at < series.len() {
        let two = 2.0 * at as f64;
        series[at] = -series[at - 1] / (two * (two + 1.0));
        at += 1;
    }
    series
};

/// Takes just so many samples as the picture is wide and high.
fn resize_plane(plane: &Plane, (width, height): (u32, u32)) -> Result<Vec<u8>, ThumbnailError> {
    let side = |samples: usize| u32::try_from(samples).map_err(failed);
    let source =
        ImageRef::new(side(plane.stride)?, side(plane.rows)?, &plane.samples, PixelType::U8);
    let source = source.map_err(failed)?;
    let mut target = Image::new(width, height, PixelType::U8);
    let options = lanczos().crop(0.0, 0.0, plane.width, plane.height);
    Resizer::new().resize(&source, &mut target, &options).map_err(failed)?;
    Ok(target.into_vec())
}

/// A picture in `width` × `height` px, its colours as they are.
pub(super) fn resize_picture(
    picture: &Picture,
    (width, height): (u32, u32),
) -> Result<DynamicImage, ThumbnailError> {
    let pixels = &picture.pixels;
    if (pixels.width(), pixels.height()) == (width, height) && !picture.is_premultiplied {
        return Ok(pixels.clone());
    }
    let mut resized = DynamicImage::new(width, height, pixels.color());
    let options = lanczos()
        .crop(0.0, 0.0, picture.width, picture.height)
        .use_alpha(!picture.is_premultiplied);
    let outcome: Result<(), ResizeError> = Resizer::new().resize(pixels, &mut resized, &options);
    outcome.map_err(failed)?;
    if picture.is_premultiplied {
        MulDiv::new().divide_alpha_inplace(&mut resized).map_err(failed)?;
    }
    Ok(resized)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_the_product_of_two_sincs() {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
        for step in -4000..=4000 {
            let x = f64::from(step) / 1000.0;
            let expected = if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 };
            assert!((lanczos3(x) - expected).abs() < 1e-11, "{x}: {}", lanczos3(x));
        }
    }
}
