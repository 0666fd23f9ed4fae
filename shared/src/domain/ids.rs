//! Identifiers, one type for each thing, so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A user's number, counted by the database.
    UserId(i64);
    /// How often an account's password was changed.
    CredentialVersion(i32);
    /// A tier's number, counted by the database.
    TierId(i64);
    /// An API token's number, counted by the database.
    TokenId(i64);
    /// An image's number (`pk` in JSON), counted by the database.
    ImageId(i64);
    /// Names an original's file; random, so that its URL cannot be guessed.
    OriginalId(Uuid);
    /// Names a thumbnail and its file; random, so that its URL cannot be guessed.
    ThumbnailId(Uuid);
    /// Names an expiring link; random, so that its URL cannot be guessed.
    LinkId(Uuid);
}

macro_rules! random {
    ($($name:ident),*) => {$(
        impl $name {
            /// A fresh one: 122 random bits (RFC 9562, version 4).
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }
    )*};
}
random!(OriginalId, ThumbnailId, LinkId);
