//! Which store belongs to this database.

use sqlx::PgConnection;
use uuid::Uuid;

use super::unsigned;
use crate::{
    domain::OriginalId,
    storage::{Marker, Shard},
};

/// What the database knows of itself and of its store's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Names the installation, in the database and in the marker.
    pub id: Uuid,
    /// Whether the database is where the installation lives; a copy is not.
    pub is_at_home: bool,
    /// Whether the marker was ever written.
    pub is_marked: bool,
    /// The generation that was written last.
    pub generation: Uuid,
    /// The one before; the marker has it when the last write did not reach the store.
    pub previous_generation: Option<Uuid>,
}

impl Installation {
    /// Whether the database is the one that wrote a marker of this generation, and not a copy or an
    /// older backup of it.
    pub fn owns(&self, generation: Uuid) -> bool {
        self.is_at_home
            && (self.generation == generation || self.previous_generation == Some(generation))
    }

    /// The marker as the database has it.
    pub fn marker(&self) -> Marker {
        Marker { installation: self.id, generation: self.generation }
    }
}

/// The installation of this database; the first call gives it its id.
pub async fn get(connection: &mut PgConnection) -> sqlx::Result<Installation> {
    if let Some(installation) = find(connection).await? {
        return Ok(installation);
    }
    sqlx::query!(
        "INSERT INTO installation (id, home, generation) VALUES ($1, database_home(), $2) ON CONFLICT DO NOTHING",
        Uuid::new_v4(),
        Uuid::new_v4(),
    )
    .execute(&mut *connection)
    .await?;
    find(connection).await?.ok_or(sqlx::Error::RowNotFound)
}

async fn find(connection: &mut PgConnection) -> sqlx::Result<Option<Installation>> {
    sqlx::query_as!(
        Installation,
        r#"SELECT id, home = database_home() AS "is_at_home!", storage_marked_at IS NOT NULL AS "is_marked!", generation, previous_generation
           FROM installation"#,
    )
    .fetch_optional(connection)
    .await
}

/// Lets one process at a time change the marker, until its transaction ends.
pub async fn lock_marker(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('pictier storage marker'))")
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a new generation, which is then written to the marker. `current` is the marker's
/// generation now.
pub async fn set_generation(
    connection: &mut PgConnection,
    generation: Uuid,
    current: Option<Uuid>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE installation SET generation = $1, previous_generation = $2",
        generation,
        current
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes this database the home of the installation.
pub async fn set_home(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("UPDATE installation SET home = database_home()").execute(connection).await?;
    Ok(())
}

/// Records that the store has the marker. From now on, a missing marker is an outage.
pub async fn set_marked(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("UPDATE installation SET storage_marked_at = coalesce(storage_marked_at, now())")
        .execute(connection)
        .await?;
    Ok(())
}

/// The shard at which the next cleanup goes on looking for orphans.
pub async fn next_shard(connection: &mut PgConnection) -> sqlx::Result<Shard> {
    let number =
        sqlx::query_scalar!("SELECT next_shard FROM installation").fetch_one(connection).await?;
    Ok(Shard::new(unsigned(number)?))
}

/// Keeps the shard at which the next cleanup goes on.
pub async fn set_next_shard(connection: &mut PgConnection, shard: Shard) -> sqlx::Result<()> {
    sqlx::query!("UPDATE installation SET next_shard = $1", i32::from(shard.number()))
        .execute(connection)
        .await?;
    Ok(())
}

/// How many images there are, as rows.
pub async fn count_images(connection: &mut PgConnection) -> sqlx::Result<u64> {
    unsigned(
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM images"#)
            .fetch_one(connection)
            .await?,
    )
}

/// At most `limit` images at random, of those uploaded two days ago or earlier; of all, when none
/// is so old.
pub async fn sample_originals(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<(OriginalId, imaging::Format)>> {
    let rows = sqlx::query!(
        "WITH old AS (
             SELECT original_id, format FROM images WHERE uploaded_at < now() - interval '2 days'
             ORDER BY random() LIMIT $1
         ), young AS (
             SELECT original_id, format FROM images WHERE NOT EXISTS (SELECT FROM old) ORDER BY random() LIMIT $1
         )
         SELECT * FROM old UNION ALL SELECT * FROM young",
        limit,
    );
    let rows = rows.fetch_all(connection).await?.into_iter();
    let sample = |id: Option<Uuid>, format: Option<String>| {
        let (id, format) = id.zip(format).ok_or(sqlx::Error::RowNotFound)?;
        Ok((OriginalId(id), super::images::format(&format)?))
    };
    rows.map(|row| sample(row.original_id, row.format)).collect()
}
