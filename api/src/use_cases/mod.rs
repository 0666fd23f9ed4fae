//! Procedures: what a request changes, each in one transaction. Nothing else of the API writes to the database.

pub(crate) mod administration;
pub(crate) mod change_password;
pub(crate) mod delete_image;
pub(crate) mod expiring_links;
pub(crate) mod list_images;
pub(crate) mod log_in;
pub(crate) mod rename_image;
pub(crate) mod thumbnails;
pub(crate) mod upload_image;
