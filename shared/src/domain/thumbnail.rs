//! Thumbnails: a row from the upload on, a file from the first request on.

use std::fmt;

use super::{Height, Image, ImageId, ThumbnailId};

/// Counts the claims of one thumbnail by workers, across jobs. Each attempt writes an object of its
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The attempt of every thumbnail that the first edition made.
    pub const FIRST_EDITION: Self = Self(0);

    /// All attempts up to this one, from the first edition's on.
    pub fn up_to_this(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a thumbnail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThumbnailState {
    /// Nobody has asked for it yet.
    Absent,
    /// A job will make it.
    Pending,
    /// Its file is there.
    Ready {
        /// In px.
        width: u32,
        /// In px; less than what was asked for when the original is smaller.
        height: u32,
        /// The file's size in bytes.
        bytes: u64,
    },
    /// It cannot be made.
    Failed {
        /// Why, in words for a person.
        reason: String,
    },
}

impl ThumbnailState {
    /// The state's name as JSON and the database spell it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Pending => "pending",
            Self::Ready { .. } => "ready",
            Self::Failed { .. } => "failed",
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether waiting longer could change it without anybody asking again.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

/// A thumbnail as it is kept.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    /// Names it and its file.
    pub id: ThumbnailId,
    /// The image it is made of.
    pub image: ImageId,
    /// The height that the tier names.
    pub height: Height,
    /// The latest attempt at making it: the one that is under way, or the one that its file is of.
    pub attempt: Attempt,
    /// How far it is.
    pub state: ThumbnailState,
}

impl Thumbnail {
    /// The width and height in px that its file has, or will have.
    pub fn display_size(&self, image: &Image) -> (u32, u32) {
        if let ThumbnailState::Ready { width, height, .. } = self.state {
            return (width, height);
        }
        let max_width = imaging::Options::default().max_width_px;
        imaging::thumbnail_size(image.width, image.height, self.height.px(), max_width)
    }
}
