//! What earlier runs left: processes that still work in our folders, and lock files that name
//! others.
//!
//! A server changes into its data folder when it starts, and so do the processes that create one.
//! So a process is ours when it has the name of a program of Postgres' and works in a folder of
//! ours. No other process gets a signal, whatever number a lock file names.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{EmbeddedError, Identity, PORT, cluster};

const POLL: Duration = Duration::from_millis(5);
/// When processes that do not end are told so more firmly, and when that fails.
struct Patience {
    /// After this time they drop everything.
    quit: Duration,
    /// After this time they are killed; what is committed is in the log, and is recovered.
    kill: Duration,
}
/// For a server that may still write what it has in memory.
const FOR_SERVERS: Patience =
    Patience { quit: Duration::from_secs(10), kill: Duration::from_secs(20) };
/// For processes whose server is gone. They end by themselves as soon as they notice it.
const FOR_ORPHANS: Patience =
    Patience { quit: Duration::from_secs(1), kill: Duration::from_secs(2) };
/// For processes that create a folder which nobody wants any more.
const FOR_INITDB: Patience = Patience { quit: Duration::ZERO, kill: Duration::ZERO };
/// After this time a process that does not end is reported.
const LIMIT: Duration = Duration::from_secs(30);

/// Names of programs that work in a data folder.
const PROGRAMS: [&str; 2] = ["postgres", "initdb"];

/// Ends every server of the data folder. The caller holds the lock, so their owners are gone.
///
/// Returns whether it is certain that none is left, which is not the case where processes cannot be
/// looked at.
pub(super) fn end_servers(pgdata: &Path, identity: Identity) -> Result<bool, EmbeddedError> {
    let started = Instant::now();
    while let Some(found) = working_in(pgdata, identity) {
        let Some(first) = found.first() else {
            return Ok(true);
        };
        let in_use =
            |pid: Pid| EmbeddedError::InUse { pid: pid.as_raw_pid(), folder: pgdata.to_owned() };
        let lone = cluster::single_user(pgdata);
        if let Some(lone) = found.iter().find(|process| Some(process.pid) == lone) {
            // an operator repairs the data by hand
            return Err(in_use(lone.pid));
        }
        if started.elapsed() > LIMIT {
            return Err(in_use(first.pid));
        }
        let named = cluster::postmaster(pgdata);
        match found.iter().find(|process| Some(process.pid) == named) {
            // it ends its children itself
            Some(server) => server.end(&FOR_SERVERS, started.elapsed()),
            None => found.iter().for_each(|process| process.end(&FOR_ORPHANS, started.elapsed())),
        }
        thread::sleep(POLL);
    }
    Ok(false)
}

/// Removes the lock files of servers that were killed. The caller has made certain that none lives.
///
/// Postgres does the same, but not when the file is empty or damaged, or when its process number
/// belongs to another process of the same user by now: then it refuses to start.
pub(super) fn remove_locks(pgdata: &Path, socket_dir: &Path) -> Result<(), EmbeddedError> {
    for file in [pgdata.join("postmaster.pid"), socket_dir.join(format!(".s.PGSQL.{PORT}.lock"))] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EmbeddedError::of_folder(&file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the folders that killed starts were creating, and ends what still writes there.
pub(super) fn sweep_unfinished(root: &Path, identity: Identity) -> Result<(), EmbeddedError> {
    for entry in fs::read_dir(root)?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(cluster::UNFINISHED) {
            continue;
        }
        let folder = entry.path();
        let started = Instant::now();
        loop {
            let writers = working_in(&folder, identity).unwrap_or_default();
            for process in writers {
                process.end(&FOR_INITDB, started.elapsed());
            }
            let removed = fs::remove_dir_all(&folder);
            if removed.is_ok() || !folder.exists() {
                break;
            }
            if started.elapsed() > LIMIT {
                // it is in nobody's way: the next database is created in a folder of another name
                tracing::warn!("{} cannot be removed: {removed:?}", folder.display());
                break;
            }
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// A process that works in a folder of ours.
#[derive(Debug)]
struct Process {
    pid: Pid,
    /// Where the system has them: a handle that never means a later process of the same number.
    handle: Option<OwnedFd>,
}

impl Process {
    fn end(&self, patience: &Patience, elapsed: Duration) {
        let signal = match elapsed {
            elapsed if elapsed >= patience.kill => Signal::KILL,
            elapsed if elapsed >= patience.quit => Signal::QUIT,
            _ => Signal::INT,
        };
        // it may have ended since
        let _ = match &self.handle {
            Some(handle) => handles::signal(handle, signal),
            None => rustix::process::kill_process(self.pid, signal),
        };
    }
}

/// The processes of Postgres' programs that work in a folder; `None` where processes cannot be
/// looked at.
fn working_in(folder: &Path, identity: Identity) -> Option<Vec<Process>> {
    let Ok(wanted) = fs::metadata(folder) else {
        // nothing works in a folder that does not exist
        return Some(Vec::new());
    };
    let is_wanted =
        |found: &fs::Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
    if !Path::new("/proc/self/cwd").exists() {
        let listed = list_open_files()?.into_iter();
        let ours = listed.filter(|(_, cwd)| fs::metadata(cwd).is_ok_and(|found| is_wanted(&found)));
        return Some(ours.map(|(pid, _)| Process { pid, handle: None }).collect());
    }
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.filter(|number| *number > 0).and_then(Pid::from_raw) else {
            continue;
        };
        if !is_program(&entry.path()) {
            continue;
        }
        // before the next look: if the number changes hands now, the handle is of the process that
        // ended
        let handle = handles::open(pid);
        let cwd = entry.path().join("cwd");
        let is_ours = match fs::metadata(&cwd) {
            Ok(found) => is_program(&entry.path()) && is_wanted(&found),
            // another user's: in a container root may not look at them either
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                identity.is_same_folder(&cwd, folder)
            }
            Err(_) => false,
        };
        if is_ours {
            processes.push(Process { pid, handle });
        }
    }
    Some(processes)
}

fn is_program(process: &Path) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|name| PROGRAMS.contains(&name.trim()))
}

/// Postgres' processes and their working directories, without /proc (macOS).
fn list_open_files() -> Option<Vec<(Pid, PathBuf)>> {
    let mut command = Command::new("lsof");
    command.args(["-w", "-a", "-d", "cwd", "-F", "pn"]);
    for program in PROGRAMS {
        command.args(["-c", program]);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(parse_open_files(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_open_files(list: &str) -> Vec<(Pid, PathBuf)> {
    let mut processes = Vec::new();
    let mut process = None;
    for line in list.lines() {
        // one field a line: its letter, then its value (lsof(8), output for other programs)
        if let Some(pid) = line.strip_prefix('p') {
            process = pid.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        } else if let (Some(path), Some(pid)) = (line.strip_prefix('n'), process) {
            processes.push((pid, path.into()));
        }
    }
    processes
}

#[cfg(target_os = "linux")]
mod handles {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::{
        io,
        process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    };

    pub(super) fn open(pid: Pid) -> Option<OwnedFd> {
        // kernels before 5.3 have none
        pidfd_open(pid, PidfdFlags::empty()).ok()
    }

    pub(super) fn signal(handle: impl AsFd, signal: Signal) -> io::Result<()> {
        pidfd_send_signal(handle, signal)
    }
}

#[cfg(not(target_os = "linux"))]
mod handles {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::{
        io,
        process::{Pid, Signal},
    };

    pub(super) fn open(_: Pid) -> Option<OwnedFd> {
        None
    }

    pub(super) fn signal(_: impl AsFd, _: Signal) -> io::Result<()> {
        Err(io::Errno::NOSYS)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Child;

    use super::*;

    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A process of this name that works in this folder, in the place of a server.
    fn process(name: &str, folder: &Path) -> Killed {
        let programs = tempfile::tempdir().expect("a folder");
        let program = programs.path().join(name);
        std::os::unix::fs::symlink("/bin/sleep", &program).expect("a program");
        Killed(Command::new(program).arg("600").current_dir(folder).spawn().expect("a process"))
    }

    fn found(folder: &Path) -> Vec<u32> {
        let processes = working_in(folder, Identity::Own).expect("processes");
        processes.iter().map(|process| process.pid.as_raw_pid().unsigned_abs()).collect()
    }

    #[test]
    fn only_postgres_in_the_folder_itself_is_ours() {
        let (ours, others) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let server = process("postgres", ours.path());
        let initdb = process("initdb", ours.path());
        let _elsewhere = process("postgres", others.path());
        let _other_program = process("postgres2", ours.path());
        let mut expected = [server.0.id(), initdb.0.id()];
        expected.sort_unstable();
        let mut found = found(ours.path());
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_that_was_renamed_keeps_its_processes() {
        let parent = tempfile::tempdir().expect("a folder");
        let (before, after) = (parent.path().join("before"), parent.path().join("after"));
        fs::create_dir(&before).expect("a folder");
        let server = process("postgres", &before);
        fs::rename(&before, &after).expect("another name");
        fs::create_dir(&before).expect("another folder");
        assert_eq!(found(&after), [server.0.id()]);
        assert!(found(&before).is_empty());
    }

    #[test]
    fn a_handle_signals_nothing_after_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = process("postgres", folder.path());
        let processes = working_in(folder.path(), Identity::Own).expect("processes");
        drop(server);
        // nobody has the number now; with it alone this could be anybody
        let handle = processes[0].handle.as_ref().expect("a handle");
        assert_eq!(handles::signal(handle, Signal::KILL), Err(rustix::io::Errno::SRCH));
    }

    #[test]
    fn a_list_of_open_files_is_read_field_by_field() {
        let list = "p71\nfcwd\nn/srv/a b\np72\nfcwd\np-1\nfcwd\nn/\npx\nn/y\n";
        let pid = Pid::from_raw(71).expect("a number");
        assert_eq!(parse_open_files(list), [(pid, PathBuf::from("/srv/a b"))]);
    }
}
