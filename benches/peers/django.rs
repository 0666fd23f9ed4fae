//! The Django server of `benches/peers/django`, under gunicorn on a port of its own. Used by a test
//! and by a bench.

use std::{
    env, fs,
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

/// The folder of the project, and that of its Python environment, which `bin/django-peer` makes.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/django");
const ENVIRONMENT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../django-peer");

/// A running server, which ends when it is dropped.
pub(crate) struct DjangoPeer {
    pub(crate) origin: String,
    variables: Vec<(&'static str, String)>,
    child: Child,
    _data: TempDir,
}

impl DjangoPeer {
    /// Starts it with a new database; nothing where Django is not installed. `database` is an empty
    /// one of a Postgres server; without it, a file is the database.
    pub(crate) fn start(database: Option<&PgConnectOptions>, workers: usize) -> Option<Self> {
        if !is_installed() {
            eprintln!(
                "Django is not installed: run bin/django-peer. The comparison with it is left out."
            );
            return None;
        }
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let variables = variables(data.path(), database);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        // its standard input is the socket, so that no other process can take the port in between
        let child = Command::new(program("gunicorn"))
            .args(["--chdir", PROJECT, "--bind", "fd://0", "--log-level", "warning", "--workers"])
            .args([&workers.to_string(), "imageapi.wsgi"])
            .envs(variables.iter().cloned())
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .expect("gunicorn");
        let peer = Self { origin, variables, child, _data: data };
        peer.manage(&["prepare"]);
        Some(peer)
    }

    /// Runs a command of the project's `manage.py`.
    pub(crate) fn manage(&self, arguments: &[&str]) {
        let mut command = Command::new(program("python"));
        command
            .arg(format!("{PROJECT}/manage.py"))
            .args(arguments)
            .envs(self.variables.iter().cloned());
        let status = command.stdin(Stdio::null()).status().expect("Python");
        assert!(status.success(), "manage.py {arguments:?} failed: {status}");
    }
}

impl Drop for DjangoPeer {
    fn drop(&mut self) {
        // with SIGTERM it ends its workers as well
        if let Some(pid) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn is_installed() -> bool {
    let read = |path: &Path| fs::read(path).ok();
    let wanted = read(&Path::new(PROJECT).join("requirements.txt"));
    wanted.is_some() && wanted == read(&Path::new(ENVIRONMENT).join("requirements.txt"))
}

fn program(name: &str) -> PathBuf {
    Path::new(ENVIRONMENT).join("bin").join(name)
}

fn variables(data: &Path, database: Option<&PgConnectOptions>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PEER_DATA_DIR", data.to_str().expect("a name in UTF-8").to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ];
    if let Some(database) = database {
        let socket = database.get_socket().expect("a server behind a socket");
        variables.extend([
            ("PEER_DATABASE_HOST", socket.to_str().expect("a name in UTF-8").to_owned()),
            ("PEER_DATABASE_PORT", database.get_port().to_string()),
            ("PEER_DATABASE_USER", database.get_username().to_owned()),
            ("PEER_DATABASE_NAME", database.get_database().expect("a database").to_owned()),
        ]);
    }
    variables
}
