//! The store of tower-sessions on our own tables, by our own clock.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    clock::Clock,
    db::{
        self,
        sessions::{OWNER_KEY, SessionRow},
    },
    domain::UserId,
};
use sqlx::PgPool;
use time::OffsetDateTime;
use tower_sessions::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

/// Sessions in Postgres. Whose they are stands in a column, so that all of a user's can be ended at
/// once.
#[derive(Clone, Debug)]
pub(crate) struct PgSessionStore {
    pool: PgPool,
    clock: Clock,
    lifetime: TimeDelta,
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err asks for")]
fn backend(error: sqlx::Error) -> Error {
    Error::Backend(error.to_string())
}

struct Encoded {
    id: String,
    user: Option<UserId>,
    data: serde_json::Value,
    expires_at: DateTime<Utc>,
}

impl Encoded {
    fn row(&self) -> SessionRow<'_> {
        SessionRow { id: &self.id, user: self.user, data: &self.data, expires_at: self.expires_at }
    }
}

impl PgSessionStore {
    pub(crate) fn new(pool: PgPool, clock: Clock, lifetime: TimeDelta) -> Self {
        Self { pool, clock, lifetime }
    }

    fn encode(&self, record: &Record) -> Result<Encoded> {
        let user = record.data.get(super::USER).and_then(serde_json::Value::as_i64).map(UserId);
        let data =
            serde_json::to_value(&record.data).map_err(|error| Error::Encode(error.to_string()))?;
        Ok(Encoded {
            id: record.id.to_string(),
            user,
            data,
            expires_at: self.clock.now() + self.lifetime,
        })
    }
}

#[async_trait]
impl SessionStore for PgSessionStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let mut connection = self.pool.acquire().await.map_err(backend)?;
        loop {
            let inserted = db::sessions::insert(&mut connection, &self.encode(record)?.row()).await;
            match inserted {
                Ok(true) => return Ok(()),
                Ok(false) => record.id = Id::default(),
                // the account was deleted during the login, so there is nobody to log in
                Err(error) if db::broken_constraint(&error) == Some(OWNER_KEY) => return Ok(()),
                Err(error) => return Err(backend(error)),
            }
        }
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let mut connection = self.pool.acquire().await.map_err(backend)?;
        db::sessions::update(&mut connection, &self.encode(record)?.row()).await.map_err(backend)
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let mut connection = self.pool.acquire().await.map_err(backend)?;
        let live = db::sessions::live(&mut connection, &id.to_string(), self.clock.now())
            .await
            .map_err(backend)?;
        let record = |(data, expires_at): (serde_json::Value, DateTime<Utc>)| {
            let undecodable = |error: &dyn std::error::Error| Error::Decode(error.to_string());
            Ok(Record {
                id: *id,
                data: serde_json::from_value(data).map_err(|error| undecodable(&error))?,
                expiry_date: OffsetDateTime::from_unix_timestamp(expires_at.timestamp())
                    .map_err(|error| undecodable(&error))?,
            })
        };
        live.map(record).transpose()
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let mut connection = self.pool.acquire().await.map_err(backend)?;
        db::sessions::delete(&mut connection, &id.to_string()).await.map_err(backend)
    }
}
