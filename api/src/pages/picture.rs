//! An image as the pages show it: one of its thumbnails, or what stands for it until it is made.

use base64::{Engine, prelude::BASE64_STANDARD};
use shared::{
    domain::{Height, Image, Thumbnail, ThumbnailState, Tier},
    services::images::ImageWithThumbnails,
};

use crate::urls::Urls;

/// An image, its picture, and the links that its owner's tier includes.
pub(super) struct Picture {
    pub(super) id: i64,
    pub(super) title: String,
    /// A tiny PNG as a data URL, once a worker has seen the image.
    pub(super) placeholder: Option<String>,
    pub(super) shown: Shown,
    pub(super) links: Vec<FileLink>,
}

/// What can be seen of an image.
pub(super) enum Shown {
    /// A thumbnail that is there.
    Ready {
        path: String,
        width: u32,
        height: u32,
    },
    /// A thumbnail that will be made when it is asked for, or is being made.
    Awaited {
        path: String,
        width: u32,
        height: u32,
    },
    Failed {
        asked: Height,
        reason: String,
    },
    /// The tier includes no thumbnail.
    Nothing,
}

/// A link to one of an image's files.
pub(super) struct FileLink {
    /// `Original`, or the height that the tier names.
    pub(super) label: String,
    pub(super) url: String,
    pub(super) facts: String,
    /// Where a thumbnail that is being made will be.
    pub(super) awaited: Option<String>,
    /// The height of a thumbnail that failed, and why.
    pub(super) failure: Option<(Height, String)>,
}

/// Which of an image's thumbnails is shown.
#[derive(Clone, Copy)]
pub(super) enum Size {
    /// The lowest that fills a tile.
    Tile,
    /// The highest that there is.
    Page,
}

/// The height of a gallery's tile in px.
const TILE_PX: u32 = 200;

impl Picture {
    pub(super) fn new(found: &ImageWithThumbnails, tier: &Tier, urls: &Urls, size: Size) -> Self {
        let ImageWithThumbnails { image, thumbnails } = found;
        let included: Vec<&Thumbnail> = tier.visible(thumbnails).collect();
        let highest = included.last();
        let best = match size {
            Size::Page => highest,
            Size::Tile => {
                included.iter().find(|thumbnail| thumbnail.height.px() >= TILE_PX).or(highest)
            }
        };
        let thumbnail_links =
            included.iter().map(|thumbnail| FileLink::thumbnail(image, thumbnail, urls));
        Self {
            id: image.id.0,
            title: image.title.as_str().to_owned(),
            placeholder: placeholder(image),
            shown: best.map_or(Shown::Nothing, |thumbnail| Shown::new(image, thumbnail)),
            links: FileLink::original(image, tier, urls)
                .into_iter()
                .chain(thumbnail_links)
                .collect(),
        }
    }
}

/// What stands for an image until its thumbnail is there: a tiny PNG as a data URL, once a worker
/// has seen the image.
pub(super) fn placeholder(image: &Image) -> Option<String> {
    let png = imaging::placeholder_png(image.placeholder.as_deref()?)?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)))
}

impl Shown {
    fn new(image: &Image, thumbnail: &Thumbnail) -> Self {
        let path = Urls::within_page().thumbnail(&image.title, thumbnail.id, image.format);
        let (width, height) = thumbnail.display_size(image);
        match &thumbnail.state {
            ThumbnailState::Ready { .. } => Self::Ready { path, width, height },
            ThumbnailState::Absent | ThumbnailState::Pending => {
                Self::Awaited { path, width, height }
            }
            ThumbnailState::Failed { reason } => {
                Self::Failed { asked: thumbnail.height, reason: reason.clone() }
            }
        }
    }
}

impl FileLink {
    fn original(image: &Image, tier: &Tier, urls: &Urls) -> Option<Self> {
        tier.allows_original().ok()?;
        Some(Self {
            label: "Original".to_owned(),
            url: urls.original(&image.title, image.original, image.format),
            facts: format!(
                "{} × {} px, {}",
                image.width,
                image.height,
                super::format::bytes(image.bytes)
            ),
            awaited: None,
            failure: None,
        })
    }

    fn thumbnail(image: &Image, thumbnail: &Thumbnail, urls: &Urls) -> Self {
        let (width, height) = thumbnail.display_size(image);
        let (more, failure) = match &thumbnail.state {
            ThumbnailState::Ready { bytes, .. } => (super::format::bytes(*bytes), None),
            ThumbnailState::Absent => ("made when first asked for".to_owned(), None),
            ThumbnailState::Pending => ("being made".to_owned(), None),
            ThumbnailState::Failed { reason } => {
                ("failed".to_owned(), Some((thumbnail.height, reason.clone())))
            }
        };
        let path = || Urls::within_page().thumbnail(&image.title, thumbnail.id, image.format);
        Self {
            awaited: thumbnail.state.is_pending().then(path),
            label: format!("{} px", thumbnail.height),
            url: urls.thumbnail(&image.title, thumbnail.id, image.format),
            facts: format!("{width} × {height} px, {more}"),
            failure,
        }
    }
}
