//! The marker: an object that names the installation to which a store belongs.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Storage, StorageError,
    measure::{Operation, measured},
};

/// How long a look at the marker is trusted.
const TRUSTED: Duration = Duration::from_secs(1);

/// What the object `pictier.json` in the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The installation to which the store belongs.
    pub installation: Uuid,
    /// Written anew by each cleanup; a copy of the database does not know it.
    pub generation: Uuid,
}

impl Marker {
    /// The marker's place in the store.
    pub const PATH: &'static str = "pictier.json";
}

/// The installation that a store has to belong to, and when that was last seen.
#[derive(Debug, Default)]
pub(super) struct Verified {
    installation: OnceLock<Uuid>,
    seen: Mutex<Option<Instant>>,
}

impl Storage {
    /// The marker; `None` when the store has none.
    pub async fn read_marker(&self) -> Result<Option<Marker>, StorageError> {
        let bytes = match self.store.get(&Path::from(Marker::PATH)).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bad = |error| StorageError::BadMarker { place: self.place(), error };
        serde_json::from_slice(&bytes).map(Some).map_err(bad)
    }

    /// Writes the marker over the one that is there.
    pub async fn write_marker(&self, marker: Marker) -> Result<(), StorageError> {
        let json = serde_json::to_vec(&marker)
            .map_err(|error| StorageError::BadMarker { place: self.place(), error })?;
        self.store
            .put(&Path::from(Marker::PATH), PutPayload::from_bytes(Bytes::from(json)))
            .await?;
        Ok(())
    }

    /// From now on, [`verify`](Self::verify) expects the marker of this installation.
    pub fn expect_installation(&self, installation: Uuid) {
        // a store serves one installation for the life of a process: the first call decides
        let _ = self.verified.installation.set(installation);
    }

    /// Fails unless the store has the marker of the expected installation. A look is trusted for a
    /// second.
    pub async fn verify(&self) -> Result<(), StorageError> {
        let seen = *self.verified.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|seen| seen.elapsed() < TRUSTED) {
            return Ok(());
        }
        self.verify_now().await
    }

    /// As [`verify`](Self::verify), with a fresh look.
    pub async fn verify_now(&self) -> Result<(), StorageError> {
        let Some(expected) = self.verified.installation.get() else {
            return Ok(());
        };
        measured(Operation::Verify, self.expect_marker_of(*expected)).await
    }

    async fn expect_marker_of(&self, expected: Uuid) -> Result<(), StorageError> {
        let started = Instant::now();
        let found = self.read_marker().await?;
        let seen = found.is_some_and(|marker| marker.installation == expected).then_some(started);
        *self.verified.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        match found {
            Some(marker) if marker.installation == expected => Ok(()),
            Some(Marker { installation, .. }) => {
                Err(StorageError::Foreign { place: self.place(), installation })
            }
            None => Err(StorageError::NotMarked { place: self.place() }),
        }
    }
}
