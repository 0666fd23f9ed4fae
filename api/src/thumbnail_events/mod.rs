//! The ends of thumbnails, whichever process made them: one task of the process learns of them from
//! the database, reads them once, and tells the requests that wait and the streams of events.

mod wait;
mod waiters;

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use serde::Deserialize;
use shared::{
    db,
    domain::{Image, ImageId, Thumbnail, ThumbnailId, Tier},
    postgres::notifications::{self, Heard, Notifications},
};
use sqlx::PgPool;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot,
    },
    time::{MissedTickBehavior, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use wait::wait_for_thumbnail;
use waiters::{WaitEnd, Waiter, Waiters};

/// The channel that the triggers on `thumbnails` notify.
pub(crate) const CHANNEL: &str = "thumbnail_finished";
/// Events that a slow stream may be behind before it has to look for itself.
const BACKLOG: usize = 1024;
/// Thumbnails that requests wait for are looked at this often, as notifications may be lost.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for one look, beyond that of waiting for a connection.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A thumbnail that became ready, or failed.
#[derive(Debug)]
pub(crate) struct EndedThumbnail {
    pub(crate) image: Image,
    pub(crate) thumbnail: Thumbnail,
    /// The owner's at that moment.
    pub(crate) tier: Tier,
}

/// What a stream hears.
#[derive(Clone, Debug)]
pub(crate) enum ThumbnailEvent {
    Ended(Arc<EndedThumbnail>),
    /// Something may have been missed: look at the database.
    Missed,
}

/// Hands the ends of thumbnails to streams and waiting requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ThumbnailEvents {
    events: broadcast::Sender<ThumbnailEvent>,
    waiters: Waiters,
    /// Waiting requests at their deadline, which want one more look.
    last_looks: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

/// The ends of thumbnails from the moment of subscribing on.
pub(crate) struct Subscription {
    receiver: broadcast::Receiver<ThumbnailEvent>,
}

impl ThumbnailEvents {
    /// Listens in a task of its own until `stop`.
    pub(crate) fn listen(
        pool: PgPool,
        notifications: &Notifications,
        stop: CancellationToken,
    ) -> Self {
        let (events, _) = broadcast::channel(BACKLOG);
        let (last_looks, asked) = mpsc::unbounded_channel();
        let waiters = Waiters::default();
        let heard = notifications.subscribe();
        let teller = Teller { pool, heard, events: events.clone(), waiters: waiters.clone() };
        tokio::spawn(stop.run_until_cancelled_owned(teller.run(asked)));
        Self { events, waiters, last_looks }
    }

    /// Subscribes to the ends of all thumbnails from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.events.subscribe() }
    }

    /// Registers a request that waits for this thumbnail from now on.
    pub(crate) fn wait_for(&self, id: ThumbnailId) -> Waiter {
        self.waiters.register(id)
    }

    /// Has the task look at all thumbnails that are waited for; whether it could.
    pub(crate) async fn look(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.last_looks.send(answer).is_ok() && answered.await.is_ok()
    }
}

impl Subscription {
    pub(crate) async fn next(&mut self) -> ThumbnailEvent {
        match self.receiver.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => ThumbnailEvent::Missed,
            // the sender lives as long as the server
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The payload of a notification.
#[derive(Deserialize)]
struct Notice {
    thumbnail: ThumbnailId,
    state: End,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Ready,
    Failed,
    /// With its image.
    Deleted,
}

/// The one task of the process that hears and tells.
struct Teller {
    pool: PgPool,
    heard: notifications::Subscription,
    events: broadcast::Sender<ThumbnailEvent>,
    waiters: Waiters,
}

impl Teller {
    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>) -> Infallible {
        let mut recheck = tokio::time::interval(RECHECK_INTERVAL);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.heard.next() => self.hear(heard).await,
                _ = recheck.tick() => {
                    self.look().await;
                }
                Some(first) = asked.recv() => {
                    let mut answers = vec![first];
                    while let Ok(further) = asked.try_recv() {
                        answers.push(further);
                    }
                    if self.look().await {
                        // an error says that the request was given up meanwhile
                        for answer in answers {
                            let _ = answer.send(());
                        }
                    }
                }
            }
        }
    }

    /// Tells what was heard, with what else is there already.
    async fn hear(&mut self, first: Heard) {
        let (mut ended, mut is_sure) = (Vec::new(), true);
        let mut next = Some(first);
        while let Some(heard) = next {
            match heard {
                Heard::Missed => is_sure = false,
                Heard::Notification { channel, .. } if channel != CHANNEL => {}
                Heard::Notification { payload, .. } => match serde_json::from_str(&payload) {
                    Ok(Notice { thumbnail, state: End::Deleted }) => {
                        self.waiters.tell(thumbnail, WaitEnd::Deleted);
                    }
                    Ok(Notice { thumbnail, state: End::Ready | End::Failed }) => {
                        ended.push(thumbnail);
                    }
                    Err(_) => is_sure = false,
                },
            }
            next = self.heard.next_waiting();
        }
        is_sure &= self.tell(&ended).await;
        if !is_sure {
            self.look().await;
            // an error says that nobody is subscribed
            let _ = self.events.send(ThumbnailEvent::Missed);
        }
    }

    /// Reads thumbnails that ended, once for all who want to know; false when that failed.
    async fn tell(&self, ended: &[ThumbnailId]) -> bool {
        let has_streams = self.events.receiver_count() > 0;
        let wanted: Vec<_> = ended
            .iter()
            .copied()
            .filter(|id| has_streams || self.waiters.is_waited_for(*id))
            .collect();
        let Some(thumbnails) = self.read(&wanted).await else {
            return false;
        };
        for thumbnail in &thumbnails {
            self.waiters.tell(thumbnail.id, WaitEnd::State(thumbnail.state.clone()));
        }
        if !has_streams || thumbnails.is_empty() {
            return true;
        }
        let Some(images) = self.read_images(&thumbnails).await else {
            return false;
        };
        for thumbnail in thumbnails {
            if let Some((image, tier)) = images.get(&thumbnail.image) {
                let finished =
                    EndedThumbnail { image: image.clone(), thumbnail, tier: tier.clone() };
                let _ = self.events.send(ThumbnailEvent::Ended(Arc::new(finished)));
            }
        }
        true
    }

    /// Looks at all thumbnails that are waited for; false when that failed.
    async fn look(&self) -> bool {
        let waited_for = self.waiters.all();
        let Some(thumbnails) = self.read(&waited_for).await else {
            return false;
        };
        let mut found: HashMap<_, _> =
            thumbnails.into_iter().map(|thumbnail| (thumbnail.id, thumbnail.state)).collect();
        for id in waited_for {
            self.waiters.tell(id, found.remove(&id).map_or(WaitEnd::Deleted, WaitEnd::State));
        }
        true
    }

    async fn read(&self, ids: &[ThumbnailId]) -> Option<Vec<Thumbnail>> {
        if ids.is_empty() {
            return Some(Vec::new());
        }
        let reading = async { db::thumbnails::of_ids(&mut *self.pool.acquire().await?, ids).await };
        limited(reading).await
    }

    async fn read_images(
        &self,
        thumbnails: &[Thumbnail],
    ) -> Option<HashMap<ImageId, (Image, Tier)>> {
        let ids: Vec<_> = thumbnails.iter().map(|thumbnail| thumbnail.image).collect();
        let reading = async { db::images::of_ids(&mut *self.pool.acquire().await?, &ids).await };
        let images = limited(reading).await?;
        Some(images.into_iter().map(|found| (found.0.id, found)).collect())
    }
}

async fn limited<T>(reading: impl Future<Output = sqlx::Result<T>>) -> Option<T> {
    match timeout(LOOK_LIMIT, reading).await {
        Ok(Ok(read)) => Some(read),
        // the requests that wait report it, and the next look may go better
        Ok(Err(error)) => {
            tracing::debug!(%error, "Thumbnails that are waited for cannot be read.");
            None
        }
        Err(_) => None,
    }
}
