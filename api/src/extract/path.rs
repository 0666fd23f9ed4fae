//! What paths hold. A value that cannot be parsed is answered like one that does not exist.

use axum::{
    extract::{FromRequestParts, Path as AxumPath},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use shared::domain::{Height, ImageId, LinkId, TierId, TokenId, UserId};
use utoipa::IntoParams;

use crate::error::{Problem, ProblemCode};

/// The parameters of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = AxumPath::<T>::from_request_parts(parts, state).await;
        let nothing = || Problem::new(ProblemCode::NotFound, "There is nothing at this URL.");
        path.map(|AxumPath(params)| Self(params)).map_err(|_| nothing())
    }
}

/// Names an image.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ImagePath {
    /// The image's number
    #[param(value_type = i64)]
    pub(crate) pk: ImageId,
}

/// Names a thumbnail of an image.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ThumbnailPath {
    /// The image's number
    #[param(value_type = i64)]
    pub(crate) pk: ImageId,
    /// The height that the tier names, in px
    #[param(value_type = u32)]
    pub(crate) height: Height,
}

/// Names an expiring link of an image.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct LinkPath {
    /// The image's number
    #[param(value_type = i64)]
    pub(crate) pk: ImageId,
    /// The link's id
    #[param(value_type = String)]
    pub(crate) id: LinkId,
}

/// Names a file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FilePath {
    /// The file's name, as links have it
    pub(crate) file: String,
}

/// Names an API token.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TokenPath {
    /// The token's id
    #[param(value_type = i64)]
    pub(crate) id: TokenId,
}

/// Names an account in the panel.
#[derive(Deserialize)]
pub(crate) struct UserPath {
    pub(crate) id: UserId,
}

/// Names a tier in the panel.
#[derive(Deserialize)]
pub(crate) struct TierPath {
    pub(crate) id: TierId,
}

/// Names an expiring link in the panel.
#[derive(Deserialize)]
pub(crate) struct AnyLinkPath {
    pub(crate) id: LinkId,
}
