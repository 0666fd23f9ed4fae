//! The program as its operator runs it: real processes.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;

use super::Terminal;

/// Where the tests' program is.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_pictier");

/// How long a debug build may take for what a release build does in a second.
const PATIENCE: Duration = Duration::from_mins(1);

/// How the program is called; nothing of the tests' own environment gets through.
pub(crate) struct Pictier {
    command: Command,
}

impl Pictier {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self::from(Path::new(PROGRAM), data_dir)
    }

    /// A copy of the program elsewhere.
    pub(crate) fn from(program: &Path, data_dir: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("DATA_DIR", data_dir)
            .env("BIND", "127.0.0.1:0")
            .stdin(Stdio::null());
        for kept in ["PATH", "HOME", "PG_BIN_DIR"] {
            #[expect(
                clippy::disallowed_methods,
                reason = "a child needs them as this process has them"
            )]
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        Self { command }
    }

    /// On a database of the tests' server.
    pub(crate) fn on(mut self, database: &PgConnectOptions) -> Self {
        let socket = database.get_socket().expect("a socket").display().to_string();
        let name = database.get_database().expect("a name");
        self.command.env("DATABASE_URL", format!("postgres:///{name}?host={socket}&user=postgres"));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// As another user.
    pub(crate) fn user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    pub(crate) fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it on a terminal.
    pub(crate) fn start_on_terminal(self) -> Terminal {
        Terminal::start(&self.command)
    }

    /// Runs it to its end.
    pub(crate) fn output(mut self) -> Output {
        self.command.output().expect("an output")
    }

    /// Runs it to its end with a line on its standard input.
    pub(crate) fn output_with_input(mut self, line: &str) -> Output {
        let folder = tempfile::tempdir().expect("a folder");
        let input = folder.path().join("input");
        std::fs::write(&input, format!("{line}\n")).expect("an input");
        self.command.stdin(std::fs::File::open(input).expect("an input"));
        self.output()
    }

    /// Starts it and lets it run.
    pub(crate) fn start(self) -> Running {
        self.start_reading_until(None)
    }

    /// Starts it with a log that nobody reads after the line with this text.
    pub(crate) fn start_reading_until(mut self, last: Option<&'static str>) -> Running {
        let mut child =
            self.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (heard, stderr) = (lines.clone(), child.stderr.take().expect("a pipe"));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let is_last = last.is_some_and(|last| line.contains(last));
                heard.lock().expect("lines").push(line);
                if is_last {
                    break;
                }
            }
        });
        Running { child, lines }
    }
}

/// A process that is killed with the test.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }

    /// Waits for a line with this text.
    pub(crate) async fn wait_for(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(line) = self.said().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            let ended = self.child.try_wait().expect("a status");
            assert!(ended.is_none(), "it ended with {ended:?}: {:#?}", self.said());
            assert!(started.elapsed() < PATIENCE, "it never said {text:?}: {:#?}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it serves; its address.
    pub(crate) async fn origin(&mut self) -> String {
        let line = self.wait_for("Pictier is ready: ").await;
        line.trim_start_matches("Pictier is ready: ").to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a killed process");
        self.child.wait().expect("its end");
    }

    /// As `kill` does; how it ended.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop: {:#?}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of the program and a folder for its data that any user can reach.
pub(crate) fn for_other_user(uid: u32) -> (tempfile::TempDir, PathBuf, PathBuf) {
    use std::os::unix::fs::{PermissionsExt, chown};

    let folder = tempfile::tempdir().expect("a folder");
    let world = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), world).expect("a folder for all");
    let (program, data) = (folder.path().join("pictier"), folder.path().join("data"));
    // a process of its own writes it: a child that another test forks meanwhile would inherit a
    // file that is open for writing here, and as long as it has it the program cannot be run
    // (ETXTBSY, execve(2))
    let copy = Command::new("cp").arg(PROGRAM).arg(&program).status().expect("cp");
    assert!(copy.success(), "{copy}");
    std::fs::create_dir(&data).expect("a folder");
    chown(&data, Some(uid), Some(uid)).expect("a folder of theirs");
    (folder, program, data)
}
