//! Handlers: each parses a request, calls a use case and represents its result. Their names are the
//! operations' ids in the description of the API. `x-problems` lists the codes that a handler
//! itself may answer with; those that every handler shares are added in [`crate::openapi`].

pub(crate) mod account;
pub(crate) mod changes;
pub(crate) mod events;
pub(crate) mod expiring_links;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod media;
pub(crate) mod session;
pub(crate) mod thumbnails;
pub(crate) mod tokens;
pub(crate) mod upload;
mod wait;
