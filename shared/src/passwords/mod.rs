//! Passwords at rest. Services hash off the runtime, a few at a time: each hash takes tens of
//! milliseconds of a core and 19 MiB.

mod hash;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
    time::timeout,
};

pub use self::hash::{Memory, hash, verify};
use crate::domain::{Password, PasswordHash};

/// The most passwords that a process hashes at a time.
const MAX_SLOTS: usize = 4;
/// The longest wait for a slot.
const SLOT_WAIT: Duration = Duration::from_secs(10);
/// The most requests that wait for a slot.
const MAX_WAITING: usize = 256;

/// A password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many others wait for a slot.
    #[error("Too many people are logging in. Try again soon.")]
    Busy,
    /// The library failed, or the stored text is not a hash.
    #[error("password hash: {0}")]
    Failed(String),
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

/// The slots in which passwords are hashed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// The memory of the slots that are free, as far as they were ever used.
    memories: Arc<Mutex<Vec<Memory>>>,
    /// A hash whose password is unknown: checking against it takes as long as against a real one.
    decoy: PasswordHash,
}

/// The right to hash, with memory for it. It stays taken until a hash that was begun is done.
pub struct Slot {
    hasher: PasswordHasher,
    _permit: OwnedSemaphorePermit,
}

impl PasswordHasher {
    /// One slot for each core, at most 4.
    #[expect(
        clippy::new_without_default,
        reason = "a new hasher has slots of its own, which is no default"
    )]
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: Arc::new(Semaphore::new(cores.min(MAX_SLOTS))),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            memories: Arc::default(),
            decoy: DECOY.to_owned().into(),
        }
    }

    /// Waits for a free slot, at most 10 s.
    pub async fn slot(&self) -> Result<Slot, HashError> {
        let _place = self.waiting.try_acquire().map_err(|_| HashError::Busy)?;
        let permit = timeout(SLOT_WAIT, self.slots.clone().acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(HashError::Busy)?;
        Ok(Slot { hasher: self.clone(), _permit: permit })
    }

    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.slot().await?.run(move |memory| hash::hash(&password, memory)).await
    }
}

impl Slot {
    /// Whether the password is the one of `hash`. Without a hash the answer is no, after the same
    /// time: how long it takes does not tell whether an account exists.
    pub async fn check(
        self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        let decoy = self.hasher.decoy.clone();
        self.run(move |memory| {
            let verified = hash::verify(&password, hash.as_ref().unwrap_or(&decoy), memory)?;
            Ok(verified && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Memory) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let run = tokio::task::spawn_blocking(move || {
            let memories = self.hasher.memories.clone();
            let idle = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = idle().pop().unwrap_or_default();
            let result = work(&mut memory);
            idle().push(memory);
            result
        });
        run.await?
    }
}

/// The hash of bytes that were random, with the parameters of [`passwords::hash`].
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$GCrnFlSnXqBXYNt8KMOZpQ$JcqLfr6lQGmYGmyOaFTAMNFHpKp7mVLgEZWkP2hJ2Lo";

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::typed(text.to_owned()).expect("short enough")
    }

    #[tokio::test]
    async fn without_an_account_every_password_is_wrong() {
        let slot = PasswordHasher::new().slot().await.expect("a slot");
        assert!(!slot.check(password("admin"), None).await.expect("a check"));
    }

    #[tokio::test]
    async fn a_slot_keeps_its_memory_for_the_next_hash() {
        let hasher = PasswordHasher::new();
        for _ in 0..3 {
            hasher.hash(password("x")).await.expect("a hash");
        }
        assert_eq!(hasher.memories.lock().expect("memories").len(), 1);
        let slots = hasher.slots.available_permits();
        let many = (0..3 * slots).map(|_| hasher.hash(password("x")));
        for hash in futures::future::join_all(many).await {
            hash.expect("a hash");
        }
        assert!(hasher.memories.lock().expect("memories").len() <= slots);
    }

    #[test]
    fn the_decoy_costs_what_a_real_hash_costs() {
        let mut memory = Memory::default();
        let real = hash::hash(&password("x"), &mut memory).expect("a hash");
        let parameters = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        assert_eq!(parameters(DECOY), parameters(real.as_str()));
        assert!(hash::verify(&password("x"), &DECOY.to_owned().into(), &mut memory).is_ok());
    }
}
