//! Account tiers: which thumbnail heights an account gets, whether it gets originals and expiring
//! links.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ByteCount, LinkTarget, Thumbnail, TierId, ValidationError, whole_number};

/// A thumbnail's height in px: 1..=4000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Height(u16);

impl Height {
    /// The largest height a tier may have, in px.
    pub const MAX_PX: u16 = 4000;

    /// In px.
    pub fn px(self) -> u32 {
        u32::from(self.0)
    }
}

impl TryFrom<i64> for Height {
    type Error = ValidationError;

    fn try_from(px: i64) -> Result<Self, ValidationError> {
        u16::try_from(px).ok().filter(|px| (1..=Self::MAX_PX).contains(px)).map(Self).ok_or_else(
            || {
                ValidationError::new(
                    "height",
                    format!("a height is 1 to {} px, not {px}", Self::MAX_PX),
                )
            },
        )
    }
}

impl FromStr for Height {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::try_from(whole_number("height", text)?)
    }
}

impl From<Height> for i64 {
    fn from(height: Height) -> i64 {
        i64::from(height.0)
    }
}

impl From<Height> for i32 {
    fn from(height: Height) -> i32 {
        i32::from(height.0)
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// At most [`HeightSet::MAX`] different heights, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<i64>", into = "Vec<i64>")]
pub struct HeightSet(Vec<Height>);

impl HeightSet {
    /// How many heights a tier may have.
    pub const MAX: usize = 16;

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Height> + '_ {
        self.0.iter().copied()
    }

    /// Whether `height` is one of them.
    pub fn contains(&self, height: Height) -> bool {
        self.0.binary_search(&height).is_ok()
    }
}

impl TryFrom<Vec<i64>> for HeightSet {
    type Error = ValidationError;

    fn try_from(heights: Vec<i64>) -> Result<Self, ValidationError> {
        let invalid = |rule| ValidationError::new("thumbnail_heights", rule);
        let mut set = heights
            .into_iter()
            .map(Height::try_from)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|invalid_height| invalid(invalid_height.message))?;
        let given = set.len();
        set.sort_unstable();
        set.dedup();
        if set.len() != given {
            return Err(invalid("each height may stand there once".to_owned()));
        }
        if set.len() > Self::MAX {
            return Err(invalid(format!("a tier has at most {} heights, not {given}", Self::MAX)));
        }
        Ok(Self(set))
    }
}

impl FromStr for HeightSet {
    type Err = ValidationError;

    /// Heights in px with commas, semicolons or spaces between them; none is an empty set.
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let parts = text.split([',', ';', ' ', '\n']).filter(|part| !part.trim().is_empty());
        let heights: Result<Vec<i64>, ValidationError> =
            parts.map(|part| whole_number("thumbnail_heights", part)).collect();
        Self::try_from(heights?)
    }
}

impl fmt::Display for HeightSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heights: Vec<String> = self.0.iter().map(Height::to_string).collect();
        f.write_str(&heights.join(", "))
    }
}

impl From<HeightSet> for Vec<i64> {
    fn from(set: HeightSet) -> Vec<i64> {
        set.0.into_iter().map(i64::from).collect()
    }
}

/// What a tier is, apart from its number: the form in which it is loaded, edited and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSpec {
    /// Unique among tiers, 1..=100 characters.
    pub name: TierName,
    /// Whether new users get this tier; exactly one tier should say so.
    #[serde(default, rename = "default")]
    pub is_default: bool,
    /// Heights in px of the thumbnails that the tier includes.
    pub thumbnail_heights: HeightSet,
    /// Whether the tier includes the file as it was uploaded.
    pub original_access: bool,
    /// Whether the tier may create links that expire.
    pub expiring_links: bool,
    /// The largest file that the tier may upload, in bytes.
    pub max_upload_bytes: ByteCount,
    /// How much the originals of one account may take, in bytes.
    pub storage_quota_bytes: ByteCount,
}

impl TierSpec {
    /// Basic, Premium and Enterprise, as they are before an administrator changes anything.
    ///
    /// # Panics
    /// Never: a test reads the same text.
    pub fn built_in() -> Vec<Self> {
        serde_json::from_str(include_str!("../../tiers.json"))
            .expect("the built-in tiers are valid")
    }
}

/// A tier's name: 1..=100 characters without control characters or space at either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TierName(String);
text!(TierName);

impl TierName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 100;
}

impl TryFrom<String> for TierName {
    type Error = ValidationError;

    fn try_from(name: String) -> Result<Self, ValidationError> {
        let name = name.trim();
        if name.is_empty()
            || name.chars().count() > Self::MAX_CHARS
            || name.chars().any(char::is_control)
        {
            let rule = format!("a name has 1 to {} printable characters", Self::MAX_CHARS);
            return Err(ValidationError::new("name", rule));
        }
        Ok(Self(name.to_owned()))
    }
}

/// A tier as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub id: TierId,
    pub spec: TierSpec,
}

/// What a tier does not include.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// The file as it was uploaded.
    #[error("The owner's tier does not include original files.")]
    Original,
    /// Thumbnails of this height.
    #[error("The owner's tier does not include thumbnails {0} px high.")]
    Height(Height),
    /// Links that expire.
    #[error("The owner's tier does not include expiring links.")]
    ExpiringLinks,
}

impl Tier {
    /// May the originals of this tier's accounts be seen?
    pub fn allows_original(&self) -> Result<(), AccessDenied> {
        self.spec.original_access.then_some(()).ok_or(AccessDenied::Original)
    }

    /// May thumbnails of this height be seen?
    pub fn allows_height(&self, height: Height) -> Result<(), AccessDenied> {
        self.spec
            .thumbnail_heights
            .contains(height)
            .then_some(())
            .ok_or(AccessDenied::Height(height))
    }

    /// Those of the thumbnails that the tier includes.
    pub fn visible<'a>(&self, thumbnails: &'a [Thumbnail]) -> impl Iterator<Item = &'a Thumbnail> {
        thumbnails.iter().filter(|thumbnail| self.spec.thumbnail_heights.contains(thumbnail.height))
    }

    /// May accounts of this tier create expiring links, and do those that exist work?
    pub fn allows_expiring_links(&self) -> Result<(), AccessDenied> {
        self.spec.expiring_links.then_some(()).ok_or(AccessDenied::ExpiringLinks)
    }

    /// May what an expiring link points to be seen? A link gives nothing that the tier lacks.
    pub fn allows_target(&self, target: LinkTarget) -> Result<(), AccessDenied> {
        match target {
            LinkTarget::Original => self.allows_original(),
            LinkTarget::Thumbnail(height) => self.allows_height(height),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heights(px: &[i64]) -> Result<HeightSet, ValidationError> {
        HeightSet::try_from(px.to_vec())
    }

    fn tier(name: &str) -> Tier {
        let spec = TierSpec::built_in().into_iter().find(|spec| spec.name.as_str() == name);
        Tier { id: TierId(1), spec: spec.expect("a built-in tier") }
    }

    #[test]
    fn a_height_is_1_to_4000_px() {
        assert!(Height::try_from(0).is_err());
        assert!(Height::try_from(-1).is_err());
        assert!(Height::try_from(4001).is_err());
        assert!(Height::try_from(65_536 + 200).is_err());
        assert_eq!(Height::try_from(4000).map(Height::px), Ok(4000));
    }

    #[test]
    fn heights_are_kept_ascending_without_repetition() {
        let set = heights(&[400, 200]).expect("two heights");
        assert_eq!(Vec::from(set), [200, 400]);
        assert!(heights(&[200, 200]).is_err());
    }

    #[test]
    fn a_tier_has_at_most_16_heights() {
        let sixteen: Vec<i64> = (1..=16).collect();
        let seventeen: Vec<i64> = (1..=17).collect();
        assert!(heights(&sixteen).is_ok());
        assert!(heights(&seventeen).is_err());
    }

    #[test]
    fn a_form_lists_heights_in_any_order() {
        assert_eq!("400, 200".parse::<HeightSet>().map(Vec::from), Ok(vec![200, 400]));
        assert_eq!(" ".parse::<HeightSet>().map(Vec::from), Ok(vec![]));
        assert!("200 px".parse::<HeightSet>().is_err());
        assert!("200,200".parse::<HeightSet>().is_err());
        assert_eq!(heights(&[400, 200]).expect("two heights").to_string(), "200, 400");
    }

    #[test]
    fn basic_has_200_px_and_nothing_else() {
        let basic = tier("Basic");
        assert!(basic.spec.is_default);
        assert_eq!(basic.allows_height(Height(200)), Ok(()));
        assert_eq!(basic.allows_height(Height(400)), Err(AccessDenied::Height(Height(400))));
        assert_eq!(basic.allows_original(), Err(AccessDenied::Original));
        assert_eq!(basic.allows_expiring_links(), Err(AccessDenied::ExpiringLinks));
    }

    #[test]
    fn premium_adds_400_px_and_originals() {
        let premium = tier("Premium");
        assert_eq!(premium.allows_height(Height(400)), Ok(()));
        assert_eq!(premium.allows_original(), Ok(()));
        assert_eq!(premium.allows_expiring_links(), Err(AccessDenied::ExpiringLinks));
    }

    #[test]
    fn enterprise_adds_expiring_links() {
        let enterprise = tier("Enterprise");
        assert_eq!(enterprise.allows_expiring_links(), Ok(()));
        assert_eq!(enterprise.allows_target(LinkTarget::Original), Ok(()));
        assert!(enterprise.allows_target(LinkTarget::Thumbnail(Height(300))).is_err());
    }

    #[test]
    fn an_unknown_field_in_a_tier_file_is_refused() {
        let json = r#"{"name":"X","thumbnail_heights":[],"original_access":false,"expiring_links":false,
            "max_upload_bytes":1,"storage_quota_bytes":1,"orignal":true}"#;
        assert!(serde_json::from_str::<TierSpec>(json).is_err());
    }
}
