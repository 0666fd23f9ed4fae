//! Server-sent events, so that a page need not ask again and again.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt, stream};
use shared::{
    db,
    domain::{Image, Login, Thumbnail, ThumbnailState, Tier, UserId},
    metrics::EVENT_STREAMS,
    services::images,
};

use crate::{
    AppState,
    auth::{self, Access, Caller, Credential, ImagesRead},
    error::{Problem, ProblemCode, problems},
    extract::{ImagePath, Path},
    json::{ImageThumbnailJson, ThumbnailJson},
    thumbnail_events::{EndedThumbnail, Subscription, ThumbnailEvent},
    urls::Urls,
};

/// Proxies close connections that are silent for long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Hear of an image's thumbnails
///
/// An event `thumbnail` for each one that becomes ready or fails, with the same JSON as the
/// thumbnail's status. Those that are ready or failed already come first.
#[utoipa::path(
    get,
    path = "/api/images/{pk}/events",
    tag = "images",
    params(ImagePath),
    responses((status = 200, description = "Events until the client closes the connection", body = ThumbnailJson,
               content_type = "text/event-stream")),
    extensions(
        ("x-scope" = json!(ImagesRead::SCOPE)),
        ("x-problems" = json!(problems(&[&[ProblemCode::NotFound]])))),
)]
pub(crate) async fn image_events(
    State(state): State<AppState>,
    caller: Caller<ImagesRead>,
    urls: Urls,
    Path(ImagePath { pk: id }): Path<ImagePath>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    // first subscribe, then look: what ends in between is heard
    let subscription = state.thumbnail_events.subscribe();
    let image = images::find(&state.services, &caller.user, id).await?.image;
    let end = end_of(&state, caller.credential);
    let login = caller.login;
    let follower =
        Follower { state, login, urls, image, subscription, next: Some(ThumbnailEvent::Missed) };
    let events =
        stream::unfold(follower, Follower::step).flat_map(stream::iter).map(Ok).take_until(end);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Hear of all your thumbnails
///
/// An event `thumbnail` for each one of yours that becomes ready or fails from now on. An event
/// `missed` says that some may not have been told: ask for what you wait for.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "images",
    responses((status = 200, description = "Events until the client closes the connection",
               body = ImageThumbnailJson, content_type = "text/event-stream")),
    extensions(("x-scope" = json!(ImagesRead::SCOPE))),
)]
pub(crate) async fn all_events(
    State(state): State<AppState>,
    caller: Caller<ImagesRead>,
    urls: Urls,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let subscription = state.thumbnail_events.subscribe();
    let end = end_of(&state, caller.credential);
    let follower = OwnerFollower { owner: caller.user.id, urls, subscription };
    let events = stream::unfold(follower, OwnerFollower::step).map(Ok).take_until(end);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// A future that is ready when the session or token, or the process, ends.
pub(super) fn end_of(state: &AppState, credential: Credential) -> impl Future<Output = ()> + use<> {
    let open = state.credentials.open(credential);
    let stop = state.stop.clone();
    let measured = EVENT_STREAMS.hold(1.0);
    async move {
        // the stream owns this future, and drops it when the client has gone
        let _measured = measured;
        tokio::select! { () = open.ended() => {}, () = stop.cancelled() => {} }
    }
}

/// One client that hears of all of an account's images.
struct OwnerFollower {
    owner: UserId,
    urls: Urls,
    subscription: Subscription,
}

impl OwnerFollower {
    async fn step(mut self) -> Option<(Event, Self)> {
        loop {
            let event = match self.subscription.next().await {
                ThumbnailEvent::Ended(finished)
                    if finished.image.owner != self.owner
                        || finished.tier.allows_height(finished.thumbnail.height).is_err() =>
                {
                    continue;
                }
                ThumbnailEvent::Ended(finished) => self.event(&finished),
                ThumbnailEvent::Missed => Ok(Event::default().event("missed").data("{}")),
            };
            // without one the client connects again and asks for what it waits for
            return event.ok().map(|event| (event, self));
        }
    }

    fn event(&self, finished: &EndedThumbnail) -> Result<Event, axum::Error> {
        let json = ImageThumbnailJson::new(&finished.image, &finished.thumbnail, &self.urls);
        Event::default().event("thumbnail").json_data(json)
    }
}

/// One client that hears of one image.
struct Follower {
    state: AppState,
    login: Login,
    urls: Urls,
    image: Image,
    subscription: Subscription,
    /// What is to be told before anything else is heard.
    next: Option<ThumbnailEvent>,
}

impl Follower {
    async fn step(mut self) -> Option<(Vec<Event>, Self)> {
        loop {
            let event = match self.next.take() {
                Some(event) => event,
                None => self.subscription.next().await,
            };
            let events = match event {
                ThumbnailEvent::Ended(finished) if finished.image.id != self.image.id => continue,
                ThumbnailEvent::Ended(finished) => {
                    self.events(std::slice::from_ref(&finished.thumbnail), &finished.tier)
                }
                ThumbnailEvent::Missed => self.look().await,
            };
            // without them the client connects again and learns what it missed
            return events.ok().map(|events| (events, self));
        }
    }

    /// The ends of all thumbnails until now.
    async fn look(&self) -> Result<Vec<Event>, Problem> {
        let mut connection = self.state.services.connection().await?;
        let user = db::users::active(&mut connection, self.login).await?;
        let user = user.ok_or_else(auth::not_logged_in)?;
        let thumbnails = db::thumbnails::of_images(&mut connection, &[self.image.id]).await?;
        self.events(&thumbnails, &user.tier)
    }

    /// The ends of those thumbnails that the tier includes.
    fn events(&self, thumbnails: &[Thumbnail], tier: &Tier) -> Result<Vec<Event>, Problem> {
        let ended = |thumbnail: &&Thumbnail| {
            matches!(thumbnail.state, ThumbnailState::Ready { .. } | ThumbnailState::Failed { .. })
        };
        let event = |thumbnail: &Thumbnail| {
            let json = ThumbnailJson::new(&self.image, thumbnail, &self.urls);
            Event::default()
                .event("thumbnail")
                .json_data(json)
                .map_err(|error| Problem::internal(&error))
        };
        tier.visible(thumbnails).filter(ended).map(event).collect()
    }
}
