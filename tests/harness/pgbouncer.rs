//! PgBouncer in front of the tests' server.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::Proxy;

const PROGRAM: &str = "/usr/sbin/pgbouncer";
const PATIENCE: Duration = Duration::from_secs(20);

/// A pooler that ends with the test.
pub(crate) struct PgBouncer {
    child: Child,
    port: u16,
    database: String,
    _folder: TempDir,
    /// It cannot reach the socket of a server that runs as somebody else.
    _proxy: Proxy,
}

impl PgBouncer {
    /// Starts it in this mode.
    pub(crate) async fn start(database: &PgConnectOptions, pool_mode: &str) -> Self {
        let proxy = Proxy::start(database).await;
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {pool_mode}\ndefault_pool_size = 60\n",
            proxy.port(),
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, configuration).expect("a configuration");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
            .expect("a folder for all");
        let mut command = Command::new(PROGRAM);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        command
            .arg("-q")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("PgBouncer, which bin/pgbouncer installs");
        let database = database.get_database().expect("a name").to_owned();
        let mut started = Self { child, port, database, _folder: folder, _proxy: proxy };
        started.wait_until_ready().await;
        started
    }

    async fn wait_until_ready(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert_eq!(self.child.try_wait().expect("a status"), None, "it does not run");
            assert!(started.elapsed() < PATIENCE, "it does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The database's URL over it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.database)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
