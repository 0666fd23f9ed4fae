//! Revoking expiring links of any account.

use serde_json::json;
use shared::{
    db,
    domain::{LinkId, User},
    postgres,
};

use super::{Done, record};
use crate::{AppState, error::Problem};

/// Revokes a link.
pub(crate) async fn revoke_link(state: &AppState, admin: &User, id: LinkId) -> Result<(), Problem> {
    let mut tx = postgres::begin(&state.pool).await?;
    let revoked = db::admin::links::delete(&mut tx, id).await?.ok_or_else(|| Problem::not_found("link"))?;
    let done = Done {
        action: "revoke",
        object_type: "link",
        object_id: id.to_string(),
        object_label: revoked.title.as_str(),
        changes: json!({
            "image": revoked.link.image, "owner": revoked.owner, "expires_at": revoked.link.expires_at,
        }),
    };
    record(&mut tx, state, admin, done).await?;
    tx.commit().await?;
    Ok(())
}
