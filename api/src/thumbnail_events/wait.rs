//! Requests that wait for a thumbnail.

use std::time::Duration;

use shared::{
    domain::{ThumbnailId, ThumbnailState, UserId},
    services::{accounts::ClientAddress, thumbnails},
};

use super::{WaitEnd, Waiter};
use crate::{AppState, error::Problem};

/// The longest time for the look at the end of a wait.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Waits until a pending thumbnail of `owner` is no longer pending, at most `patience`; what it is
/// then.
pub(crate) async fn wait_for_thumbnail(
    state: &AppState,
    id: ThumbnailId,
    owner: UserId,
    from: ClientAddress,
    patience: Duration,
) -> Result<ThumbnailState, Problem> {
    let Some(_place) = state.waiting.take(owner, from) else {
        return Ok(ThumbnailState::Pending);
    };
    // first register, then look: what ends in between is heard
    let mut waiter = state.thumbnail_events.wait_for(id);
    let current = thumbnails::state(&mut *state.services.connection().await?, id).await?;
    if !current.is_pending() {
        return Ok(current);
    }
    tokio::select! {
        end = waiter.end() => state_at(end),
        () = state.stop.cancelled() => Ok(ThumbnailState::Pending),
        () = tokio::time::sleep(patience) => last_look(state, &waiter).await,
    }
}

/// What a thumbnail is when the patience for it ends: its notification may have been lost.
async fn last_look(state: &AppState, waiter: &Waiter) -> Result<ThumbnailState, Problem> {
    let is_sure =
        tokio::time::timeout(LAST_LOOK_LIMIT, state.thumbnail_events.look()).await.unwrap_or(false);
    match waiter.known_end() {
        Some(end) => state_at(end),
        None if is_sure => Ok(ThumbnailState::Pending),
        None => Err(Problem::unavailable("The database does not answer. Try again soon.")),
    }
}

fn state_at(end: WaitEnd) -> Result<ThumbnailState, Problem> {
    match end {
        WaitEnd::State(state) => Ok(state),
        WaitEnd::Deleted => Err(Problem::not_found("file")),
    }
}
