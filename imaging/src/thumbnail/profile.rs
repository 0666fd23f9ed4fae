//! Colour profiles (ICC.1:2022): from what a file's samples mean to sRGB.

use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, ToneReprCurve, TransformOptions, Xyzd};

/// How far a colorant may be from that of sRGB, or a curve from its curve, and count as the same;
/// profiles are stored with 16 bits, and rounded differently.
const SAME: f64 = 0.001;
/// Points at which a curve is held against another, less one.
const CURVE_STEPS: usize = 16;

/// A profile that makes a difference.
pub(super) struct Profile(ColorProfile);

impl Profile {
    /// Reads a profile. One that cannot be read says nothing, as in browsers, and that of sRGB
    /// needs no conversion.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        ColorProfile::new_from_slice(bytes).ok().filter(|profile| !is_srgb(profile)).map(Self)
    }

    /// The picture in sRGB; none when the profile is of another kind than the picture.
    pub(super) fn to_srgb(&self, picture: &DynamicImage) -> Option<DynamicImage> {
        let (width, height) = (picture.width(), picture.height());
        let samples = picture.as_bytes();
        match (picture, self.0.color_space) {
            (DynamicImage::ImageLuma8(_), DataColorSpace::Gray) => {
                // grey comes out as three equal samples
                let rgb = self.transformed(samples, Layout::Gray, Layout::Rgb)?;
                let grey = rgb.into_iter().step_by(3).collect();
                GrayImage::from_raw(width, height, grey).map(DynamicImage::ImageLuma8)
            }
            (DynamicImage::ImageLumaA8(_), DataColorSpace::Gray) => {
                let rgba = self.transformed(samples, Layout::GrayAlpha, Layout::Rgba)?;
                let (pixels, _) = rgba.as_chunks::<4>();
                let grey = pixels.iter().flat_map(|pixel| [pixel[0], pixel[3]]).collect();
                GrayAlphaImage::from_raw(width, height, grey).map(DynamicImage::ImageLumaA8)
            }
            (DynamicImage::ImageRgb8(_), DataColorSpace::Rgb) => {
                let rgb = self.transformed(samples, Layout::Rgb, Layout::Rgb)?;
                RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8)
            }
            (DynamicImage::ImageRgba8(_), DataColorSpace::Rgb) => {
                let rgba = self.transformed(samples, Layout::Rgba, Layout::Rgba)?;
                RgbaImage::from_raw(width, height, rgba).map(DynamicImage::ImageRgba8)
            }
            _ => None,
        }
    }

    /// The RGB samples of inks; none when the profile is not of inks.
    pub(super) fn rgb_of_inks(&self, inks: &[u8]) -> Option<Vec<u8>> {
        // four samples are RGBA to the library, whatever they mean
        (self.0.color_space == DataColorSpace::Cmyk)
            .then(|| self.transformed(inks, Layout::Rgba, Layout::Rgb))
            .flatten()
    }

    fn transformed(&self, samples: &[u8], from: Layout, to: Layout) -> Option<Vec<u8>> {
        let srgb = ColorProfile::new_srgb();
        let transform =
            self.0.create_transform_8bit(from, &srgb, to, TransformOptions::default()).ok()?;
        let mut output = vec![0; samples.len() / from.channels() * to.channels()];
        transform.transform(samples, &mut output).ok()?;
        Some(output)
    }
}

/// Whether the profile is that of sRGB by its numbers, whatever its name.
fn is_srgb(profile: &ColorProfile) -> bool {
    let srgb = ColorProfile::new_srgb();
    let is_same = |one: Xyzd, other: Xyzd| {
        [one.x - other.x, one.y - other.y, one.z - other.z]
            .iter()
            .all(|difference| difference.abs() < SAME)
    };
    profile.color_space == DataColorSpace::Rgb
        && profile.pcs == DataColorSpace::Xyz
        && profile.lut_a_to_b_perceptual.is_none()
        && profile.lut_a_to_b_colorimetric.is_none()
        && is_same(profile.red_colorant, srgb.red_colorant)
        && is_same(profile.green_colorant, srgb.green_colorant)
        && is_same(profile.blue_colorant, srgb.blue_colorant)
        && [&profile.red_trc, &profile.green_trc, &profile.blue_trc]
            .into_iter()
            .all(|curve| curve.as_ref().is_some_and(is_srgb_curve))
}

fn is_srgb_curve(curve: &ToneReprCurve) -> bool {
    (0..=CURVE_STEPS).map(|step| step as f64 / CURVE_STEPS as f64).all(|value| {
        // IEC 61966-2-1
        let srgb =
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
        curve_at(curve, value).is_some_and(|found| (found - srgb).abs() < SAME)
    })
}

/// A curve's value between 0 and 1. Of the parametric ones only that of five numbers, as sRGB's is
/// (section 10.18).
fn curve_at(curve: &ToneReprCurve, value: f64) -> Option<f64> {
    match curve {
        ToneReprCurve::Parametric(numbers) => {
            let &[gamma, a, b, c, d] = numbers.as_slice() else { return None };
            let [gamma, a, b, c, d] = [gamma, a, b, c, d].map(f64::from);
            Some(if value >= d { (a * value + b).powf(gamma) } else { c * value })
        }
        ToneReprCurve::Lut(table) => {
            let last = table.len().checked_sub(2)? + 1;
            let place = value * last as f64;
            let index = (place as usize).min(last - 1);
            let [low, high] = [table[index], table[index + 1]].map(f64::from);
            Some((low + (high - low) * (place - index as f64)) / f64::from(u16::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(profile: &ColorProfile) -> Vec<u8> {
        profile.encode().expect("a profile")
    }

    #[test]
    fn a_profile_that_makes_no_sense_says_nothing() {
        for profile in [&b""[..], b"garbage", &[0; 200]] {
            assert!(Profile::read(profile).is_none());
        }
    }

    #[test]
    fn srgb_is_known_by_its_numbers() {
        assert!(Profile::read(&encoded(&ColorProfile::new_srgb())).is_none());
        let mut table = ColorProfile::new_srgb();
        let entry = |index: u16| {
            let value = f64::from(index) / 1023.0;
            let linear =
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
            (linear * f64::from(u16::MAX)).round() as u16
        };
        let curve = ToneReprCurve::Lut((0..1024).map(entry).collect());
        table.red_trc = Some(curve.clone());
        table.green_trc = Some(curve.clone());
        table.blue_trc = Some(curve);
        assert!(Profile::read(&encoded(&table)).is_none());
        for other in [ColorProfile::new_display_p3(), ColorProfile::new_adobe_rgb()] {
            assert!(Profile::read(&encoded(&other)).is_some());
        }
    }

    #[test]
    fn wide_colours_come_out_stronger() {
        let profile = Profile::read(&encoded(&ColorProfile::new_display_p3())).expect("a profile");
        let picture =
            |pixel| DynamicImage::ImageRgb8(RgbImage::from_pixel(1, 1, image::Rgb(pixel)));
        let converted =
            |pixel| profile.to_srgb(&picture(pixel)).expect("a picture").into_rgb8().into_raw();
        assert_eq!(converted([255, 255, 255]), [255, 255, 255]);
        let [red, green, blue] = converted([200, 100, 100]).try_into().expect("a pixel");
        assert!(red > 205 && green < 100 && blue < 100, "{red} {green} {blue}");
        assert!(profile.to_srgb(&DynamicImage::ImageLuma8(GrayImage::new(1, 1))).is_none());
        assert!(profile.rgb_of_inks(&[0; 4]).is_none());
    }

    #[test]
    fn grey_of_another_gamma_is_converted() {
        let profile =
            Profile::read(&encoded(&ColorProfile::new_gray_with_gamma(1.0))).expect("a profile");
        let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(1, 1, image::Luma([55])));
        let converted = profile.to_srgb(&grey).expect("a picture").into_luma8().into_raw();
        assert!((127..=129).contains(&converted[0]), "{converted:?}");
    }
}
