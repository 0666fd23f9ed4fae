//! Checking passwords. A check takes tens of milliseconds of a core and 19 MiB, so few run at a time.

use std::{sync::Arc, thread};

use shared::{domain::Password, passwords};
use tokio::sync::Semaphore;

use crate::error::Problem;

/// Checks as many passwords at a time as there are cores, off the runtime; further ones wait. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PasswordChecker {
    permits: Arc<Semaphore>,
    /// A hash that no password has been told for: checking against it takes as long as against a real one.
    decoy: Arc<str>,
}

impl PasswordChecker {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(cores)), decoy: DECOY.into() }
    }

    /// Whether the password is the one of `hash`. Without a hash the answer is no, after the same time: how long it
    /// takes does not tell whether an account exists.
    pub(crate) async fn check(&self, password: Password, hash: Option<String>) -> Result<bool, Problem> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|error| Problem::internal(&error))?;
        let decoy = self.decoy.clone();
        let check = move || {
            let _permit = permit;
            let verified = passwords::verify(&password, hash.as_deref().unwrap_or(&decoy));
            verified.map(|is_right| is_right && hash.is_some())
        };
        let checked = tokio::task::spawn_blocking(check).await.map_err(|error| Problem::internal(&error))?;
        checked.map_err(|error| Problem::internal(&error))
    }
}

/// Hashes a password, off the runtime.
pub(crate) async fn hash(password: Password) -> Result<String, Problem> {
    let hashing = tokio::task::spawn_blocking(move || passwords::hash(&password)).await;
    hashing.map_err(|error| Problem::internal(&error))?.map_err(|error| Problem::internal(&error))
}

/// The hash of bytes that were random, with the parameters of [`passwords::hash`].
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$GCrnFlSnXqBXYNt8KMOZpQ$JcqLfr6lQGmYGmyOaFTAMNFHpKp7mVLgEZWkP2hJ2Lo";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_account_every_password_is_wrong() {
        let password = Password::typed("admin".to_owned()).expect("short enough");
        assert!(!PasswordChecker::new().check(password, None).await.expect("a check"));
    }

    #[test]
    fn the_decoy_costs_what_a_real_hash_costs() {
        let password = Password::typed("x".to_owned()).expect("short enough");
        let real = passwords::hash(&password).expect("a hash");
        let parameters = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        assert_eq!(parameters(DECOY), parameters(&real));
        assert!(passwords::verify(&password, DECOY).is_ok());
    }
}
