//! Passwords at rest: argon2id (RFC 9106) with the library's recommended parameters, in PHC string format.

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};

use crate::domain::Password;

/// The password could not be hashed, or what was kept is no hash.
#[derive(Debug, thiserror::Error)]
#[error("password hash: {0}")]
pub struct HashError(String);

/// Hashes with a fresh salt. Takes tens of milliseconds of a core and 19 MiB.
pub fn hash(password: &Password) -> Result<String, HashError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| HashError(error.to_string()))
}

/// Whether the password is the one that was hashed. Takes as long as hashing.
pub fn verify(password: &Password, hash: &str) -> Result<bool, HashError> {
    let hash = PasswordHash::new(hash).map_err(|error| HashError(error.to_string()))?;
    Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::typed(text.to_owned()).expect("short enough")
    }

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let hashed = hash(&password("correct horse")).expect("a hash");
        assert!(hashed.starts_with("$argon2id$"));
        assert!(verify(&password("correct horse"), &hashed).expect("a hash"));
        assert!(!verify(&password("wrong horse"), &hashed).expect("a hash"));
    }

    #[test]
    fn what_is_no_hash_is_an_error() {
        assert!(verify(&password("x"), "not a hash").is_err());
    }
}
