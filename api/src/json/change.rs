use serde::Serialize;
use shared::domain::{Change, ChangeKind};
use utoipa::ToSchema;

use super::Timestamp;

/// Something that happened to an image or a thumbnail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeJson {
    /// The place after this change.
    #[schema(example = "5a3f0c6b-17")]
    cursor: String,
    /// `image.created`, `image.renamed`, `image.deleted`, `thumbnail.ready` or `thumbnail.failed`.
    #[schema(value_type = String, example = "thumbnail.ready")]
    kind: ChangeKind,
    /// The image's number.
    pk: i64,
    /// The thumbnail's height in px; null for an image.
    #[schema(example = 200)]
    height: Option<u32>,
    at: Timestamp,
}

impl ChangeJson {
    pub(crate) fn new(change: &Change) -> Self {
        Self {
            cursor: change.cursor.to_string(),
            kind: change.kind,
            pk: change.image.0,
            height: change.height.map(shared::domain::Height::px),
            at: Timestamp(change.at),
        }
    }
}

/// What follows a place in an account's changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangesJson {
    /// In the order in which they happened.
    pub(crate) changes: Vec<ChangeJson>,
    /// What to send as `after` next time.
    #[schema(example = "5a3f0c6b-17")]
    pub(crate) cursor: String,
    /// Whether further changes are there already.
    pub(crate) has_more: bool,
}
