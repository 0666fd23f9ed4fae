//! Who waits for a thumbnail hears of its end from the database, whichever process made it.

use std::time::Duration;

use serde::Deserialize;
use shared::domain::{Height, ImageId, ThumbnailId, UserId};
use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

/// The channel that the trigger on `thumbnails` notifies.
const CHANNEL: &str = "thumbnail_finished";
/// Events that a slow listener may be behind before it has to look for itself.
const BACKLOG: usize = 1024;
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// A thumbnail became ready, or failed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Finished {
    pub(crate) thumbnail: ThumbnailId,
    pub(crate) image: ImageId,
    /// Whose image it is.
    pub(crate) owner: UserId,
    pub(crate) height: Height,
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// This one thumbnail ended.
    Finished(Finished),
    /// Something may have been missed: look at the database.
    Unknown,
}

/// Hands the ends of thumbnails to whoever subscribes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FinishedThumbnails {
    sender: broadcast::Sender<News>,
}

/// The ends of thumbnails from the moment of subscribing on.
pub(crate) struct Subscription {
    receiver: broadcast::Receiver<News>,
}

impl FinishedThumbnails {
    /// Listens in a task of its own until `stop`, over any number of lost connections.
    pub(crate) fn listen(pool: PgPool, stop: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let news = sender.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                if let Err(error) = forward(&pool, &news).await {
                    tracing::warn!(%error, "lost the connection that hears of finished thumbnails");
                }
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
        }));
        Self { sender }
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }
}

impl Subscription {
    pub(crate) async fn next(&mut self) -> News {
        match self.receiver.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => News::Unknown,
            // the sender lives as long as the server
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn forward(pool: &PgPool, news: &broadcast::Sender<News>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // what ended while nobody listened was not heard
    let _ = news.send(News::Unknown);
    loop {
        let heard = match listener.try_recv().await? {
            Some(notification) => {
                serde_json::from_str(notification.payload()).map_or(News::Unknown, News::Finished)
            }
            None => News::Unknown,
        };
        // an error says that nobody is subscribed
        let _ = news.send(heard);
    }
}
