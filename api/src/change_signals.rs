//! That something changed for an account: one task of the process hears it from the database and
//! wakes those who follow the account's changes.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::{
    domain::UserId,
    postgres::notifications::{self, Heard, Notifications},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The channel that the triggers of `changes` notify, with the account's number.
pub(crate) const CHANNEL: &str = "changes";

/// Wakes followers of accounts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeSignals {
    followed: Arc<Mutex<HashMap<UserId, watch::Sender<()>>>>,
}

/// Somebody who follows an account's changes until this is dropped.
#[derive(Debug)]
pub(crate) struct ChangeFollower {
    signals: ChangeSignals,
    owner: UserId,
    changed: watch::Receiver<()>,
}

impl ChangeSignals {
    /// Listens in a task of its own until `stop`.
    pub(crate) fn listen(notifications: &Notifications, stop: CancellationToken) -> Self {
        let signals = Self::default();
        let hearing = signals.clone().hear(notifications.subscribe());
        tokio::spawn(stop.run_until_cancelled_owned(hearing));
        signals
    }

    /// Follows an account from now on.
    pub(crate) fn follow(&self, owner: UserId) -> ChangeFollower {
        let mut followed = self.lock();
        let sender = followed.entry(owner).or_insert_with(|| watch::Sender::new(()));
        ChangeFollower { changed: sender.subscribe(), signals: self.clone(), owner }
    }

    async fn hear(self, mut heard: notifications::Subscription) -> Infallible {
        loop {
            match heard.next().await {
                Heard::Notification { channel, .. } if channel != CHANNEL => {}
                Heard::Notification { payload, .. } => {
                    let owner = payload.parse().map(UserId);
                    if let Some(sender) =
                        owner.ok().and_then(|owner| self.lock().get(&owner).cloned())
                    {
                        sender.send_replace(());
                    }
                }
                Heard::Missed => {
                    for sender in self.lock().values() {
                        sender.send_replace(());
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<()>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeFollower {
    /// Waits until something may have changed since the last call, or since following began.
    pub(crate) async fn changed(&mut self) {
        // the sender lives as long as its followers
        let _ = self.changed.changed().await;
    }
}

impl Drop for ChangeFollower {
    fn drop(&mut self) {
        let mut followed = self.signals.lock();
        // this one is still counted
        if followed.get(&self.owner).is_some_and(|sender| sender.receiver_count() <= 1) {
            followed.remove(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_remembered_while_somebody_follows_it() {
        let signals = ChangeSignals::default();
        let (first, second) = (signals.follow(UserId(1)), signals.follow(UserId(1)));
        drop(first);
        assert_eq!(signals.lock().len(), 1);
        drop(second);
        assert!(signals.lock().is_empty());
    }
}
