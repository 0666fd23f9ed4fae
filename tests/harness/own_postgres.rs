//! A Postgres of one test's own, which it may freeze and stop.

use std::{fs, path::Path};

use embedded_postgres::{Config, Durability, Server};
use rustix::process::{Pid, Signal, kill_process};
use shared::postgres::create_database;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::binaries;

const DATABASE: &str = "own";
const CONNECTIONS: u16 = 100;

/// A server that ends with the test.
pub(crate) struct OwnPostgres {
    server: Server,
    folder: TempDir,
}

impl OwnPostgres {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let config = Config {
            root: folder.path().join("postgres"),
            durability: Durability::Ephemeral,
            max_connections: CONNECTIONS,
            binaries: binaries(),
        };
        let starting =
            move || Server::start(&config, &|line| eprintln!("{line}")).expect("a Postgres server");
        let server = tokio::task::spawn_blocking(starting).await.expect("a started server");
        create_database(&server.options("postgres"), DATABASE).await.expect("a database");
        Self { server, folder }
    }

    /// An empty database on it.
    pub(crate) fn database(&self) -> PgConnectOptions {
        self.server.options(DATABASE)
    }

    /// Stops all of its processes, with whatever they have under way, until the guard is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let pidfile = self.folder.path().join("postgres/cluster/postmaster.pid");
        let pidfile = fs::read_to_string(pidfile).expect("a pid file");
        let postmaster: i32 =
            pidfile.lines().next().expect("a line").trim().parse().expect("a pid");
        let mut pids = vec![postmaster];
        // first the parent, so that no child is missed
        signal(&pids, Signal::STOP);
        pids.extend(children(postmaster));
        signal(&pids, Signal::STOP);
        Frozen { pids }
    }
}

/// Processes that go on when this is dropped.
pub(crate) struct Frozen {
    pids: Vec<i32>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(&self.pids, Signal::CONT);
    }
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // a child may have ended meanwhile
        let _ = kill_process(pid, signal);
    }
}

fn children(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // the name in parentheses may hold anything; after it come the state and the parent
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}
