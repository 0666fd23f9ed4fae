//! The server as a process: started by a thread that keeps it, ended with that thread.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, setsid};

use super::{Config, Durability, EmbeddedError, Identity, PORT, START_TIMEOUT, cluster};

const POLL: Duration = Duration::from_millis(5);
/// How long a server may take to end before it is told to drop everything.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What is needed to start a server.
pub(super) struct Start {
    pub(super) binaries: PathBuf,
    pub(super) root: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) identity: Identity,
    pub(super) config: Config,
}

/// The thread that started the server. The system ends the server when the THREAD that started it ends, so one has
/// to live as long as the process.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the server and waits until it takes connections. `lock` is held until the server has ended.
    pub(super) fn start(start: Start, lock: File) -> Result<Self, EmbeddedError> {
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let keep = move || {
            let _lock = lock;
            let mut child = match start.spawn() {
                Ok(child) => child,
                Err(error) => return drop(ready.send(Err(error.into()))),
            };
            let is_up = start.wait_until_ready(&mut child);
            let is_kept = is_up.is_ok() && ready.send(is_up).is_ok();
            if is_kept {
                // an error says that whoever would stop it is gone: then it stops as well
                let _ = stopped.recv();
            }
            end(&mut child);
        };
        let thread = thread::Builder::new().name("postgres-keeper".into()).spawn(keep)?;
        let mut keeper = Self { stop: Some(stop), thread: Some(thread) };
        match is_ready.recv() {
            Ok(Ok(())) => Ok(keeper),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                keeper.end();
                Err(io::Error::other("the thread that keeps the database ended").into())
            }
        }
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic there was printed there
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Start {
    fn spawn(&self) -> io::Result<Child> {
        self.identity.own(&self.socket_dir)?;
        let mut log = OpenOptions::new().create(true).append(true).open(self.root.join("log"))?;
        writeln!(log, "---- start")?;
        let mut command = Command::new(self.binaries.join("postgres"));
        command
            .arg("-D")
            .arg(self.root.join("cluster"))
            .arg("-k")
            .arg(&self.socket_dir)
            .arg("-p")
            .arg(PORT.to_string());
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        assume(&mut command, self.identity);
        command.spawn()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("listen_addresses", String::new()),
            ("max_connections", self.config.max_connections.to_string()),
            ("shared_buffers", "128MB".to_owned()),
            // the data are on the same machine's disk, and queries are short
            ("random_page_cost", "1.1".to_owned()),
            ("jit", "off".to_owned()),
            ("timezone", "UTC".to_owned()),
        ];
        if self.config.durability == Durability::Ephemeral {
            let off = ["fsync", "synchronous_commit", "full_page_writes", "autovacuum"];
            settings.extend(off.map(|name| (name, "off".to_owned())));
            settings.push(("wal_level", "minimal".to_owned()));
            settings.push(("max_wal_senders", "0".to_owned()));
        }
        settings
    }

    fn wait_until_ready(&self, child: &mut Child) -> Result<(), EmbeddedError> {
        let started = Instant::now();
        let not_ready = |reason| EmbeddedError::NotReady { reason, log: self.root.join("log") };
        while !cluster::is_ready_as(&self.root.join("cluster"), &self.socket_dir, child.id()) {
            if let Some(status) = child.try_wait()? {
                return Err(not_ready(format!("it ended with {status}")));
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(not_ready(format!("it took longer than {} s", START_TIMEOUT.as_secs())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Ends the server: what runs is rolled back, what is committed is written.
fn end(child: &mut Child) {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return;
    };
    let started = Instant::now();
    let _ = kill_process(pid, Signal::INT);
    while matches!(child.try_wait(), Ok(None)) {
        if started.elapsed() > STOP_LIMIT {
            let _ = kill_process(pid, Signal::QUIT);
            let _ = child.wait();
            return;
        }
        thread::sleep(POLL);
    }
}

/// Lets the command run under an identity, in a session of its own (a terminal's Ctrl-C is for us to handle), and end
/// with the thread that starts it.
pub(super) fn assume(command: &mut Command, identity: Identity) {
    if let Identity::Other { uid, gid } = identity {
        command.uid(uid).gid(gid);
    }
    let parent = std::process::id();
    let maps = match identity {
        Identity::Namespace { uid, gid } => Some((format!("{uid} 0 1"), format!("{gid} 0 1"))),
        Identity::Own | Identity::Other { .. } => None,
    };
    let between_fork_and_exec = move || {
        setsid()?;
        if let Some((users, groups)) = &maps {
            linux::enter_user_namespace(users.as_bytes(), groups.as_bytes())?;
        }
        linux::end_with_parent(parent)
    };
    #[expect(unsafe_code, reason = "only a closure between fork and exec can change what the child is")]
    // SAFETY: the closure makes system calls on memory that was allocated before the fork; it neither allocates nor
    // takes a lock, so it is sound in a child of a process with many threads.
    unsafe {
        command.pre_exec(between_fork_and_exec);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{ffi::CStr, io};

    use rustix::{
        fs::{Mode, OFlags, open},
        process::{Signal, getppid, set_parent_process_death_signal},
        thread::UnshareFlags,
    };

    /// Calls our user and group 0 by other numbers, as `user_namespaces(7)` describes.
    pub(super) fn enter_user_namespace(users: &[u8], groups: &[u8]) -> io::Result<()> {
        #[expect(unsafe_code, reason = "rustix marks all of unshare unsafe for the sake of CLONE_FILES")]
        // SAFETY: a new user namespace shares no file descriptors in another way than before.
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)?;
        }
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", users)?;
        write(c"/proc/self/gid_map", groups)
    }

    fn write(path: &CStr, text: &[u8]) -> io::Result<()> {
        let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, text)?;
        Ok(())
    }

    /// Has the system end this process (by a fast shutdown, as Postgres takes SIGINT) with the thread that forked it.
    pub(super) fn end_with_parent(parent: u32) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::INT))?;
        let is_orphan = getppid().is_none_or(|pid| pid.as_raw_nonzero().get().unsigned_abs() != parent);
        // the parent may have died before it was asked for: an error without a message needs no memory
        if is_orphan { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// Elsewhere a server outlives an owner that is killed, until the next start ends it.
#[cfg(not(target_os = "linux"))]
mod linux {
    use std::io;

    pub(super) fn enter_user_namespace(_: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn end_with_parent(_: u32) -> io::Result<()> {
        Ok(())
    }
}
