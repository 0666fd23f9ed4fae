//! When to look for jobs. The strategies that apalis-postgres has wait up to 30 s, and lose a
//! wake-up that comes while they poll. This one looks when a job is inserted, again shortly after,
//! and every two seconds in any case.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use apalis::prelude::{PollSnapshot, PollStrategy};
use apalis_postgres::InsertEvent;
use shared::postgres::notifications::{EchoTest, Heard, Notifications};
use sqlx::PgPool;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, sleep_until};
use tokio_stream::{
    Stream,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};
use tokio_util::sync::CancellationToken;

/// The channel that apalis-postgres' trigger notifies.
const CHANNEL: &str = "apalis::job::insert";
/// Jobs that were due later, or whose notification was lost, are found this soon.
const TICK: Duration = Duration::from_secs(2);
/// A fetch that was under way when a job was committed did not see it: look again this soon after
/// the notification.
const RECHECKS: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(150)];

/// Hands what the one connection that listens for all queues hears to the queues of this process.
#[derive(Clone, Debug)]
pub(super) struct Notices {
    notifications: Notifications,
}

/// The notices of one queue.
pub(super) struct QueueNotices {
    stream: BroadcastStream<Heard>,
    queue: &'static str,
}

impl Notices {
    /// Listens in a task of its own until `stop`, over any number of lost connections.
    pub(super) fn listen(pool: &PgPool, stop: CancellationToken) -> Self {
        Self { notifications: Notifications::listen(pool, &[CHANNEL], EchoTest::default(), stop) }
    }

    pub(super) fn subscribe(&self, queue: &'static str) -> QueueNotices {
        QueueNotices { stream: BroadcastStream::new(self.notifications.subscribe().into()), queue }
    }
}

impl QueueNotices {
    /// Takes all notices that are there; whether any concerns this queue.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut concerned = false;
        while let Poll::Ready(Some(notice)) = Pin::new(&mut self.stream).poll_next(cx) {
            concerned |= match notice {
                Ok(Heard::Notification { payload, .. }) => {
                    serde_json::from_str::<InsertEvent>(&payload)
                        .map_or(true, |event| event.job_type == self.queue)
                }
                Ok(Heard::Missed) | Err(BroadcastStreamRecvError::Lagged(_)) => true,
            };
        }
        concerned
    }
}

/// Says when to look for jobs of one queue.
pub(super) struct PollSchedule {
    notices: QueueNotices,
    tick: Interval,
    rechecks: [Option<Pin<Box<Sleep>>>; RECHECKS.len()],
}

impl PollSchedule {
    pub(super) fn new(notices: QueueNotices) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { notices, tick, rechecks: [None, None] }
    }
}

impl PollStrategy for PollSchedule {
    /// Every source is polled on each call, so that each has the waker: a wake-up cannot be lost.
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut is_due = false;
        while self.tick.poll_tick(cx).is_ready() {
            is_due = true;
        }
        if self.notices.poll(cx) {
            is_due = true;
            let now = Instant::now();
            self.rechecks = RECHECKS.map(|delay| Some(Box::pin(sleep_until(now + delay))));
        }
        for recheck in &mut self.rechecks {
            if recheck.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready()) {
                *recheck = None;
                is_due = true;
            }
        }
        if is_due { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}
