//! Requests that a client may send again: the second one gets what the first one created.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{ServiceError, Services};
use crate::{
    db,
    domain::{Fingerprint, IdempotencyKey, User, UserId},
};

/// An outcome can be had again for this long.
pub const LIFETIME: Duration = Duration::from_hours(24);
/// A request that has not ended by then has died with its process. It is longer than any request
/// may take.
const DEAD_AFTER: Duration = Duration::from_hours(1);

/// What is known of a key.
#[derive(Debug)]
pub enum Known {
    /// Nothing: this request is the first one.
    New(HeldKey),
    /// An earlier request ended.
    Outcome(Outcome),
}

/// What an earlier request created.
#[derive(Debug)]
pub struct Outcome {
    fingerprint: Fingerprint,
    created: String,
}

impl Outcome {
    /// Names what was created, if that is what this request asks for as well.
    pub fn created(&self, fingerprint: Fingerprint) -> Result<&str, ServiceError> {
        let is_same = self.fingerprint == fingerprint;
        is_same.then_some(self.created.as_str()).ok_or(ServiceError::KeyReused)
    }
}

/// A key that a request has. Dropping it without an outcome gives it back.
#[derive(Debug)]
pub struct HeldKey {
    services: Services,
    owner: UserId,
    key: IdempotencyKey,
    holder: Uuid,
}

/// Looks a key up, and takes it if it is new.
///
/// # Errors
/// [`ServiceError::RequestUnderWay`] while another request has it.
pub async fn begin(
    services: &Services,
    user: &User,
    key: IdempotencyKey,
) -> Result<Known, ServiceError> {
    let mut connection = services.connection().await?;
    let holder = Uuid::new_v4();
    let (owner, connection) = (user.id, &mut *connection);
    if db::idempotency::take(connection, owner, &key, holder, LIFETIME, DEAD_AFTER).await? {
        return Ok(Known::New(HeldKey { services: services.clone(), owner, key, holder }));
    }
    let outcome = db::idempotency::outcome(connection, owner, &key).await?;
    let (fingerprint, created) = outcome.ok_or(ServiceError::RequestUnderWay)?;
    Ok(Known::Outcome(Outcome { fingerprint, created }))
}

/// What to record in the transaction of an effect.
#[derive(Clone, Copy, Debug)]
pub struct Once<'a> {
    pub key: &'a HeldKey,
    /// Of what the request asks for.
    pub fingerprint: Fingerprint,
}

impl Once<'_> {
    /// Records what was created, by its name.
    pub(super) async fn complete(
        self,
        connection: &mut PgConnection,
        created: &str,
    ) -> Result<(), ServiceError> {
        let HeldKey { owner, key, holder, .. } = self.key;
        let fingerprint = self.fingerprint;
        let completed =
            db::idempotency::complete(connection, *owner, *holder, key, fingerprint, created);
        completed.await?.then_some(()).ok_or(ServiceError::RequestUnderWay)
    }
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        let (services, owner, holder) = (self.services.clone(), self.owner, self.holder);
        let key = self.key.clone();
        // without effect once there is an outcome
        tokio::spawn(async move {
            let releasing = async {
                let mut connection = services.connection().await?;
                db::idempotency::release(&mut connection, owner, holder, &key).await
            };
            if let Err(error) = releasing.await {
                tracing::warn!(%error, "An idempotency key is not given back; it is free in an hour.");
            }
        });
    }
}
