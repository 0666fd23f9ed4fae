//! How a stored image is turned to be displayed (EXIF 2.32, tag 0x0112).

use exif::{In, Reader, Tag};

/// An EXIF orientation, 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// Stored as it is displayed.
    pub const UPRIGHT: Self = Self(1);

    /// The orientation with this EXIF number, if it is one.
    pub fn from_exif(number: u32) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=8).contains(number)).map(Self)
    }

    /// The number in EXIF.
    pub fn exif(self) -> u8 {
        self.0
    }

    /// Whether the displayed width is the stored height.
    pub fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Turns stored sides into displayed ones, and back.
    pub(crate) fn turn(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }

    /// The orientation in a block of EXIF, also of one that is damaged elsewhere, as browsers have
    /// it; one that cannot be read says nothing.
    pub(crate) fn of_exif_block(tiff: Vec<u8>) -> Option<Self> {
        let exif = Reader::new().continue_on_error(true).read_raw(tiff);
        let exif = exif.or_else(|error| error.distill_partial_result(drop)).ok()?;
        let number = exif.get_field(Tag::Orientation, In::PRIMARY)?.value.get_uint(0)?;
        Self::from_exif(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_1_to_8() {
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
        assert_eq!(Orientation::from_exif(6).map(Orientation::swaps_sides), Some(true));
        assert_eq!(Orientation::from_exif(3).map(Orientation::swaps_sides), Some(false));
    }

    #[test]
    fn a_block_that_is_damaged_behind_the_orientation_still_tells_it() {
        // three entries are announced; the second points outside the block, the third is missing
        let mut block = b"II*\0\x08\0\0\0\x03\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0".to_vec();
        block.extend(b"\x0F\x01\x02\0\xFF\0\0\0\xFF\xFF\0\0");
        assert_eq!(Orientation::of_exif_block(block).map(Orientation::exif), Some(6));
    }

    #[test]
    fn a_malformed_block_says_nothing() {
        for block in [&b""[..], b"II*\0", b"MM\0*\0\0\0\x08\xFF\xFF", &[0xFF; 100]] {
            assert_eq!(Orientation::of_exif_block(block.to_vec()), None);
        }
    }
}
