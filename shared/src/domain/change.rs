//! What happens to an account's images and thumbnails.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Height, ImageId, ValidationError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    #[serde(rename = "image.created")]
    ImageCreated,
    #[serde(rename = "image.renamed")]
    ImageRenamed,
    #[serde(rename = "image.deleted")]
    ImageDeleted,
    #[serde(rename = "thumbnail.ready")]
    ThumbnailReady,
    #[serde(rename = "thumbnail.failed")]
    ThumbnailFailed,
}

impl ChangeKind {
    pub const ALL: [Self; 5] = [
        Self::ImageCreated,
        Self::ImageRenamed,
        Self::ImageDeleted,
        Self::ThumbnailReady,
        Self::ThumbnailFailed,
    ];

    /// As it is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageCreated => "image.created",
            Self::ImageRenamed => "image.renamed",
            Self::ImageDeleted => "image.deleted",
            Self::ThumbnailReady => "thumbnail.ready",
            Self::ThumbnailFailed => "thumbnail.failed",
        }
    }
}

impl TryFrom<&str> for ChangeKind {
    type Error = ValidationError;

    fn try_from(text: &str) -> Result<Self, ValidationError> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| ValidationError::new("kind", format!("{text:?} is not a change.")))
    }
}

/// A place in an account's changes: after the change of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Tells the account's counter from one that was lost.
    pub epoch: i32,
    pub number: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch, self.number)
    }
}

impl FromStr for Cursor {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let parse = || {
            let (epoch, number) = text.split_once('-')?;
            let epoch = i32::from_str_radix(epoch, 16).ok()?;
            let number: i64 = number.parse().ok()?;
            (epoch >= 0 && number >= 0).then_some(Self { epoch, number })
        };
        let rule = || format!("{text:?} is not a cursor. Send one that an answer had.");
        parse().ok_or_else(|| ValidationError::new("after", rule()))
    }
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The place after it.
    pub cursor: Cursor,
    pub kind: ChangeKind,
    pub image: ImageId,
    /// Of a thumbnail.
    pub height: Option<Height>,
    pub at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        for cursor in [Cursor { epoch: 0, number: 0 }, Cursor { epoch: i32::MAX, number: 17 }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "17", "-17", "0-", "0--1", "80000000-1", "x-1", "0-9223372036854775808"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
