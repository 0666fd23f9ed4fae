//! The page of one image: its links, renaming, deleting, and the links that expire.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use shared::{
    domain::{ExpiringLink, Image, ImageId, Title, User},
    services::{images, links, thumbnails},
};

use super::{
    Layout, Visitor, format,
    forms::{Choice, FormErrors},
    links::{LinkForm, ListedLink, link_targets},
    page,
    picture::{Picture, Shown, Size},
};
use crate::{
    AppState,
    error::Problem,
    extract::{Form, ImagePath, LinkPath, Path, ThumbnailPath},
    urls::{Urls, page_paths},
};

#[derive(Template)]
#[template(path = "image.html")]
struct ImagePage<'a> {
    layout: Layout,
    user: &'a User,
    image: &'a Image,
    picture: Picture,
    /// As it is, or as it was typed.
    title: String,
    title_errors: FormErrors,
    /// What a link can show; nothing where the tier lacks links that expire.
    link_targets: Option<Vec<Choice>>,
    links: Vec<ListedLink>,
    link_form: LinkForm,
    link_errors: FormErrors,
}

/// What was typed into one of the page's forms and could not be taken.
#[derive(Default)]
struct Refused {
    title: Option<(String, FormErrors)>,
    link: Option<(LinkForm, FormErrors)>,
}

/// `GET /images/{pk}`
pub(crate) async fn show_image(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Response, Problem> {
    show(&state, &visitor, &urls, id, Refused::default()).await
}

/// The page, with what was refused.
async fn show(
    state: &AppState,
    visitor: &Visitor,
    urls: &Urls,
    id: ImageId,
    refused: Refused,
) -> Result<Response, Problem> {
    let user = &visitor.user;
    let found = images::find(&state.services, user, id).await?;
    let links = match user.tier.allows_expiring_links() {
        Ok(()) => links::list(&state.services, user, id).await?,
        Err(_) => Vec::new(),
    };
    let now = state.services.clock.now();
    let (title, title_errors) = refused
        .title
        .unwrap_or_else(|| (found.image.title.as_str().to_owned(), FormErrors::default()));
    let (link_form, link_errors) = refused.link.unwrap_or_default();
    let status = [&title_errors, &link_errors].map(FormErrors::status);
    let image_page = ImagePage {
        layout: visitor.layout().await?,
        user,
        picture: Picture::new(&found, &user.tier, urls, Size::Page),
        image: &found.image,
        title,
        title_errors,
        link_targets: link_targets(&user.tier, &link_form.target),
        links: links.iter().map(|link| ListedLink::new(link, now, urls)).collect(),
        link_form,
        link_errors,
    };
    let status = status.into_iter().find(|status| *status != StatusCode::OK).unwrap_or_default();
    Ok(page(status, &image_page))
}

#[derive(Deserialize)]
pub(crate) struct TitleForm {
    #[serde(default)]
    title: String,
}

/// `POST /images/{pk}/title`
pub(crate) async fn rename_image(
    State(state): State<AppState>,
    visitor: Visitor,
    urls: Urls,
    Path(ImagePath { pk: id }): Path<ImagePath>,
    Form(form): Form<TitleForm>,
) -> Result<Response, Problem> {
    let renaming = async {
        let title = Title::try_from(form.title.clone())?;
        images::rename(&state.services, &visitor.user, id, &title, None).await
    };
    match renaming.await {
        Ok(_) => visitor.go(&page_paths::image(id), "Renamed. Existing links keep working.").await,
        Err(problem) => {
            let refused = Refused {
                title: Some((form.title, FormErrors::of(problem)?)),
                ..Refused::default()
            };
            show(&state, &visitor, &urls, id, refused).await
        }
    }
}

#[derive(Template)]
#[template(path = "image_delete.html")]
struct DeletePage<'a> {
    layout: Layout,
    image: &'a Image,
    thumbnails: u64,
    live_links: u64,
}

/// `GET /images/{pk}/delete`: asks, and names what goes.
pub(crate) async fn confirm_deletion(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Response, Problem> {
    let cascade = images::cascade(&state.services, &visitor.user, id).await?;
    let images::Cascade { image, thumbnails, live_links } = cascade;
    let layout = visitor.layout().await?;
    Ok(page(StatusCode::OK, &DeletePage { layout, image: &image, thumbnails, live_links }))
}

/// `POST /images/{pk}/delete`
pub(crate) async fn delete_image(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Response, Problem> {
    images::delete(&state.services, &visitor.user, id, None).await?;
    visitor.go(page_paths::GALLERY, "Image deleted.").await
}

/// `POST /images/{pk}/thumbnails/{height}/retry`
pub(crate) async fn retry_thumbnail(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(ThumbnailPath { pk: id, height }): Path<ThumbnailPath>,
) -> Result<Response, Problem> {
    thumbnails::retry(&state.services, &visitor.user, id, height).await?;
    visitor.go(&page_paths::image(id), "The thumbnail is being made again.").await
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
    Ok(links::create(&state.services, user, image, target, valid_for, None).await?)
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
