//! Pixels: what an upload is, and thumbnails of it. Pure and synchronous; knows no files, no
//! database, no network.
//!
//! 1. [`inspect`] reads the structure of a file, whatever it is called, and holds it against
//!    [`Limits`] before any pixel is decoded.
//! 2. [`thumbnails`] decodes once, no larger than the largest thumbnail needs, and for each height
//!    resizes (Lanczos3), converts the colours to sRGB, turns as the EXIF orientation says, and
//!    encodes: JPEG as JPEG, PNG as PNG. All metadata are left out.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod deadline;
mod format;
mod geometry;
mod inspect;
pub mod jpeg;
mod limits;
mod orientation;
mod placeholder;
mod thumbnail;

pub use deadline::{Deadline, DeadlineExceeded};
pub use format::{Format, UnknownFormat};
pub use geometry::thumbnail_size;
pub use inspect::{InspectError, Inspection, inspect};
pub use limits::Limits;
pub use orientation::Orientation;
pub use placeholder::placeholder_png;
pub use thumbnail::{
    Options, Rendition, Thumbnail, ThumbnailError, memory_needed, pictures, thumbnails,
};
