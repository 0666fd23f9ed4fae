//! Colours: from what is stored to sRGB.

use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Fractional bits of the factors below.
const BITS: u32 = 16;
const HALF: i32 = 1 << (BITS - 1);
// ITU-T T.871 section 7
const RED_OF_CR: i32 = factor(1.402);
const GREEN_OF_CB: i32 = factor(0.344_136_286);
const GREEN_OF_CR: i32 = factor(0.714_136_286);
const BLUE_OF_CB: i32 = factor(1.772);

const fn factor(value: f64) -> i32 {
    (value * (1 << BITS) as f64 + 0.5) as i32
}

/// ITU-T T.871 section 7.
#[inline]
fn rgb_of_ycbcr([luma, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (luma, cb, cr) = (i32::from(luma) << BITS, i32::from(cb) - 128, i32::from(cr) - 128);
    let sample = |value: i32| ((value + HALF) >> BITS).clamp(0, 255) as u8;
    [
        sample(luma + cr * RED_OF_CR),
        sample(luma - cb * GREEN_OF_CB - cr * GREEN_OF_CR),
        sample(luma + cb * BLUE_OF_CB),
    ]
}

/// The RGB samples of planes of the same size.
pub(super) fn interleave([first, second, third]: &[Vec<u8>; 3], is_ycbcr: bool) -> Vec<u8> {
    let mut samples = Vec::with_capacity(first.len() * 3);
    for ((&first, &second), &third) in first.iter().zip(second).zip(third) {
        let pixel = [first, second, third];
        samples.extend_from_slice(&if is_ycbcr { rgb_of_ycbcr(pixel) } else { pixel });
    }
    samples
}

/// The amounts of ink in samples of CMYK or YCCK. Adobe's programs store the amount of white instead (as Adobe
/// technical note 5116 leaves out); YCCK is the YCbCr of the three colours that the inks take away.
pub(super) fn inks(mut samples: Vec<u8>, is_ycck: bool, is_inverted: bool) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks_mut::<4>();
    for pixel in pixels {
        let [first, second, third, black] = *pixel;
        let mut stored = [first, second, third, black];
        if is_ycck {
            let [red, green, blue] = rgb_of_ycbcr([first, second, third]);
            stored = [255 - red, 255 - green, 255 - blue, black];
        }
        *pixel = if is_inverted { stored.map(|sample| 255 - sample) } else { stored };
    }
    samples
}

/// The picture in sRGB. A profile that cannot be read, or is of another kind than the picture, says nothing, as in
/// browsers.
pub(super) fn to_srgb(picture: DynamicImage, profile: Option<&[u8]>) -> DynamicImage {
    let Some(profile) = profile.and_then(|bytes| ColorProfile::new_from_slice(bytes).ok()) else {
        return picture;
    };
    converted(&picture, &profile).unwrap_or(picture)
}

fn converted(picture: &DynamicImage, profile: &ColorProfile) -> Option<DynamicImage> {
    let (width, height) = (picture.width(), picture.height());
    let samples = picture.as_bytes();
    let is_grey = profile.color_space == DataColorSpace::Gray;
    match picture {
        DynamicImage::ImageLuma8(_) if is_grey => {
            // grey comes out as three equal samples
            let rgb = transformed(samples, profile, Layout::Gray, Layout::Rgb, width, height)?;
            let grey = rgb.into_iter().step_by(3).collect();
            GrayImage::from_raw(width, height, grey).map(DynamicImage::ImageLuma8)
        }
        DynamicImage::ImageLumaA8(_) if is_grey => {
            let rgba = transformed(samples, profile, Layout::GrayAlpha, Layout::Rgba, width, height)?;
            let (pixels, _) = rgba.as_chunks::<4>();
            let grey = pixels.iter().flat_map(|pixel| [pixel[0], pixel[3]]).collect();
            GrayAlphaImage::from_raw(width, height, grey).map(DynamicImage::ImageLumaA8)
        }
        DynamicImage::ImageRgb8(_) if profile.color_space == DataColorSpace::Rgb => {
            let rgb = transformed(samples, profile, Layout::Rgb, Layout::Rgb, width, height)?;
            RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8)
        }
        DynamicImage::ImageRgba8(_) if profile.color_space == DataColorSpace::Rgb => {
            let rgba = transformed(samples, profile, Layout::Rgba, Layout::Rgba, width, height)?;
            RgbaImage::from_raw(width, height, rgba).map(DynamicImage::ImageRgba8)
        }
        _ => None,
    }
}

/// The RGB of inks: as their profile has it, or without one as if each ink took away its colour wholly.
pub(super) fn rgb_of_inks(
    inks: &[u8],
    width: u32,
    height: u32,
    profile: Option<&[u8]>,
) -> Option<DynamicImage> {
    let profile = profile.and_then(|bytes| ColorProfile::new_from_slice(bytes).ok());
    let profile = profile.filter(|profile| profile.color_space == DataColorSpace::Cmyk);
    let rgb = profile
        // four samples are RGBA to the library, whatever they mean
        .and_then(|profile| transformed(inks, &profile, Layout::Rgba, Layout::Rgb, width, height))
        .unwrap_or_else(|| plain_rgb_of_inks(inks));
    RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8)
}

fn plain_rgb_of_inks(inks: &[u8]) -> Vec<u8> {
    let (pixels, _) = inks.as_chunks::<4>();
    let left = |ink: u8, black: u8| (u32::from(255 - ink) * u32::from(255 - black) * 257 + 32_768) >> 16;
    pixels.iter().flat_map(|&[c, m, y, black]| [c, m, y].map(|ink| left(ink, black) as u8)).collect()
}

fn transformed(
    samples: &[u8],
    profile: &ColorProfile,
    from: Layout,
    to: Layout,
    width: u32,
    height: u32,
) -> Option<Vec<u8>> {
    let srgb = ColorProfile::new_srgb();
    let transform = profile.create_transform_8bit(from, &srgb, to, TransformOptions::default()).ok()?;
    let mut output = vec![0; width as usize * height as usize * to.channels()];
    transform.transform(samples, &mut output).ok()?;
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_colours_come_out_of_ycbcr() {
        for (ycbcr, rgb) in [
            ([255, 128, 128], [255, 255, 255]),
            ([0, 128, 128], [0, 0, 0]),
            ([76, 85, 255], [254, 0, 0]),
            ([150, 44, 21], [0, 255, 1]),
            ([29, 255, 107], [0, 0, 254]),
        ] {
            assert_eq!(rgb_of_ycbcr(ycbcr), rgb);
        }
    }

    #[test]
    fn inks_are_the_amounts_whether_stored_inverted_or_not() {
        let cyan = vec![255, 0, 0, 0];
        assert_eq!(inks(cyan.clone(), false, false), cyan);
        assert_eq!(inks(vec![0, 255, 255, 255], false, true), cyan);
        assert_eq!(plain_rgb_of_inks(&cyan), [0, 255, 255]);
        assert_eq!(plain_rgb_of_inks(&[0, 0, 0, 255]), [0, 0, 0]);
    }

    #[test]
    fn a_profile_that_makes_no_sense_changes_nothing() {
        let picture =
            DynamicImage::ImageRgb8(RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8, y as u8, 9])));
        for profile in [&b""[..], b"garbage", &[0; 200]] {
            assert_eq!(to_srgb(picture.clone(), Some(profile)), picture);
        }
    }
}
