//! Resizing with Lanczos3; alpha is premultiplied meanwhile, so that what is transparent does not bleed.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;

use super::ThumbnailError;

/// The picture in `width` × `height` px.
pub(super) fn resize(
    picture: &DynamicImage,
    (width, height): (u32, u32),
) -> Result<DynamicImage, ThumbnailError> {
    if (picture.width(), picture.height()) == (width, height) {
        return Ok(picture.clone());
    }
    let mut resized = DynamicImage::new(width, height, picture.color());
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(true);
    let failed = |error: fast_image_resize::ResizeError| ThumbnailError::Decode { reason: error.to_string() };
    Resizer::new().resize(picture, &mut resized, &options).map_err(failed)?;
    Ok(resized)
}
