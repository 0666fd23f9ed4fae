//! The style sheet, the scripts and the icon, which are part of the program.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

use axum::{
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::error::Problem;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal $content_type:literal,)*) => {
        const ASSETS: &[Asset] = &[$(Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $name)),
        }),*];
    };
}

assets! {
    "style.css" "text/css; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "app.js" "text/javascript; charset=utf-8",
    "copy.js" "text/javascript; charset=utf-8",
    "gallery.js" "text/javascript; charset=utf-8",
    "selection.js" "text/javascript; charset=utf-8",
    "times.js" "text/javascript; charset=utf-8",
    "uploads.js" "text/javascript; charset=utf-8",
}

/// Stands in the path of every asset and changes with any of them, so that browsers may keep them
/// for ever. The scripts import each other by relative paths and so stay of one version.
pub(super) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        for asset in ASSETS {
            (asset.name, asset.bytes).hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    });
    &VERSION
}

/// `GET /assets/{version}/{name}`
pub(crate) async fn show_asset(
    Path((asked, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| Problem::not_found("page"))?;
    // a page of another version gets what there is, but not for ever
    let lifetime =
        if asked == version() { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, lifetime)]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((headers, asset.bytes).into_response())
}

/// `GET /favicon.ico`, which browsers ask for beside files that are no pages.
pub(crate) async fn show_icon() -> Result<Response, Problem> {
    show_asset(Path((String::new(), "icon.svg".to_owned()))).await
}
