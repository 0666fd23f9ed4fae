//! All SQL: free functions on a connection (or a transaction), checked against the schema when they
//! are compiled. They decide nothing; what a query means is said in the domain.

/// Defines the function that deletes what has expired from a table with this key.
macro_rules! delete_expired {
    ($table:tt, $key:tt, $expiry:tt) => {
        /// Deletes at most `batch` rows that have expired; how many.
        pub async fn delete_expired(
            connection: &mut sqlx::PgConnection,
            now: chrono::DateTime<chrono::Utc>,
            batch: i64,
        ) -> sqlx::Result<u64> {
            let deleted = sqlx::query!(
                "DELETE FROM "
                    + $table
                    + " WHERE "
                    + $key
                    + " IN (SELECT "
                    + $key
                    + " FROM "
                    + $table
                    + " WHERE "
                    + $expiry
                    + " <= $1 LIMIT $2)",
                now,
                batch,
            );
            Ok(deleted.execute(connection).await?.rows_affected())
        }
    };
}
use delete_expired;

pub mod admin;
pub mod audit_log;
pub mod backups;
pub mod changes;
pub mod claims;
pub mod idempotency;
pub mod images;
pub mod installation;
pub mod integrity;
pub mod links;
pub mod queue;
pub mod rate_limits;
pub mod sessions;
pub mod thumbnails;
pub mod tiers;
pub mod tokens;
pub mod uploads;
pub mod users;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;

/// The time of the database.
pub async fn now(connection: &mut sqlx::PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(connection).await
}

/// Lets one process at a time prepare a new database, until its transaction ends.
pub async fn lock_preparation(connection: &mut sqlx::PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('pictier preparation'))")
        .execute(connection)
        .await?;
    Ok(())
}

/// The name of the constraint or unique index that a statement broke, if it broke one.
pub fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// A column holds what its domain type refuses, which the schema's constraints should have
/// prevented.
fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// The SHA-256 of a file, where one is kept.
fn digest(sha256: Option<Vec<u8>>) -> sqlx::Result<Option<crate::domain::FileDigest>> {
    let bytes = sha256.map(|sha256| sha256.as_slice().try_into()).transpose();
    Ok(bytes.map_err(undecodable)?.map(crate::domain::FileDigest))
}

/// An integer column that the schema keeps non-negative, as the domain's unsigned type.
fn unsigned<S, U>(value: S) -> sqlx::Result<U>
where
    U: TryFrom<S, Error = std::num::TryFromIntError>,
{
    U::try_from(value).map_err(undecodable)
}

/// An unsigned number as a column's signed type.
fn signed<U, S>(value: U) -> sqlx::Result<S>
where
    S: TryFrom<U, Error = std::num::TryFromIntError>,
{
    S::try_from(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// A duration as the database's type.
fn interval(duration: Duration) -> sqlx::Result<PgInterval> {
    PgInterval::try_from(duration).map_err(sqlx::Error::Encode)
}
