//! Ends what lasts longer than a request when its session or token ends: one query for all open
//! streams of the process, each 2 s.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{clock::Clock, db, domain::TokenId};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// Sessions and tokens of open streams are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time for one look.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What a request was authorized by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    /// A session, by its id.
    Session(String),
    Token(TokenId),
}

/// The sessions and tokens that something open depends on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialWatch {
    open: Arc<Mutex<HashMap<Credential, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    end: CancellationToken,
    streams: usize,
}

/// A session or token that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenCredential {
    watch: CredentialWatch,
    credential: Credential,
    end: CancellationToken,
}

impl CredentialWatch {
    /// Watches in a task of its own until `stop`.
    pub(crate) fn start(pool: PgPool, clock: Clock, stop: CancellationToken) -> Self {
        let watch = Self::default();
        let watching = watch.clone().run(pool, clock);
        tokio::spawn(stop.run_until_cancelled_owned(watching));
        watch
    }

    pub(crate) fn open(&self, credential: Credential) -> OpenCredential {
        let mut open = self.lock();
        let watched = open
            .entry(credential.clone())
            .or_insert_with(|| Watched { end: CancellationToken::new(), streams: 0 });
        watched.streams += 1;
        let end = watched.end.clone();
        OpenCredential { watch: self.clone(), credential, end }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Credential, Watched>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, pool: PgPool, clock: Clock) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let open: Vec<Credential> = self.lock().keys().cloned().collect();
            if open.is_empty() {
                continue;
            }
            // a look that failed is made again; what needs the database meanwhile reports its
            // absence
            if let Ok(Ok(ended)) = timeout(LOOK_LIMIT, ended(&pool, &clock, open)).await {
                let open = self.lock();
                for watched in ended.iter().filter_map(|credential| open.get(credential)) {
                    watched.end.cancel();
                }
            }
        }
    }
}

/// Which of these can no longer be used.
async fn ended(
    pool: &PgPool,
    clock: &Clock,
    open: Vec<Credential>,
) -> sqlx::Result<Vec<Credential>> {
    let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
    for credential in open {
        match credential {
            Credential::Session(id) => sessions.push(id),
            Credential::Token(id) => tokens.push(id),
        }
    }
    let mut connection = pool.acquire().await?;
    let sessions = db::sessions::ended(&mut connection, &sessions, clock.now()).await?;
    let tokens = db::tokens::ended(&mut connection, &tokens, clock.now()).await?;
    let sessions = sessions.into_iter().map(Credential::Session);
    Ok(sessions.chain(tokens.into_iter().map(Credential::Token)).collect())
}

impl OpenCredential {
    pub(crate) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for OpenCredential {
    fn drop(&mut self) {
        if let Entry::Occupied(mut watched) = self.watch.lock().entry(self.credential.clone()) {
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
        let session = || Credential::Session("a".to_owned());
        let watch = CredentialWatch::default();
        let (first, second) = (watch.open(session()), watch.open(session()));
        assert_eq!(watch.lock().len(), 1);
        drop(first);
        assert_eq!(watch.lock().len(), 1);
        drop(second);
        assert!(watch.lock().is_empty());
    }
}
