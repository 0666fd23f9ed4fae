//! What administrators change. Each procedure is one transaction and leaves a line in the audit trail.

pub(crate) mod images;
pub(crate) mod jobs;
pub(crate) mod links;
pub(crate) mod tiers;
pub(crate) mod users;

use serde_json::Value;
use shared::{
    administration::AdministrationError,
    db::{
        self,
        admin_actions::{Actor, AdminAction},
    },
    domain::User,
};
use sqlx::PgConnection;

use crate::{AppState, error::Problem};

impl From<AdministrationError> for Problem {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::Invalid(invalid) => invalid.into(),
            AdministrationError::UsernameTaken(_) => Self::field("username", error.to_string()),
            AdministrationError::TierNameTaken(_) => Self::field("name", error.to_string()),
            AdministrationError::Database(error) => error.into(),
            AdministrationError::NoSuchTier(_)
            | AdministrationError::TierFile(_)
            | AdministrationError::Hash(_) => Self::internal(&error),
        }
    }
}

fn actor(admin: &User) -> Actor<'_> {
    Actor::Admin { id: admin.id, username: admin.username.as_str() }
}

/// What was done, and to what.
struct Done<'a> {
    action: &'a str,
    object_type: &'a str,
    object_id: String,
    object_label: &'a str,
    changes: Value,
}

async fn record(
    connection: &mut PgConnection,
    state: &AppState,
    admin: &User,
    done: Done<'_>,
) -> sqlx::Result<()> {
    let action = AdminAction {
        actor: actor(admin),
        action: done.action,
        object_type: done.object_type,
        object_id: &done.object_id,
        object_label: done.object_label,
        changes: done.changes,
    };
    db::admin_actions::record(connection, &action, state.clock.now()).await
}
