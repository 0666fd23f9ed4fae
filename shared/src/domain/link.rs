//! Links that expire.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Height, ImageId, LinkId, ValidationError, whole_number};

/// How long an expiring link lives: 300..=30000 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidFor(i32);

impl ValidFor {
    /// The shortest life, in seconds.
    pub const MIN_SECONDS: i32 = 300;
    /// The longest life, in seconds.
    pub const MAX_SECONDS: i32 = 30_000;

    /// In seconds.
    pub fn seconds(self) -> i32 {
        self.0
    }

    /// As a span of time.
    pub fn span(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.0))
    }
}

impl TryFrom<i64> for ValidFor {
    type Error = ValidationError;

    fn try_from(seconds: i64) -> Result<Self, ValidationError> {
        i32::try_from(seconds)
            .ok()
            .filter(|seconds| (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(seconds))
            .map(Self)
            .ok_or_else(|| {
                let (min, max) = (Self::MIN_SECONDS, Self::MAX_SECONDS);
                ValidationError::new(
                    "valid_for",
                    format!("A link lives {min} to {max} seconds, not {seconds}."),
                )
            })
    }
}

impl FromStr for ValidFor {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::try_from(whole_number("valid_for", text)?)
    }
}

/// What an expiring link shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkTarget {
    /// The file as it was uploaded.
    Original,
    Thumbnail(Height),
}

impl FromStr for LinkTarget {
    type Err = ValidationError;

    /// `original`, or a height in px.
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        match text {
            "original" => Ok(Self::Original),
            height => height.parse().map(Self::Thumbnail),
        }
    }
}

/// An expiring link as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct ExpiringLink {
    /// Its name.
    pub id: LinkId,
    /// The image that it shows.
    pub image: ImageId,
    /// Which file of the image.
    pub target: LinkTarget,
    pub created_at: DateTime<Utc>,
    /// The link is invalid from this time on.
    pub expires_at: DateTime<Utc>,
}

impl ExpiringLink {
    /// A new link to `target` that lives for `valid_for` from `now` on.
    pub fn new(
        image: ImageId,
        target: LinkTarget,
        valid_for: ValidFor,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: LinkId::random(),
            image,
            target,
            created_at: now,
            expires_at: now + valid_for.span(),
        }
    }

    /// How long it still lives; nothing once it has expired.
    pub fn remaining(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let left = self.expires_at - now;
        (left > TimeDelta::zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_300_to_30000_seconds() {
        assert!(ValidFor::try_from(299).is_err());
        assert!(ValidFor::try_from(30_001).is_err());
        assert!(ValidFor::try_from(i64::MAX).is_err());
        assert_eq!(ValidFor::try_from(300).map(ValidFor::seconds), Ok(300));
        assert_eq!(ValidFor::try_from(30_000).map(ValidFor::seconds), Ok(30_000));
    }

    #[test]
    fn a_form_names_a_life_and_a_target() {
        assert_eq!(" 300 ".parse::<ValidFor>().map(ValidFor::seconds), Ok(300));
        assert!("5 min".parse::<ValidFor>().is_err());
        assert_eq!("original".parse(), Ok(LinkTarget::Original));
        assert!("200".parse::<LinkTarget>().is_ok_and(|target| target != LinkTarget::Original));
        assert!("".parse::<LinkTarget>().is_err());
    }

    #[test]
    fn a_link_is_gone_at_the_moment_it_expires() {
        let now = DateTime::UNIX_EPOCH;
        let five_minutes = ValidFor::try_from(300).expect("300 s");
        let link = ExpiringLink::new(ImageId(1), LinkTarget::Original, five_minutes, now);
        assert_eq!(link.remaining(now + TimeDelta::seconds(299)), Some(TimeDelta::seconds(1)));
        assert_eq!(link.remaining(now + TimeDelta::seconds(300)), None);
    }
}
