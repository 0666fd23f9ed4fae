//! How large a thumbnail is.

/// Width and height in px of the thumbnail that is `wanted` px high, of an image that is displayed
/// `width` × `height` px: never enlarged, never empty, and scaled down further where it would be
/// wider than `max_width`.
pub fn thumbnail_size(width: u32, height: u32, wanted: u32, max_width: u32) -> (u32, u32) {
    let (width, height) = (width.max(1), height.max(1));
    let thumbnail_height = wanted.clamp(1, height);
    let thumbnail_width = scale(width, thumbnail_height, height);
    let max_width = max_width.max(1);
    if thumbnail_width <= max_width {
        return (thumbnail_width, thumbnail_height);
    }
    (max_width, scale(height, max_width, width))
}

/// `side · numerator / denominator`, rounded, at least 1.
fn scale(side: u32, numerator: u32, denominator: u32) -> u32 {
    let (numerator, denominator) = (u64::from(numerator), u64::from(denominator));
    let scaled = (u64::from(side) * numerator + denominator / 2) / denominator;
    u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_WIDTH: u32 = 16_384;

    #[test]
    fn a_thumbnail_is_as_high_as_wanted_and_as_wide_as_the_aspect_says() {
        assert_eq!(thumbnail_size(4032, 3024, 200, MAX_WIDTH), (267, 200));
        assert_eq!(thumbnail_size(3024, 4032, 400, MAX_WIDTH), (300, 400));
    }

    #[test]
    fn a_thumbnail_is_never_enlarged() {
        assert_eq!(thumbnail_size(30, 20, 200, MAX_WIDTH), (30, 20));
    }

    #[test]
    fn a_thumbnail_is_at_least_a_pixel_wide() {
        assert_eq!(thumbnail_size(1, 5000, 200, MAX_WIDTH), (1, 200));
    }

    #[test]
    fn a_thumbnail_that_would_be_too_wide_is_scaled_down_to_fit() {
        assert_eq!(thumbnail_size(50_000, 1000, 1000, 16_000), (16_000, 320));
        assert_eq!(thumbnail_size(50_000, 1, 1, 16_000), (16_000, 1));
    }
}
