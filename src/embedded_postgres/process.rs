//! The server as a process: started under its identity, ended with the thread that started it.

use std::{
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Config, Durability, EmbeddedError, Identity, Output, PORT, cluster, leftovers, output,
};

const POLL: Duration = Duration::from_millis(5);
/// How long a server may take to end before it is told to drop everything.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take for that before it is killed.
const QUIT_LIMIT: Duration = Duration::from_secs(10);

/// What is needed to start a server.
pub(super) struct Start {
    pub(super) binaries: PathBuf,
    pub(super) root: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) identity: Identity,
    pub(super) config: Config,
}

/// A server that was started.
pub(super) struct Running {
    child: Child,
    output: Output,
}

impl Start {
    /// Ends servers that nobody keeps any more, and removes the lock files of killed ones.
    pub(super) fn clear_the_way(&self) -> Result<(), EmbeddedError> {
        let pgdata = self.pgdata();
        if leftovers::end_servers(&pgdata, self.identity)? {
            leftovers::remove_locks(&pgdata, &self.socket_dir)?;
        }
        Ok(())
    }

    pub(super) fn spawn(&self) -> Result<Running, EmbeddedError> {
        self.identity.own(&self.socket_dir)?;
        let log = output::open_log(&self.log())?;
        let pgdata = self.pgdata();
        let mut command = Command::new(self.binaries.join("postgres"));
        command
            .arg("-D")
            .arg(&pgdata)
            .arg("-k")
            .arg(&self.socket_dir)
            .arg("-p")
            .arg(PORT.to_string());
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // by its working directory it is known from its first moment
        command
            .current_dir(&pgdata)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        self.identity.assume(&mut command, Signal::INT);
        let mut child = command.spawn()?;
        let output = match child.stderr.take() {
            Some(stderr) => Output::copy(stderr, log),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        match output {
            Ok(output) => Ok(Running { child, output }),
            Err(error) => {
                end(&mut child);
                Err(error.into())
            }
        }
    }

    /// Whether this server takes connections.
    pub(super) fn is_ready(&self, server: &Running) -> bool {
        cluster::is_ready_as(&self.pgdata(), &self.socket_dir, server.pid())
    }

    /// The error of a server that has ended.
    pub(super) fn not_ready(&self, reason: String, server: &Running) -> EmbeddedError {
        EmbeddedError::NotReady { reason, words: server.last_words(), log: self.log() }
    }

    fn pgdata(&self) -> PathBuf {
        self.root.join("cluster")
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
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
}

impl Running {
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How it ended; `None` while it runs.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        // an error says that it cannot be waited for, which is so for a child that was
        self.child.try_wait().ok().flatten()
    }

    /// The last lines of a server that has ended.
    pub(super) fn last_words(&self) -> Vec<String> {
        self.output.last_words()
    }

    /// Ends it: what is under way is rolled back, what is committed is written.
    pub(super) fn end(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let pid = Pid::from_child(child);
    for (signal, limit) in [(Signal::INT, STOP_LIMIT), (Signal::QUIT, QUIT_LIMIT)] {
        // a child that was waited for gets none: its number may be another's by now
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process(pid, signal);
        let started = Instant::now();
        while started.elapsed() < limit {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}
