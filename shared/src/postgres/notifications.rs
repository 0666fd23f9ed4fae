//! Listening for notifications of the database. LISTEN/NOTIFY is a hint: a connection can be lost
//! without a sign, and what was notified meanwhile is lost with it. Subscribers hear when that may
//! have happened and look for themselves.
//!
//! One connection listens on several channels.

use std::{convert::Infallible, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{
    sync::broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    time::{Instant, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{backoff::Backoff, log_limit::LogLimit, postgres::connect_listener};

/// Notifications that a slow subscriber may be behind before it misses some.
const BACKLOG: usize = 1024;
/// The longest time to connect and to start listening.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What a subscriber hears.
#[derive(Clone, Debug)]
pub enum Heard {
    Notification {
        channel: &'static str,
        payload: Arc<str>,
    },
    /// Notifications may have been missed: look at the database.
    Missed,
}

/// How a listener finds out that its connection is dead although nobody closed it.
#[derive(Clone, Copy, Debug)]
pub struct EchoTest {
    /// The listener notifies itself this often.
    pub interval: Duration,
    /// It reconnects when its notification does not come back within this time.
    pub limit: Duration,
}

impl Default for EchoTest {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), limit: Duration::from_secs(5) }
    }
}

/// Notifications for any number of subscribers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifications {
    sender: broadcast::Sender<Heard>,
}

/// The notifications from the moment of subscribing on.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Heard>,
}

impl Notifications {
    /// Listens until `stop` in a task and on a connection of its own, over any number of lost
    /// connections. The pool says where the database is.
    pub fn listen(
        pool: &PgPool,
        channels: &'static [&'static str],
        echo: EchoTest,
        stop: CancellationToken,
    ) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let listener = Listener {
            options: pool.connect_options().as_ref().clone(),
            channels,
            echo_channel: format!("echo_{}", Uuid::new_v4().simple()),
            echo,
            sender: sender.clone(),
        };
        tokio::spawn(stop.run_until_cancelled_owned(listener.run()));
        Self { sender }
    }

    /// Subscribes from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }
}

impl Subscription {
    /// The next notification, whenever it comes.
    pub async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(heard) => heard,
            Err(RecvError::Lagged(_)) => Heard::Missed,
            // the listener was stopped
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next notification if it is there already.
    pub fn next_waiting(&mut self) -> Option<Heard> {
        match self.receiver.try_recv() {
            Ok(heard) => Some(heard),
            Err(TryRecvError::Lagged(_)) => Some(Heard::Missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl From<Subscription> for broadcast::Receiver<Heard> {
    fn from(subscription: Subscription) -> Self {
        subscription.receiver
    }
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the server closed it")]
    Closed,
    #[error("it does not answer")]
    Silent,
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
}

struct Listener {
    options: PgConnectOptions,
    channels: &'static [&'static str],
    /// Nobody else's: what is heard on it is what this listener sent.
    echo_channel: String,
    echo: EchoTest,
    sender: broadcast::Sender<Heard>,
}

impl Listener {
    async fn run(self) -> Infallible {
        let mut backoff = Backoff::default();
        let warnings = LogLimit::new();
        loop {
            let lost = match timeout(CONNECT_LIMIT, self.connect()).await {
                Ok(Ok(connection)) => {
                    let connected_at = Instant::now();
                    let Err(lost) = self.forward(connection).await;
                    backoff.reset_after(connected_at.elapsed());
                    lost
                }
                Ok(Err(error)) => Lost::Failed(error),
                Err(_) => Lost::Silent,
            };
            if warnings.allows() {
                tracing::warn!(
                    channels = ?self.channels,
                    reason = %lost,
                    "The connection that listens for notifications is lost; connecting again until it works."
                );
            }
            tokio::time::sleep(backoff.delay()).await;
        }
    }

    async fn connect(&self) -> sqlx::Result<PgListener> {
        let mut connection = connect_listener(self.options.clone()).await?;
        let own = std::iter::once(self.echo_channel.as_str());
        connection.listen_all(self.channels.iter().copied().chain(own)).await?;
        Ok(connection)
    }

    /// Hands on what comes over one connection, until that is lost.
    async fn forward(&self, mut connection: PgListener) -> Result<Infallible, Lost> {
        // what was notified while nobody listened was missed
        self.tell(Heard::Missed);
        let mut tests = interval_at(Instant::now() + self.echo.interval, self.echo.interval);
        let mut echo_due: Option<Instant> = None;
        loop {
            let silent_at = echo_due.unwrap_or_else(Instant::now);
            tokio::select! {
                heard = connection.try_recv() => match heard? {
                    None => return Err(Lost::Closed),
                    Some(echo) if echo.channel() == self.echo_channel => echo_due = None,
                    Some(heard) => self.tell_of(heard.channel(), heard.payload()),
                },
                () = sleep_until(silent_at), if echo_due.is_some() => return Err(Lost::Silent),
                _ = tests.tick() => {
                    echo_due.get_or_insert(Instant::now() + self.echo.limit);
                    let notify = AssertSqlSafe(format!("NOTIFY {}", self.echo_channel));
                    let sent = timeout(self.echo.limit, sqlx::raw_sql(notify).execute(&mut connection));
                    sent.await.map_err(|_| Lost::Silent)??;
                }
            }
        }
    }

    fn tell_of(&self, channel: &str, payload: &str) {
        let known = self.channels.iter().find(|known| **known == channel);
        if let Some(channel) = known {
            self.tell(Heard::Notification { channel, payload: payload.into() });
        }
    }

    fn tell(&self, heard: Heard) {
        // an error says that nobody is subscribed
        let _ = self.sender.send(heard);
    }
}
