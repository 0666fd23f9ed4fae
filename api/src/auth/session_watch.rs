//! Ends what lasts longer than a request when its session ends: one query for all open streams of
//! the process, each 2 s.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{clock::Clock, db};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// Sessions of open streams are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time for one look.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// The sessions that something open depends on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionWatch {
    open: Arc<Mutex<HashMap<String, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    end: CancellationToken,
    streams: usize,
}

/// A session that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenSession {
    watch: SessionWatch,
    id: String,
    end: CancellationToken,
}

impl SessionWatch {
    /// Watches in a task of its own until `stop`.
    pub(crate) fn start(pool: PgPool, clock: Clock, stop: CancellationToken) -> Self {
        let watch = Self::default();
        let watching = watch.clone().run(pool, clock);
        tokio::spawn(stop.run_until_cancelled_owned(watching));
        watch
    }

    pub(crate) fn open(&self, id: String) -> OpenSession {
        let mut open = self.lock();
        let watched = open
            .entry(id.clone())
            .or_insert_with(|| Watched { end: CancellationToken::new(), streams: 0 });
        watched.streams += 1;
        let end = watched.end.clone();
        OpenSession { watch: self.clone(), id, end }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, pool: PgPool, clock: Clock) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let ids: Vec<_> = self.lock().keys().cloned().collect();
            if ids.is_empty() {
                continue;
            }
            let looking =
                async { db::sessions::ended(&mut *pool.acquire().await?, &ids, clock.now()).await };
            // a look that failed is made again; what needs the database meanwhile reports its
            // absence
            if let Ok(Ok(ended)) = timeout(LOOK_LIMIT, looking).await {
                let open = self.lock();
                for watched in ended.iter().filter_map(|id| open.get(id)) {
                    watched.end.cancel();
                }
            }
        }
    }
}

impl OpenSession {
    pub(crate) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        if let Entry::Occupied(mut watched) = self.watch.lock().entry(self.id.clone()) {
            watched.get_mut().streams -= 1;
            if watched.get().streams == 0 {
                watched.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_watched_while_something_of_it_is_open() {
        let watch = SessionWatch::default();
        let (first, second) = (watch.open("a".to_owned()), watch.open("a".to_owned()));
        assert_eq!(watch.lock().len(), 1);
        drop(first);
        assert_eq!(watch.lock().len(), 1);
        drop(second);
        assert!(watch.lock().is_empty());
    }
}
