//! The files of a server: making them, and reading from them what the server does.

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Durability, EmbeddedError, Identity, PORT, START_TIMEOUT, create_private, process};

const POLL: Duration = Duration::from_millis(5);
/// An orphan that has not ended after this long is told to drop everything.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);
const ORPHAN_LIMIT: Duration = Duration::from_secs(30);

/// The major version that made the cluster; `None` when there is none.
pub(super) fn major_version(pgdata: &Path) -> Option<String> {
    fs::read_to_string(pgdata.join("PG_VERSION")).ok().map(|version| version.trim().to_owned())
}

/// Makes the cluster beside its place and moves it there: a kill in the middle leaves nothing half made.
pub(super) fn create(
    binaries: &Path,
    pgdata: &Path,
    identity: Identity,
    durability: Durability,
) -> Result<(), EmbeddedError> {
    let beside = pgdata.with_extension("new");
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    create_private(&beside)?;
    identity.own(&beside)?;
    let mut output = initdb(binaries, &beside, identity, durability, CTYPE)?;
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("invalid locale") {
        output = initdb(binaries, &beside, identity, durability, "C")?;
    }
    if !output.status.success() {
        return Err(EmbeddedError::Initdb(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::rename(&beside, pgdata)?;
    Ok(())
}

/// What a letter is, and which is its capital, as Unicode says: names are compared without regard to case, and titles
/// searched by their letters. Not every system has it; with C, which has the letters of English only, all else works.
const CTYPE: &str = "C.UTF-8";

fn initdb(
    binaries: &Path,
    pgdata: &Path,
    identity: Identity,
    durability: Durability,
    ctype: &str,
) -> io::Result<Output> {
    let mut command = Command::new(binaries.join("initdb"));
    command.arg("-D").arg(pgdata).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-instructions"]);
    // texts are ordered by their bytes, which no update of the system changes under an index
    command.arg("--no-locale").arg(format!("--lc-ctype={ctype}"));
    if durability == Durability::Ephemeral {
        command.arg("--no-sync");
    }
    command.current_dir("/").stdin(Stdio::null());
    process::assume(&mut command, identity);
    command.output()
}

/// What a server says of itself in `postmaster.pid`.
struct Postmaster {
    pid: Pid,
    is_ready: bool,
}

fn postmaster(pgdata: &Path) -> Option<Postmaster> {
    let text = fs::read_to_string(pgdata.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.trim().parse().ok()?)?;
    // the eighth line is the status (src/include/utils/pidfile.h of PostgreSQL)
    Some(Postmaster { pid, is_ready: lines.nth(6).is_some_and(|status| status.trim() == "ready") })
}

/// Whether a server of anybody's takes connections.
pub(super) fn is_ready(pgdata: &Path, socket_dir: &Path) -> bool {
    postmaster(pgdata).is_some_and(|postmaster| postmaster.is_ready) && takes_connections(socket_dir)
}

/// Whether the server that is this process takes connections.
pub(super) fn is_ready_as(pgdata: &Path, socket_dir: &Path, pid: u32) -> bool {
    let is_ours = |postmaster: &Postmaster| postmaster.pid.as_raw_nonzero().get().unsigned_abs() == pid;
    postmaster(pgdata).is_some_and(|postmaster| postmaster.is_ready && is_ours(&postmaster))
        && takes_connections(socket_dir)
}

fn takes_connections(socket_dir: &Path) -> bool {
    UnixStream::connect(socket_dir.join(format!(".s.PGSQL.{PORT}"))).is_ok()
}

/// Waits for the server of another process.
pub(super) fn wait_until_ready(root: &Path, socket_dir: &Path) -> Result<(), EmbeddedError> {
    let started = Instant::now();
    while !is_ready(&root.join("cluster"), socket_dir) {
        if started.elapsed() > START_TIMEOUT {
            let reason = "another process holds it and it does not get ready".to_owned();
            return Err(EmbeddedError::NotReady { reason, log: root.join("log") });
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Ends a server whose owner was killed. The caller holds the lock, so whoever owned a live one is gone.
pub(super) fn end_orphan(pgdata: &Path) -> Result<(), EmbeddedError> {
    let started = Instant::now();
    while let Some(Postmaster { pid, .. }) = postmaster(pgdata) {
        if !is_postgres(pid) {
            // a stale file, with which the next server deals itself
            return Ok(());
        }
        if started.elapsed() > ORPHAN_LIMIT {
            return Err(EmbeddedError::Orphan(pid.as_raw_nonzero().get()));
        }
        let signal = if started.elapsed() > ORPHAN_PATIENCE { Signal::QUIT } else { Signal::INT };
        // it may have ended since
        let _ = kill_process(pid, signal);
        thread::sleep(POLL);
    }
    Ok(())
}

/// Whether the process is a Postgres and not one that got its number later.
fn is_postgres(pid: Pid) -> bool {
    let name = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("comm");
    match fs::read_to_string(name) {
        Ok(name) => name.trim() == "postgres",
        // without /proc (macOS) the number is all there is
        Err(_) => !Path::new("/proc/self").exists() && test_kill_process(pid).is_ok(),
    }
}
