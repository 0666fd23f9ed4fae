//! What the API's answers look like as JSON.

mod change;
pub(crate) mod tagged;
mod token;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use shared::domain::{ExpiringLink, Image, LinkTarget, Thumbnail, ThumbnailState, Tier, User};
use utoipa::ToSchema;

pub(crate) use change::{ChangeJson, ChangesJson};
pub(crate) use token::{NewTokenJson, TokenJson};

use crate::urls::Urls;

/// Who is logged in, and what the account includes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionJson {
    #[schema(example = "admin")]
    username: String,
    is_admin: bool,
    tier: TierJson,
    /// Bytes that the account's originals take.
    used_bytes: u64,
}

/// What a tier includes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TierJson {
    #[schema(example = "Enterprise")]
    name: String,
    /// In px.
    #[schema(example = json!([200, 400]))]
    thumbnail_heights: Vec<u32>,
    original_access: bool,
    expiring_links: bool,
    /// Largest upload, in bytes.
    max_upload_bytes: u64,
    /// What the account's originals may take, in bytes.
    storage_quota_bytes: u64,
}

impl SessionJson {
    pub(crate) fn new(user: &User) -> Self {
        let Tier { spec, .. } = &user.tier;
        Self {
            username: user.username.to_string(),
            is_admin: user.is_admin,
            tier: TierJson {
                name: spec.name.to_string(),
                thumbnail_heights: spec
                    .thumbnail_heights
                    .iter()
                    .map(shared::domain::Height::px)
                    .collect(),
                original_access: spec.original_access,
                expiring_links: spec.expiring_links,
                max_upload_bytes: spec.max_upload_bytes.as_u64(),
                storage_quota_bytes: spec.storage_quota_bytes.as_u64(),
            },
            used_bytes: user.used_bytes,
        }
    }
}

/// An image: what is known of it, and the links that the account's tier includes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageJson {
    /// The image's number.
    pk: i64,
    #[schema(example = "Holiday in Rome")]
    title: String,
    /// `original` when the tier includes it, and `200 px high` and the like for each of the tier's
    /// heights. The first request of a thumbnail has it made.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    file_urls: FileUrls,
    /// Where expiring links are created with POST; empty when the tier lacks them.
    expiring_link_generator: String,
    uploaded_at: Timestamp,
    /// As displayed, in px.
    width: u32,
    /// As displayed, in px.
    height: u32,
    /// The original's size.
    bytes: u64,
    #[schema(example = "image/jpeg")]
    content_type: &'static str,
    thumbnails: Vec<ThumbnailJson>,
    /// A thumbhash in base64, once a thumbnail has been made.
    placeholder: Option<String>,
}

/// Links by what they show, in the order in which people look for them.
#[derive(Debug)]
struct FileUrls(Vec<(String, String)>);

impl Serialize for FileUrls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, url)| (name, url)))
    }
}

/// How far one thumbnail is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ThumbnailJson {
    /// The height that the tier names, in px.
    #[schema(example = 200)]
    height: u32,
    /// In px; for a thumbnail that is not ready, what it will be.
    #[schema(example = 267)]
    width: u32,
    state: StateJson,
    /// Where its file is, or will be.
    url: String,
    /// Why it failed, in words for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A thumbnail and the image that it is of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageThumbnailJson {
    /// The image's number.
    pk: i64,
    #[serde(flatten)]
    thumbnail: ThumbnailJson,
}

impl ImageThumbnailJson {
    pub(crate) fn new(image: &Image, thumbnail: &Thumbnail, urls: &Urls) -> Self {
        Self { pk: image.id.0, thumbnail: ThumbnailJson::new(image, thumbnail, urls) }
    }

    pub(crate) fn is(&self, state: StateJson) -> bool {
        self.thumbnail.state == state
    }

    /// In px.
    pub(crate) fn height(&self) -> u32 {
        self.thumbnail.height
    }
}

/// `absent` until somebody asks for the file, `pending` until a worker has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateJson {
    Absent,
    Pending,
    Ready,
    Failed,
}

impl ThumbnailJson {
    pub(crate) fn new(image: &Image, thumbnail: &Thumbnail, urls: &Urls) -> Self {
        let (state, reason) = match &thumbnail.state {
            ThumbnailState::Absent => (StateJson::Absent, None),
            ThumbnailState::Pending => (StateJson::Pending, None),
            ThumbnailState::Ready { .. } => (StateJson::Ready, None),
            ThumbnailState::Failed { reason } => (StateJson::Failed, Some(reason.clone())),
        };
        let (width, _) = thumbnail.display_size(image);
        let url = urls.thumbnail(&image.title, thumbnail.id, image.format);
        Self { height: thumbnail.height.px(), width, state, url, reason }
    }
}

impl ImageJson {
    /// `thumbnails` are the image's, of whatever heights: those that the tier lacks are left out.
    pub(crate) fn new(image: &Image, thumbnails: &[Thumbnail], tier: &Tier, urls: &Urls) -> Self {
        let thumbnails: Vec<_> = tier
            .visible(thumbnails)
            .map(|thumbnail| ThumbnailJson::new(image, thumbnail, urls))
            .collect();
        let original = tier.allows_original().is_ok().then(|| {
            ("original".to_owned(), urls.original(&image.title, image.original, image.format))
        });
        let resized =
            thumbnails.iter().map(|thumbnail| (label(thumbnail.height), thumbnail.url.clone()));
        let has_links = tier.allows_expiring_links().is_ok();
        Self {
            pk: image.id.0,
            title: image.title.as_str().to_owned(),
            file_urls: FileUrls(original.into_iter().chain(resized).collect()),
            expiring_link_generator: if has_links {
                urls.expiring_links(image.id)
            } else {
                String::new()
            },
            uploaded_at: Timestamp(image.uploaded_at),
            width: image.width,
            height: image.height,
            bytes: image.bytes,
            content_type: image.format.media_type(),
            thumbnails,
            placeholder: image.placeholder.as_ref().map(|hash| BASE64_STANDARD.encode(hash)),
        }
    }
}

/// A thumbnail's name among an image's links.
fn label(height: u32) -> String {
    format!("{height} px high")
}

/// A link that expires. The first three fields are the source system's, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkJson {
    /// What to hand out.
    link: String,
    /// The link is invalid from this time on.
    expiration: Timestamp,
    /// How long it lives from its making on, in seconds.
    #[schema(minimum = 300, maximum = 30000)]
    valid_for: i64,
    /// Names the link, for revoking it.
    id: String,
    /// The thumbnail's height in px; null for the original.
    height: Option<u32>,
    created_at: Timestamp,
}

impl LinkJson {
    pub(crate) fn new(link: &ExpiringLink, urls: &Urls) -> Self {
        let height = match link.target {
            LinkTarget::Original => None,
            LinkTarget::Thumbnail(height) => Some(height.px()),
        };
        Self {
            link: urls.expiring(link.id),
            expiration: Timestamp(link.expires_at),
            valid_for: (link.expires_at - link.created_at).num_seconds(),
            id: link.id.to_string(),
            height,
            created_at: Timestamp(link.created_at),
        }
    }
}

/// A moment in UTC, always with six digits of a second: clients parse one fixed pattern.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = DateTime<Utc>, example = "2026-01-31T12:00:00.123456Z")]
pub(crate) struct Timestamp(pub(crate) DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

/// The answer to a request of a thumbnail that is not made yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PendingJson {
    state: StateJson,
    /// Where its state can be asked for.
    status_url: String,
}

impl PendingJson {
    pub(crate) fn new(status_url: String) -> Self {
        Self { state: StateJson::Pending, status_url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_six_digits_of_a_second_always() {
        let json = |micros: i64| {
            let time = DateTime::from_timestamp_micros(micros).expect("a time");
            serde_json::to_value(Timestamp(time)).expect("JSON")
        };
        assert_eq!(json(1_695_397_545_711_146), "2023-09-22T15:45:45.711146Z");
        assert_eq!(json(1_695_397_545_700_000), "2023-09-22T15:45:45.700000Z");
        assert_eq!(json(1_695_397_545_000_000), "2023-09-22T15:45:45.000000Z");
    }
}
