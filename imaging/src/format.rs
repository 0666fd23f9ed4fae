//! The formats that are read and written.

use std::str::FromStr;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// ITU-T T.81, in a file as JFIF and EXIF have it.
    Jpeg,
    /// Portable Network Graphics (W3C Recommendation, third edition).
    Png,
}

/// A name that is no format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a format")]
pub struct UnknownFormat;

impl Format {
    /// The format's name: `jpeg` or `png`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
        }
    }

    /// The media type, as in a `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// The usual extension of a file's name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        [Self::Jpeg, Self::Png]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_reads_back_from_its_name() {
        for format in [Format::Jpeg, Format::Png] {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("gif".parse::<Format>(), Err(UnknownFormat));
    }
}
