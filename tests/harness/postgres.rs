//! One private Postgres for the whole run, and a database for each test, copied from a migrated
//! template.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    thread,
};

use embedded_postgres::{Config, Durability, Server};
use shared::postgres::{self, create_database};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

const TEMPLATE: &str = "template_pictier";

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    sweep_dead_runs(folder);
    let config = Config {
        root: folder.join(format!("pg-{}", std::process::id())),
        durability: Durability::Ephemeral,
        max_connections: 300,
        binaries: binaries(),
    };
    let server = Server::start(&config, &|line| eprintln!("{line}")).expect("a Postgres server");
    // the first test may be inside a runtime already, in which no other can block
    thread::scope(|scope| {
        scope.spawn(|| migrate_template(&server)).join().expect("a migrated template");
    });
    server
});

/// The folder that `PG_BIN_DIR` names, as when the tests run once more on another major version.
#[expect(clippy::disallowed_methods, reason = "tests have no command line of ours")]
pub(crate) fn binaries() -> Option<PathBuf> {
    std::env::var_os("PG_BIN_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

fn migrate_template(server: &Server) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        create_database(&server.options("postgres"), TEMPLATE).await.expect("the template");
        let pool =
            postgres::connect_unlimited(server.options(TEMPLATE), 2).await.expect("a connection");
        postgres::migrate(&pool).await.expect("the schema");
        // a template that anybody is connected to cannot be copied
        pool.close().await;
    });
}

/// A killed run leaves its server's files behind.
fn sweep_dead_runs(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("pg-"));
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// How to connect to a new database with an up-to-date schema and nothing in it.
pub(crate) async fn fresh_database() -> PgConnectOptions {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let mut connection =
        PgConnection::connect_with(&SERVER.options("postgres")).await.expect("a connection");
    let copy = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY");
    sqlx::query(AssertSqlSafe(copy))
        .execute(&mut connection)
        .await
        .expect("a copy of the template");
    connection.close().await.expect("a closed connection");
    SERVER.options(&name)
}
