//! Whether the process lives, and whether it can work.

use axum::extract::State;

use crate::{AppState, error::Problem};

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
/// Ready when the database answers and the service is not stopping.
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
    Ok("ready\n")
}
