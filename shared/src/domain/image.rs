//! Images: titles, the slugs made of them, and the facts that are kept of each upload.

use chrono::{DateTime, Utc};
use imaging::Format;
use serde::{Deserialize, Serialize};

use super::{ImageId, OriginalId, UserId, ValidationError};

/// What a person calls an image: 1..=255 characters of any script, without control characters or
/// space at either end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Title(String);
text!(Title);

impl Title {
    /// The longest title, in characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 255;
    /// How many of a title's characters go into its slug.
    const SLUG_CHARS: usize = 10;
    const UNTITLED: &str = "untitled";

    /// The title of an upload that names none: its file's name without folders, up to its first
    /// dot. A name is never a reason to refuse a file: what a title may not hold is dropped, and
    /// what is too long is cut.
    pub fn from_file_name(name: &str) -> Self {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = name.trim_start_matches(['.', ' ']).split('.').next().unwrap_or_default();
        let printable: String = stem.chars().filter(|c| !is_forbidden(*c)).collect();
        let cut: String = printable.trim().chars().take(Self::MAX_CHARS).collect();
        match cut.trim_end() {
            "" => Self(Self::UNTITLED.to_owned()),
            title => Self(title.to_owned()),
        }
    }

    /// The first ten characters as ASCII letters, digits, hyphens and underscores for a URL; other
    /// scripts are transliterated. May be empty.
    pub fn slug(&self) -> String {
        let start: String = self.0.chars().take(Self::SLUG_CHARS).collect();
        let parts: Vec<String> = start.split('_').map(slug::slugify).collect();
        parts.join("_").trim_matches('_').to_owned()
    }
}

/// Control characters, and the invisible ones that turn the direction of the text around them.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

impl TryFrom<String> for Title {
    type Error = ValidationError;

    fn try_from(title: String) -> Result<Self, ValidationError> {
        let trimmed = title.trim();
        let length = trimmed.chars().count();
        if !(1..=Self::MAX_CHARS).contains(&length) {
            let rule = format!("a title has 1 to {} characters, not {length}", Self::MAX_CHARS);
            return Err(ValidationError::new("title", rule));
        }
        if trimmed.chars().any(is_forbidden) {
            return Err(ValidationError::new(
                "title",
                "a title has no line breaks or other control characters",
            ));
        }
        Ok(Self(trimmed.to_owned()))
    }
}

/// An uploaded image as it is kept.
#[derive(Clone, Debug)]
pub struct Image {
    pub id: ImageId,
    pub owner: UserId,
    /// Names the original's file.
    pub original: OriginalId,
    /// What its owner calls it.
    pub title: Title,
    /// By its content, whatever its file was called.
    pub format: Format,
    /// As displayed, in px.
    pub width: u32,
    /// As displayed, in px.
    pub height: u32,
    /// The original's size in bytes.
    pub bytes: u64,
    /// A thumbhash, once a worker has decoded the image.
    pub placeholder: Option<Vec<u8>>,
    pub uploaded_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(text: &str) -> Title {
        Title::try_from(text.to_owned()).expect("a title")
    }

    #[test]
    fn a_title_is_1_to_255_characters_of_any_script() {
        assert!(Title::try_from(String::new()).is_err());
        assert!(Title::try_from("  ".to_owned()).is_err());
        assert!(Title::try_from("ß".repeat(255)).is_ok());
        assert!(Title::try_from("ß".repeat(256)).is_err());
    }

    #[test]
    fn a_title_holds_no_line_break() {
        assert!(Title::try_from("a\r\nb".to_owned()).is_err());
        assert!(Title::try_from("a\u{202E}gpj.exe".to_owned()).is_err());
    }

    #[test]
    fn a_file_name_loses_its_folders_and_extension() {
        for (name, expected) in [
            ("IMG_2034.JPG", "IMG_2034"),
            ("../../etc/passwd.png", "passwd"),
            (r"C:\photos\beach.jpeg", "beach"),
            ("a.b.png", "a"),
            ("Rome. Day 1.jpg", "Rome"),
            (".png", "png"),
            ("", "untitled"),
            ("   ", "untitled"),
            ("x\r\nSet-Cookie: a.png", "xSet-Cookie: a"),
            (r#"say "cheese".png"#, r#"say "cheese""#),
            ("🏖️.png", "🏖️"),
        ] {
            assert_eq!(Title::from_file_name(name).as_str(), expected, "of {name:?}");
        }
    }

    #[test]
    fn a_long_file_name_is_cut_to_a_title() {
        let cut = Title::from_file_name(&format!("{}.png", "é".repeat(300)));
        assert_eq!(cut.as_str().chars().count(), Title::MAX_CHARS);
    }

    #[test]
    fn a_slug_is_made_of_the_first_ten_characters() {
        assert_eq!(title("Holiday in Rome").slug(), "holiday-in");
        assert_eq!(title("../../etc").slug(), "etc");
        assert_eq!(title("Łódź łódź!").slug(), "lodz-lodz");
        assert_eq!(title("IMG_2034").slug(), "img_2034");
        assert_eq!(title("__init__").slug(), "init");
        assert_eq!(title("!!!").slug(), "");
    }

    #[test]
    fn a_slug_is_ascii_whatever_the_script() {
        for text in ["日本語", "Привет", "مرحبا", "🏖️ beach", "naïve"] {
            let slug = title(text).slug();
            assert!(
                slug.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')),
                "{text} became {slug}"
            );
        }
    }
}
