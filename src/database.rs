//! Which database: the configured one, or an embedded server under the data directory.

use anyhow::Context;
use embedded_postgres::{Durability, Server};
use pictier::Config;
use shared::{clock::Clock, db, domain::Username, postgres};
use sqlx::{PgPool, postgres::PgConnectOptions};

/// The name of the database on the embedded server.
const EMBEDDED_DATABASE: &str = "pictier";
/// Connections that an embedded server takes: of the main process, and of guests such as further
/// workers.
const EMBEDDED_CONNECTIONS: u16 = 200;

/// Connections of a role that does one thing and ends.
pub(crate) const ONE_SHOT_CONNECTIONS: u32 = 2;

/// A database that can be connected to.
pub(crate) struct Database {
    options: PgConnectOptions,
    embedded: Option<Server>,
}

/// Whether the schema is brought up to date before it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// By this process, with the first superuser.
    Prepare,
    /// By `pictier migrate`, unless the server is embedded and nobody else would.
    Expect,
}

impl Database {
    /// Finds the configured database, or starts the embedded server.
    pub(crate) fn locate(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = &config.database.database_url {
            let options = url.parse().context("DATABASE_URL is not a database's URL")?;
            return Ok(Self { options, embedded: None });
        }
        let root = config.storage.data_dir.join("postgres");
        let server_config = embedded_postgres::Config {
            root,
            durability: Durability::Durable,
            max_connections: EMBEDDED_CONNECTIONS,
            binaries: config.database.pg_bin_dir.clone(),
        };
        let server = Server::start(&server_config, &|line| eprintln!("{line}"))?;
        Ok(Self { options: server.options(EMBEDDED_DATABASE), embedded: Some(server) })
    }

    /// Prepares the database, or checks that it is; the first superuser's name when this process
    /// created it.
    pub(crate) async fn prepare(
        &self,
        config: &Config,
        schema: Schema,
    ) -> anyhow::Result<Option<Username>> {
        let (pool, created) = self.open(config, schema).await?;
        pool.close().await;
        Ok(created)
    }

    /// Opens a pool without limits on a database whose schema stays as it is.
    pub(crate) async fn connect(&self) -> anyhow::Result<PgPool> {
        if let Some(server) = &self.embedded {
            let maintenance = server.options("postgres");
            postgres::create_database(&maintenance, EMBEDDED_DATABASE)
                .await
                .context("creating the database")?;
        }
        let pool = postgres::connect_unlimited(self.options.clone(), ONE_SHOT_CONNECTIONS).await;
        let pool = pool.context("connecting to the database")?;
        if self.embedded.is_none() {
            postgres::expect_sessions(&self.options).await?;
        }
        Ok(pool)
    }

    /// Opens a pool without limits for a role that does one thing and ends, on a database that it
    /// prepares or checks; the first superuser's name when this process created it.
    pub(crate) async fn open(
        &self,
        config: &Config,
        schema: Schema,
    ) -> anyhow::Result<(PgPool, Option<Username>)> {
        let pool = self.connect().await?;
        if schema == Schema::Expect && self.embedded.is_none() {
            postgres::expect_migrated(&pool).await?;
            return Ok((pool, None));
        }
        postgres::migrate(&pool).await?;
        let clock = Clock::measured(&pool).await?;
        let mut connection = pool.acquire().await?;
        let created =
            shared::services::setup::prepare(&mut connection, &config.superuser, &clock).await?;
        warn_of_default_password(&db::users::admins_with_default_password(&mut connection).await?);
        drop(connection);
        Ok((pool, created))
    }

    /// How to connect to it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

fn warn_of_default_password(admins: &[String]) {
    for admin in admins {
        tracing::warn!("{admin} can log in with the password that everybody knows: change it");
    }
}
