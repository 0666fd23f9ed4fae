//! `/api/changes`: what happened to an account's images, in order and without a gap.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use shared::{
    db,
    domain::{Change, Cursor, Login, User},
    services::changes::{self, Changes},
};
use utoipa::IntoParams;

use super::{events::end_of, wait::Wait};
use crate::{
    AppState,
    auth::{self, Access, Caller, ImagesRead},
    change_signals::ChangeFollower,
    client_ip::Client,
    error::{Problem, ProblemCode, problems},
    extract::Query,
    json::{ChangeJson, ChangesJson},
};

const CHANGES_DEFAULT: i64 = 200;
const CHANGES_MAX: i64 = 1000;
const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: &str = "last-event-id";
/// Proxies close connections that are silent for long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Changes are looked at this often without a sign of one, as notifications may be lost.
const RECHECK_INTERVAL: Duration = Duration::from_secs(15);

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangesQuery {
    /// The `cursor` of the answer before. Without it, the answer has no changes and the place after
    /// the last one until now.
    after: Option<String>,
    /// Changes in an answer, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: Option<i64>,
}

/// Follow your changes
///
/// Every image that is created, renamed or deleted, and every thumbnail that becomes ready or
/// fails, in order, none left out and none twice; kept for 7 days. With `Prefer: wait=N`, a request
/// that finds nothing waits for at most N seconds, 30 at the longest.
///
/// With `Accept: text/event-stream` the answer is a stream: each event's `id` is the cursor after
/// it, its `event` the kind, and its data the change. A client that connects again sends
/// `Last-Event-ID` and misses nothing.
#[utoipa::path(
    get,
    path = "/api/changes",
    tag = "images",
    params(ChangesQuery),
    responses((status = 200, description = "The changes after the cursor", content(
        (ChangesJson = "application/json"),
        (ChangeJson = "text/event-stream"),
    ))),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[&[ProblemCode::InvalidField, ProblemCode::CursorExpired]]))),
    ),
)]
pub(crate) async fn follow_changes(
    State(state): State<AppState>,
    caller: Caller<ImagesRead>,
    Client(from): Client,
    headers: HeaderMap,
    Query(query): Query<ChangesQuery>,
) -> Result<Response, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let limit = query.limit.unwrap_or(CHANGES_DEFAULT);
    if !(1..=CHANGES_MAX).contains(&limit) {
        let rule = format!("An answer has 1 to {CHANGES_MAX} changes, not {limit}.");
        return Err(Problem::field("limit", rule));
    }
    let is_stream = text(header::ACCEPT.as_str()).is_some_and(|types| types.contains(EVENT_STREAM));
    let last_event = text(LAST_EVENT_ID).filter(|id| is_stream && !id.is_empty());
    let place: Option<Cursor> =
        last_event.or(query.after.as_deref()).map(str::parse).transpose()?;
    // first follow, then look: what changes in between is heard
    let follower = state.change_signals.follow(caller.user.id);
    if is_stream {
        return stream_changes(state, caller, follower, place, limit).await;
    }
    let wait = Wait::preferred(&headers);
    let found = match place {
        None => {
            let cursor = changes::now(&state.services, &caller.user).await?;
            Changes { changes: Vec::new(), cursor, has_more: false }
        }
        Some(place) => {
            let take = |patience| Some((patience, state.waiting.take(caller.user.id, from)?));
            let waiting = wait.patience().and_then(take);
            let patience = waiting.as_ref().map_or(Duration::ZERO, |(patience, _)| *patience);
            wait_for_changes(&state, &caller.user, follower, place, limit, patience).await?
        }
    };
    let mut answered = HeaderMap::new();
    wait.record(&mut answered);
    let json = ChangesJson {
        changes: found.changes.iter().map(ChangeJson::new).collect(),
        cursor: found.cursor.to_string(),
        has_more: found.has_more,
    };
    Ok((answered, Json(json)).into_response())
}

/// Looks until there is something, or the patience ends.
async fn wait_for_changes(
    state: &AppState,
    user: &User,
    mut follower: ChangeFollower,
    mut place: Cursor,
    limit: i64,
    patience: Duration,
) -> Result<Changes, Problem> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let found = changes::after(&state.services, user, place, limit).await?;
        place = found.cursor;
        if !found.changes.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok(found);
        }
        let recheck = tokio::time::sleep(RECHECK_INTERVAL);
        tokio::select! {
            () = follower.changed() => {}
            () = recheck => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = state.stop.cancelled() => return Ok(found),
        }
    }
}

async fn stream_changes(
    state: AppState,
    caller: Caller<ImagesRead>,
    follower: ChangeFollower,
    place: Option<Cursor>,
    limit: i64,
) -> Result<Response, Problem> {
    let place = match place {
        Some(place) => place,
        None => changes::now(&state.services, &caller.user).await?,
    };
    // an expired cursor is refused as such, not by a stream that ends
    let first = changes::after(&state.services, &caller.user, place, limit).await?;
    let end = end_of(&state, caller.credential);
    // who connects again before the first change names this place
    let start = Event::default().event("start").id(place.to_string()).data("{}");
    let streamer = Streamer { state, login: caller.login, follower, limit, next: Some(first) };
    let events = stream::unfold((streamer, place), Streamer::step).flat_map(stream::iter);
    let events = stream::iter([start]).chain(events).map(Ok::<_, Infallible>).take_until(end);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// One client that follows an account.
struct Streamer {
    state: AppState,
    login: Login,
    follower: ChangeFollower,
    limit: i64,
    /// What was found already.
    next: Option<Changes>,
}

impl Streamer {
    async fn step(
        (mut streamer, mut place): (Self, Cursor),
    ) -> Option<(Vec<Event>, (Self, Cursor))> {
        loop {
            let found = match streamer.next.take() {
                Some(found) => found,
                // without it the client connects again and names its place
                None => streamer.look(place).await.ok()?,
            };
            place = found.cursor;
            if !found.changes.is_empty() {
                let events: Option<Vec<Event>> = found.changes.iter().map(event).collect();
                return events.map(|events| (events, (streamer, place)));
            }
            if !found.has_more {
                let changed = streamer.follower.changed();
                // an error says that the time is up: then it looks without a sign
                let _ = tokio::time::timeout(RECHECK_INTERVAL, changed).await;
            }
        }
    }

    async fn look(&self, place: Cursor) -> Result<Changes, Problem> {
        let services = &self.state.services;
        let user = db::users::active(&mut *services.connection().await?, self.login).await?;
        let user = user.ok_or_else(auth::not_logged_in)?;
        Ok(changes::after(services, &user, place, self.limit).await?)
    }
}

fn event(change: &Change) -> Option<Event> {
    let event = Event::default().event(change.kind.as_str()).id(change.cursor.to_string());
    event.json_data(ChangeJson::new(change)).ok()
}
