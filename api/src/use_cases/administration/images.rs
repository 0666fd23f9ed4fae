//! Deleting images of any account.

use serde_json::json;
use shared::{
    db,
    domain::{ImageId, User, UserId},
    postgres,
};

use super::{Done, record};
use crate::{AppState, error::Problem, use_cases::delete_image::delete_locked};

/// Deletes those of the images that are there, with their thumbnails, links and files; how many.
pub(crate) async fn delete_images(state: &AppState, admin: &User, ids: &[ImageId]) -> Result<u64, Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let images = db::admin::images::lock(&mut tx, ids).await?;
    // in one order, as their counts of bytes change below: two such requests could wait for each other
    let owners: Vec<UserId> = images.iter().map(|image| image.owner).collect();
    db::admin::users::lock(&mut tx, &owners).await?;
    for image in &images {
        delete_locked(&mut tx, image).await?;
        let done = Done {
            action: "delete",
            object_type: "image",
            object_id: image.id.to_string(),
            object_label: image.title.as_str(),
            changes: json!({"owner": image.owner, "bytes": image.bytes}),
        };
        record(&mut tx, state, admin, done).await?;
    }
    tx.commit().await?;
    Ok(images.len() as u64)
}
