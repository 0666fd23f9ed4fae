//! Whether the process lives, and whether it can work.

use std::time::Duration;

use axum::extract::State;

use crate::{AppState, error::Problem};

/// The paths of both checks.
pub(crate) const CHECKS: [&str; 2] = ["/healthz", "/readyz"];

/// The storage answers within this time, or counts as away.
const STORAGE_LIMIT: Duration = Duration::from_secs(2);

/// Is the process alive?
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain")),
)]
pub(crate) async fn is_alive() -> &'static str {
    "alive\n"
}

/// Can the process work?
///
/// Ready when the database and the storage answer, they belong together, and the service is not
/// stopping.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses((status = 200, description = "Ready", body = String, content_type = "text/plain")),
)]
pub(crate) async fn is_ready(State(state): State<AppState>) -> Result<&'static str, Problem> {
    if state.stop.is_cancelled() {
        return Err(Problem::unavailable("The service is stopping."));
    }
    if !state.database.answers().await {
        return Err(Problem::unavailable("The database does not answer."));
    }
    let looked = tokio::time::timeout(STORAGE_LIMIT, state.services.storage.verify()).await;
    if !looked.is_ok_and(|looked| looked.is_ok()) {
        return Err(Problem::unavailable(
            "The storage does not answer, or it belongs to another database.",
        ));
    }
    Ok("ready\n")
}
