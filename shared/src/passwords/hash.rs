//! Hashing with argon2id (RFC 9106), the library's recommended parameters and the PHC string
//! format.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash as PhcHash, Salt},
};

use super::HashError;
use crate::domain::{Password, PasswordHash};

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err asks for")]
fn failed(error: impl ToString) -> HashError {
    HashError::Failed(error.to_string())
}

/// The working memory of a hash, 19 MiB once it was used. A service keeps it between hashes: an
/// allocator does not always give so much back.
#[derive(Default)]
pub struct Memory {
    blocks: Vec<Block>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("blocks", &self.blocks.len()).finish()
    }
}

impl Memory {
    fn fill(
        &mut self,
        argon2: &Argon2<'_>,
        password: &Password,
        salt: &[u8],
    ) -> Result<Output, HashError> {
        let params = argon2.params();
        let blocks = params.block_count();
        if self.blocks.len() < blocks {
            self.blocks.resize(blocks, Block::new());
        }
        let mut output = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let output = output.get_mut(..length).ok_or_else(|| failed("the output is too long"))?;
        argon2
            .hash_password_into_with_memory(
                password.as_bytes(),
                salt,
                output,
                &mut self.blocks[..blocks],
            )
            .map_err(failed)?;
        Output::new(output).map_err(failed)
    }
}

/// Hashes with a fresh salt. Takes tens of milliseconds of a core.
pub fn hash(password: &Password, memory: &mut Memory) -> Result<PasswordHash, HashError> {
    let argon2 = Argon2::default();
    let salt = Salt::generate();
    let output = memory.fill(&argon2, password, &salt)?;
    let hash = PhcHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon2.params()).map_err(failed)?,
        salt: Some(salt),
        hash: Some(output),
    };
    Ok(hash.to_string().into())
}

/// Whether the password is the one that was hashed. Takes as long as hashing.
pub fn verify(
    password: &Password,
    hash: &PasswordHash,
    memory: &mut Memory,
) -> Result<bool, HashError> {
    let hash = PhcHash::new(hash.as_str()).map_err(failed)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Err(failed("the salt or the output is missing"));
    };
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(failed)?;
    let version = hash.version.map(Version::try_from).transpose().map_err(failed)?;
    let params = Params::try_from(&hash).map_err(failed)?;
    let argon2 = Argon2::new(algorithm, version.unwrap_or_default(), params);
    // the comparison takes the same time whatever differs
    Ok(memory.fill(&argon2, password, salt)? == *expected)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    fn password(text: &str) -> Password {
        Password::typed(text.to_owned()).expect("short enough")
    }

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let mut memory = Memory::default();
        let hashed = hash(&password("correct horse"), &mut memory).expect("a hash");
        assert!(hashed.as_str().starts_with("$argon2id$"));
        assert!(verify(&password("correct horse"), &hashed, &mut memory).expect("a hash"));
        assert!(!verify(&password("wrong horse"), &hashed, &mut memory).expect("a hash"));
    }

    #[test]
    fn a_hash_is_what_the_library_itself_verifies() {
        let hashed = hash(&password("correct horse"), &mut Memory::default()).expect("a hash");
        assert!(Argon2::default().verify_password(b"correct horse", hashed.as_str()).is_ok());
        assert!(Argon2::default().verify_password(b"wrong horse", hashed.as_str()).is_err());
    }

    #[test]
    fn a_hash_with_other_parameters_verifies() {
        let cheap = "$argon2id$v=19$m=32,t=1,p=1$GCrnFlSnXqBXYNt8KMOZpQ$\
                     JcqLfr6lQGmYGmyOaFTAMNFHpKp7mVLgEZWkP2hJ2Lo";
        let mut memory = Memory::default();
        hash(&password("fills the memory"), &mut memory).expect("a hash");
        assert!(!verify(&password("x"), &cheap.to_owned().into(), &mut memory).expect("a hash"));
    }

    #[test]
    fn what_is_no_hash_is_an_error() {
        assert!(
            verify(&password("x"), &"not a hash".to_owned().into(), &mut Memory::default())
                .is_err()
        );
    }
}
