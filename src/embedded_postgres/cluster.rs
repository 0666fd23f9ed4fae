//! The files of a server: making them, and reading from them what the server does.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::process::{Pid, Signal};

use super::{Durability, EmbeddedError, Identity, PORT};

/// How the names of folders begin in which a cluster is being made.
pub(super) const UNFINISHED: &str = "cluster.new";
/// What Postgres takes for the modes of a data folder: nothing for others, for the group at most
/// reading.
const FORBIDDEN_MODES: u32 = 0o027;

/// The major version that made the cluster; `None` when there is none.
pub(super) fn major_version(pgdata: &Path) -> Result<Option<String>, EmbeddedError> {
    match fs::read_to_string(pgdata.join("PG_VERSION")) {
        Ok(version) if version.starts_with(|first: char| first.is_ascii_digit()) => {
            Ok(Some(version.trim().to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_empty(pgdata)? => Ok(None),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EmbeddedError::of_folder(pgdata)(error))
        }
        _ => Err(EmbeddedError::NotACluster(pgdata.to_owned())),
    }
}

fn is_empty(folder: &Path) -> Result<bool, EmbeddedError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(EmbeddedError::of_folder(folder)(error)),
    }
}

/// Takes the folder from others, as Postgres demands: a copy may have lost its modes.
pub(super) fn make_private(pgdata: &Path) -> Result<(), EmbeddedError> {
    let private = || {
        if fs::metadata(pgdata)?.permissions().mode() & FORBIDDEN_MODES == 0 {
            return Ok(());
        }
        fs::set_permissions(pgdata, fs::Permissions::from_mode(0o700))
    };
    private().map_err(EmbeddedError::of_folder(pgdata))
}

/// Makes the cluster beside its place and moves it there: a kill in the middle leaves nothing half
/// made. The folder has a name of its own, as what a killed start began may still be going on, and
/// removes its files in the end.
pub(super) fn create(
    binaries: &Path,
    pgdata: &Path,
    identity: Identity,
    durability: Durability,
) -> Result<(), EmbeddedError> {
    let root = pgdata.parent().unwrap_or(pgdata);
    let unusable = EmbeddedError::of_folder(root);
    let beside = match tempfile::Builder::new().prefix(&format!("{UNFINISHED}.")).tempdir_in(root) {
        Ok(beside) => beside,
        Err(error) => return Err(unusable(error)),
    };
    identity.own(beside.path())?;
    let mut output = initdb(binaries, beside.path(), identity, durability, CTYPE)?;
    if !output.status.success()
        && String::from_utf8_lossy(&output.stderr).contains("invalid locale")
    {
        output = initdb(binaries, beside.path(), identity, durability, "C")?;
    }
    if !output.status.success() {
        return Err(EmbeddedError::Initdb(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    fs::rename(beside.path(), pgdata).map_err(unusable)?;
    let _ = beside.keep();
    Ok(())
}

/// What a letter is, and which is its capital, as Unicode says: names are compared without regard
/// to case, and titles searched by their letters. Not every system has it; with C, which has the
/// letters of English only, all else works.
const CTYPE: &str = "C.UTF-8";

fn initdb(
    binaries: &Path,
    pgdata: &Path,
    identity: Identity,
    durability: Durability,
    ctype: &str,
) -> io::Result<Output> {
    let mut command = Command::new(binaries.join("initdb"));
    command.arg("-D").arg(pgdata).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-instructions",
    ]);
    // texts are ordered by their bytes, which no update of the system changes under an index
    command.arg("--no-locale").arg(format!("--lc-ctype={ctype}"));
    if durability == Durability::Ephemeral {
        command.arg("--no-sync");
    }
    // by its working directory it is known when its owner is killed; it would take note of a milder
    // signal only in the end
    command.current_dir(pgdata).stdin(Stdio::null());
    identity.assume(&mut command, Signal::KILL);
    command.output()
}

/// Lines of `postmaster.pid`, as src/include/utils/pidfile.h of PostgreSQL numbers them, from zero.
const PID_LINE: usize = 0;
const STATUS_LINE: usize = 7;

fn lock_file_line(pgdata: &Path, number: usize) -> Option<String> {
    let text = fs::read_to_string(pgdata.join("postmaster.pid")).ok()?;
    text.lines().nth(number).map(|line| line.trim().to_owned())
}

/// The process that the lock file names, whatever it is by now.
pub(super) fn postmaster(pgdata: &Path) -> Option<Pid> {
    let pid = lock_file_line(pgdata, PID_LINE)?.parse().ok()?;
    if pid > 0 { Pid::from_raw(pid) } else { None }
}

/// The process that the lock file names as one without a postmaster, with which the data are
/// repaired by hand.
pub(super) fn single_user(pgdata: &Path) -> Option<Pid> {
    // such a process writes the negative of its number
    let pid: i32 = lock_file_line(pgdata, PID_LINE)?.parse().ok()?;
    if pid < 0 { pid.checked_neg().and_then(Pid::from_raw) } else { None }
}

fn is_called_ready(pgdata: &Path) -> bool {
    lock_file_line(pgdata, STATUS_LINE).is_some_and(|status| status == "ready")
}

/// Whether a server of anybody's takes connections.
pub(super) fn is_ready(pgdata: &Path, socket_dir: &Path) -> bool {
    is_called_ready(pgdata) && takes_connections(socket_dir)
}

/// Whether the server that is this process takes connections.
pub(super) fn is_ready_as(pgdata: &Path, socket_dir: &Path, server: Pid) -> bool {
    postmaster(pgdata) == Some(server) && is_ready(pgdata, socket_dir)
}

fn takes_connections(socket_dir: &Path) -> bool {
    UnixStream::connect(socket_dir.join(format!(".s.PGSQL.{PORT}"))).is_ok()
}
