//! Extractors: what a handler gets is parsed, and what cannot be parsed is a problem with a stable code.

mod body;
mod query;
mod whole_number;

use std::collections::HashMap;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use shared::domain::{Height, ImageId, LinkId};
use uuid::Uuid;

pub(crate) use body::{Body, Form};
pub(crate) use query::Query;
pub(crate) use whole_number::WholeNumber;

use crate::error::Problem;

/// `{pk}` of the path. Anything but a positive number is answered like an unknown image.
pub(crate) struct Pk(pub(crate) ImageId);

/// `{pk}` and `{height}` of the path.
pub(crate) struct PkAndHeight(pub(crate) ImageId, pub(crate) Height);

/// `{pk}` and `{id}` of the path.
pub(crate) struct PkAndLink(pub(crate) ImageId, pub(crate) LinkId);

/// `{id}` of the path where it is a number.
pub(crate) struct Number(pub(crate) i64);

/// `{id}` of the path, whatever it is.
pub(crate) struct Id(pub(crate) String);

/// `{file}` of the path.
pub(crate) struct FileName(pub(crate) String);

async fn path_params<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<HashMap<String, String>, Problem> {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
    // only a path that is not UTF-8 once it is decoded gets here
    path.map(|Path(params)| params).map_err(|_| Problem::not_found("page"))
}

fn image_id(params: &HashMap<String, String>) -> Result<ImageId, Problem> {
    let pk = params.get("pk").and_then(|pk| pk.parse().ok()).filter(|pk| *pk > 0);
    pk.map(ImageId).ok_or_else(|| Problem::not_found("image"))
}

impl<S: Send + Sync> FromRequestParts<S> for Pk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        image_id(&path_params(parts, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PkAndHeight {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let height = params.get("height").and_then(|height| height.parse::<i64>().ok());
        let height = height.and_then(|px| Height::try_from(px).ok());
        Ok(Self(image_id(&params)?, height.ok_or_else(|| Problem::not_found("thumbnail"))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PkAndLink {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let id = params.get("id").and_then(|id| Uuid::try_parse(id).ok()).map(LinkId);
        Ok(Self(image_id(&params)?, id.ok_or_else(|| Problem::not_found("link"))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        id.parse().map(Self).map_err(|_| Problem::not_found("page"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut params = path_params(parts, state).await?;
        params.remove("id").map(Self).ok_or_else(|| Problem::not_found("page"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FileName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut params = path_params(parts, state).await?;
        params.remove("file").map(Self).ok_or_else(|| Problem::not_found("file"))
    }
}
