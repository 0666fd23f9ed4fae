//! Every procedure that changes something, one file a noun. JSON, pages, the command line and jobs
//! all call these functions; none of them knows HTTP.

pub mod account_deletion;
pub mod accounts;
pub mod changes;
pub mod idempotency;
pub mod images;
pub mod jobs;
pub mod links;
pub mod setup;
pub mod thumbnails;
pub mod tiers;
pub mod tokens;
pub mod uploads;
pub mod users;

mod error;
mod queue_length;
mod rate_limit;

use std::sync::Arc;

use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};

pub use error::ServiceError;
pub use queue_length::QueueLength;
pub use rate_limit::RateLimit;

use crate::{
    clock::Clock,
    config::LimitsConfig,
    db,
    domain::{Actor, AuditAction, AuditEntry, AuditObject},
    passwords::PasswordHasher,
    postgres,
    storage::Storage,
};

/// What the procedures need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    pub pool: PgPool,
    pub storage: Storage,
    pub clock: Clock,
    /// Limits on requests and uploads.
    pub limits: Arc<LimitsConfig>,
    /// Hashes passwords, a few at a time.
    pub passwords: PasswordHasher,
    /// How many thumbnails wait for a worker.
    pub queue_length: QueueLength,
}

impl Services {
    /// Combines the parts; the password hasher is new.
    pub fn new(pool: PgPool, storage: Storage, clock: Clock, limits: LimitsConfig) -> Self {
        Self {
            pool,
            storage,
            clock,
            limits: Arc::new(limits),
            passwords: PasswordHasher::new(),
            queue_length: QueueLength::default(),
        }
    }

    /// A connection for statements that need no transaction.
    pub async fn connection(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.pool.acquire().await
    }

    async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        postgres::begin(&self.pool).await
    }

    /// Writes an entry of the audit log in the transaction of the change.
    async fn record(
        &self,
        connection: &mut PgConnection,
        actor: Actor<'_>,
        action: AuditAction,
        object: AuditObject<'_>,
        changes: Value,
    ) -> sqlx::Result<()> {
        let entry = AuditEntry { actor, action, object, changes };
        db::audit_log::insert(connection, &entry, self.clock.now()).await
    }
}
