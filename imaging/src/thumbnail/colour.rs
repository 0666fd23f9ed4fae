//! Samples of other kinds than RGB.

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
    let mut samples = vec![0; first.len() * 3];
    let (pixels, _) = samples.as_chunks_mut::<3>();
    for (((pixel, &first), &second), &third) in pixels.iter_mut().zip(first).zip(second).zip(third)
    {
        *pixel =
            if is_ycbcr { rgb_of_ycbcr([first, second, third]) } else { [first, second, third] };
    }
    samples
}

/// The amounts of ink in planes of CMYK or YCCK of the same size, four samples to a pixel. What is
/// stored is the amount of white, as Adobe's programs do and browsers take it from all files; YCCK
/// is the YCbCr of the three colours that the inks take away.
pub(super) fn inks([first, second, third, black]: &[Vec<u8>; 4], is_ycck: bool) -> Vec<u8> {
    let mut samples = vec![0; first.len() * 4];
    let (pixels, _) = samples.as_chunks_mut::<4>();
    for ((((pixel, &first), &second), &third), &black) in
        pixels.iter_mut().zip(first).zip(second).zip(third).zip(black)
    {
        let mut stored = [first, second, third, black];
        if is_ycck {
            let [red, green, blue] = rgb_of_ycbcr([first, second, third]);
            stored = [255 - red, 255 - green, 255 - blue, black];
        }
        *pixel = stored.map(|sample| 255 - sample);
    }
    samples
}

/// The RGB of inks as if each took away its colour wholly.
pub(super) fn plain_rgb_of_inks(inks: &[u8]) -> Vec<u8> {
    let (pixels, _) = inks.as_chunks::<4>();
    let left =
        |ink: u8, black: u8| (u32::from(255 - ink) * u32::from(255 - black) * 257 + 32_768) >> 16;
    pixels
        .iter()
        .flat_map(|&[c, m, y, black]| [c, m, y].map(|ink| left(ink, black) as u8))
        .collect()
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
    fn inks_are_stored_as_what_they_leave_white() {
        let cyan = [255, 0, 0, 0];
        assert_eq!(inks(&[0, 255, 255, 255].map(|sample| vec![sample]), false), cyan);
        assert_eq!(plain_rgb_of_inks(&cyan), [0, 255, 255]);
        assert_eq!(plain_rgb_of_inks(&[0, 0, 0, 255]), [0, 0, 0]);
    }
}
