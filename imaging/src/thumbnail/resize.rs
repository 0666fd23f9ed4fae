//! Resizing with Lanczos3 in the stored, gamma-encoded samples, as libvips does. Alpha is premultiplied meanwhile, so
//! that what is transparent does not bleed.

use fast_image_resize::{
    FilterType, MulDiv, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{DynamicImage, GrayImage, RgbImage};

use super::{
    ThumbnailError, colour,
    decode::{Decoded, Inks, Picture, Pixels},
};
use crate::jpeg::{ColourModel, Plane, Planes};

/// What was decoded in `width` × `height` px, its colours in sRGB.
pub(super) fn resize(decoded: &Decoded, (width, height): (u32, u32)) -> Result<DynamicImage, ThumbnailError> {
    let profile = decoded.profile.as_ref();
    let picture = match &decoded.pixels {
        Pixels::Planes(planes) => resize_planes(planes, (width, height))?,
        Pixels::Picture(picture) => resize_picture(picture, (width, height))?,
        Pixels::Cmyk(inks) => {
            let inks = resize_inks(inks, (width, height))?;
            let rgb = profile.and_then(|profile| profile.rgb_of_inks(&inks));
            let rgb = rgb.unwrap_or_else(|| colour::plain_rgb_of_inks(&inks));
            return RgbImage::from_raw(width, height, rgb)
                .map(DynamicImage::ImageRgb8)
                .ok_or_else(wrong_size);
        }
    };
    Ok(profile.and_then(|profile| profile.to_srgb(&picture)).unwrap_or(picture))
}

fn failed(error: impl std::fmt::Display) -> ThumbnailError {
    ThumbnailError::Decode { reason: error.to_string() }
}

fn wrong_size() -> ThumbnailError {
    failed("it has less samples than its size says")
}

fn lanczos() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
}

fn resize_planes(planes: &Planes, (width, height): (u32, u32)) -> Result<DynamicImage, ThumbnailError> {
    let mut resized = Vec::new();
    for plane in &planes.planes {
        resized.push(resize_plane(plane, (width, height))?);
    }
    if let [grey] = &mut resized[..] {
        let grey = GrayImage::from_raw(width, height, std::mem::take(grey)).ok_or_else(wrong_size)?;
        return Ok(DynamicImage::ImageLuma8(grey));
    }
    let resized = resized.try_into().map_err(|_| failed("it has an odd number of components"))?;
    let rgb = colour::interleave(&resized, planes.model == ColourModel::YCbCr);
    RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8).ok_or_else(wrong_size)
}

/// Takes just so many samples as the picture is wide and high.
fn resize_plane(plane: &Plane, (width, height): (u32, u32)) -> Result<Vec<u8>, ThumbnailError> {
    let side = |samples: usize| u32::try_from(samples).map_err(failed);
    let source = ImageRef::new(side(plane.stride)?, side(plane.rows)?, &plane.samples, PixelType::U8);
    let source = source.map_err(failed)?;
    let mut target = Image::new(width, height, PixelType::U8);
    let options = lanczos().crop(0.0, 0.0, plane.width, plane.height);
    Resizer::new().resize(&source, &mut target, &options).map_err(failed)?;
    Ok(target.into_vec())
}

fn resize_inks(inks: &Inks, (width, height): (u32, u32)) -> Result<Vec<u8>, ThumbnailError> {
    let source = ImageRef::new(inks.width, inks.height, &inks.samples, PixelType::U8x4).map_err(failed)?;
    let mut target = Image::new(width, height, PixelType::U8x4);
    Resizer::new().resize(&source, &mut target, &lanczos().use_alpha(false)).map_err(failed)?;
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
    let options =
        lanczos().crop(0.0, 0.0, picture.width, picture.height).use_alpha(!picture.is_premultiplied);
    let outcome: Result<(), ResizeError> = Resizer::new().resize(pixels, &mut resized, &options);
    outcome.map_err(failed)?;
    if picture.is_premultiplied {
        MulDiv::new().divide_alpha_inplace(&mut resized).map_err(failed)?;
    }
    Ok(resized)
}
