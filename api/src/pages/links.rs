//! Making and revoking the links of an image that expire.

use std::borrow::Borrow;

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::{
    domain::{ExpiringLink, ImageId, LinkTarget, Tier, User, ValidFor},
    services::links,
};

use super::{
    Visitor, format,
    forms::{Choice, Fields, FormErrors},
    image::{Refused, show},
};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, ImagePath, LinkPath, Path},
    urls::{Urls, page_paths},
};

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
    fn parse(&self) -> Result<(LinkTarget, ValidFor), Problem> {
        let mut fields = Fields::default();
        let target = fields.parse("target", self.target.parse());
        let valid_for =
            fields.parse("valid_for", self.preset.as_ref().unwrap_or(&self.valid_for).parse());
        fields.finish(target.zip(valid_for))
    }
}

/// `POST /images/{pk}/links`
pub(crate) async fn create_link(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    Path(ImagePath { pk: image }): Path<ImagePath>,
    Form(form): Form<LinkForm>,
) -> Result<Response, Problem> {
    match create(&state, &visitor.user, image, &form).await {
        Ok(link) => {
            let lives = format::in_words(link.expires_at - link.created_at);
            let notice = format!("Link created. It expires in {lives}.");
            visitor.go(&page_paths::links(image), &notice).await
        }
        Err(problem) => {
            let refused =
                Refused { link: Some((form, FormErrors::of(problem)?)), ..Refused::default() };
            show(&state, &visitor, &urls, image, refused).await
        }
    }
}

async fn create(
    state: &AppState,
    user: &User,
    image: ImageId,
    form: &LinkForm,
) -> Result<ExpiringLink, Problem> {
    user.tier.allows_expiring_links()?;
    let (target, valid_for) = form.parse()?;
    Ok(links::create(&state.services, user, image, target, valid_for).await?)
}

/// `POST /images/{pk}/links/{id}/revoke`
pub(crate) async fn revoke_link(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(LinkPath { pk: image, id }): Path<LinkPath>,
) -> Result<Response, Problem> {
    links::revoke(&state.services, &visitor.user, image, id).await?;
    visitor.go(&page_paths::links(image), "Link revoked.").await
}
