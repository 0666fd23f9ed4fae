//! The links of an image that expire, as its page lists them, and the form for another.

use std::borrow::Borrow;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::domain::{ExpiringLink, LinkTarget, Tier, ValidFor};

use super::{
    format,
    forms::{Choice, Fields},
};
use crate::{error::Problem, urls::Urls};

/// A live link as a page lists it.
pub(super) struct ListedLink {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) shows: String,
    pub(super) expires_at: String,
    pub(super) left: String,
}

impl ListedLink {
    pub(super) fn new(link: &ExpiringLink, now: DateTime<Utc>, urls: &Urls) -> Self {
        Self {
            id: link.id.to_string(),
            url: urls.expiring(link.id),
            shows: target_name(link.target),
            expires_at: format::timestamp(link.expires_at),
            left: format::span(link.expires_at - now),
        }
    }
}

/// What a link shows, as people call it.
pub(super) fn target_name(target: impl Borrow<LinkTarget>) -> String {
    match target.borrow() {
        LinkTarget::Original => "Original".to_owned(),
        LinkTarget::Thumbnail(height) => format!("{height} px"),
    }
}

/// What a link of this tier's accounts can show; nothing where the tier lacks links.
pub(super) fn link_targets(tier: &Tier, selected: &str) -> Option<Vec<Choice>> {
    tier.allows_expiring_links().ok()?;
    let original = tier
        .allows_original()
        .is_ok()
        .then(|| ("original".to_owned(), target_name(LinkTarget::Original)));
    let thumbnails = tier.spec.thumbnail_heights.iter();
    let thumbnails =
        thumbnails.map(|height| (height.to_string(), target_name(LinkTarget::Thumbnail(height))));
    Some(Choice::list(original.into_iter().chain(thumbnails), selected))
}

/// Which link to make, as it was typed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct LinkForm {
    /// `original`, or a height in px.
    pub(super) target: String,
    /// Seconds.
    pub(super) valid_for: String,
    /// The seconds of the button that was pressed, which wins over what was typed.
    preset: Option<String>,
}

impl LinkForm {
    pub(super) fn parse(&self) -> Result<(LinkTarget, ValidFor), Problem> {
        let mut fields = Fields::default();
        let target = fields.parse("target", self.target.parse());
        let valid_for =
            fields.parse("valid_for", self.preset.as_ref().unwrap_or(&self.valid_for).parse());
        fields.finish(target.zip(valid_for))
    }
}
