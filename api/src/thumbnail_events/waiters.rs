//! The requests that wait, by thumbnail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::domain::{ThumbnailId, ThumbnailState};
use tokio::sync::watch;

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The thumbnail is not pending any longer.
    State(ThumbnailState),
    /// The thumbnail was deleted with its image.
    Deleted,
}

type Senders = HashMap<ThumbnailId, watch::Sender<Option<WaitEnd>>>;

/// All requests of the process that wait. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    senders: Arc<Mutex<Senders>>,
}

/// One request that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    id: ThumbnailId,
    waiters: Waiters,
    receiver: watch::Receiver<Option<WaitEnd>>,
}

impl Waiters {
    pub(super) fn register(&self, id: ThumbnailId) -> Waiter {
        let receiver =
            self.lock().entry(id).or_insert_with(|| watch::Sender::new(None)).subscribe();
        Waiter { id, waiters: self.clone(), receiver }
    }

    /// Every thumbnail that is waited for.
    pub(super) fn all(&self) -> Vec<ThumbnailId> {
        self.lock().keys().copied().collect()
    }

    pub(super) fn is_waited_for(&self, id: ThumbnailId) -> bool {
        self.lock().contains_key(&id)
    }

    /// Ends the waits for a thumbnail unless it is pending.
    pub(super) fn tell(&self, id: ThumbnailId, end: WaitEnd) {
        if end == WaitEnd::State(ThumbnailState::Pending) {
            return;
        }
        if let Some(sender) = self.lock().remove(&id) {
            sender.send_replace(Some(end));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Senders> {
        // no holder leaves the map half changed
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits for the end.
    pub(crate) async fn end(&mut self) -> WaitEnd {
        let told = self.receiver.wait_for(Option::is_some).await.map(|end| end.clone());
        match told {
            Ok(Some(end)) => end,
            // the sender is dropped only after it has told the end
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The end if it is known already.
    pub(crate) fn known_end(&self) -> Option<WaitEnd> {
        self.receiver.borrow().clone()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut senders = self.waiters.lock();
        let is_last = |sender: &watch::Sender<_>| {
            // this one and the one that is compared with it are counted
            let current = sender.subscribe();
            current.same_channel(&self.receiver) && sender.receiver_count() <= 2
        };
        if senders.get(&self.id).is_some_and(is_last) {
            senders.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_wait_for_a_thumbnail_hear_of_its_end_and_no_other() {
        let waiters = Waiters::default();
        let (one, other) = (ThumbnailId(uuid::Uuid::new_v4()), ThumbnailId(uuid::Uuid::new_v4()));
        let (mut first, mut second, third) =
            (waiters.register(one), waiters.register(one), waiters.register(other));
        waiters.tell(one, WaitEnd::State(ThumbnailState::Pending));
        assert_eq!(first.known_end(), None, "it has not ended");
        waiters.tell(one, WaitEnd::Deleted);
        assert_eq!((first.end().await, second.end().await), (WaitEnd::Deleted, WaitEnd::Deleted));
        assert_eq!(third.known_end(), None);
        assert_eq!(waiters.all(), [other]);
    }

    #[test]
    fn a_thumbnail_is_looked_at_while_anybody_waits_for_it() {
        let waiters = Waiters::default();
        let id = ThumbnailId(uuid::Uuid::new_v4());
        let (first, second) = (waiters.register(id), waiters.register(id));
        drop(first);
        assert!(waiters.is_waited_for(id));
        drop(second);
        assert!(waiters.all().is_empty());
        let ended = waiters.register(id);
        waiters.tell(id, WaitEnd::Deleted);
        let again = waiters.register(id);
        drop(ended);
        assert!(waiters.is_waited_for(id), "a wait that ended takes no later one with it");
        drop(again);
        assert!(waiters.all().is_empty());
    }
}
