//! Postgres servers of their own for each harm: started, killed, frozen, replicated, promoted.

use std::{
    fs::{self, File, Permissions},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
/// Debian's user `nobody`.
const NOBODY: u32 = 65_534;
/// The user and the database that every server has.
const USER: &str = "postgres";
pub(crate) const DATABASE: &str = "postgres";
const SETTINGS: [&str; 6] = [
    "max_connections=300",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=UTC",
    // processes are killed here, not machines: what was written to the system survives
    "fsync=off",
    "logging_collector=off",
];

/// Where servers are made: copies of one that `initdb` made.
pub(crate) struct Clusters {
    root: TempDir,
    programs: PathBuf,
    user: Option<u32>,
}

impl Clusters {
    /// Makes the server that the others are copies of.
    pub(crate) fn create() -> Self {
        let root = tempfile::Builder::new().prefix("pictier-chaos-").tempdir().expect("a folder");
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("a folder for all");
        // Postgres refuses to run as root
        let user = rustix::process::geteuid().is_root().then(server_user);
        let clusters = Self { root, programs: find_programs(), user };
        let template = clusters.template();
        clusters.private_folder(&template);
        let mut initdb = clusters.command("initdb");
        initdb.arg("-D").arg(&template).args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        let output = initdb.output().expect("initdb");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        clusters
    }

    fn template(&self) -> PathBuf {
        self.root.path().join("template")
    }

    fn private_folder(&self, folder: &Path) {
        fs::create_dir(folder).expect("a folder");
        fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("a private folder");
        if let Some(user) = self.user {
            chown(folder, Some(user), None).expect("the server's folder");
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user);
        }
        command
    }

    /// Starts a new server with further settings.
    pub(crate) fn start(&self, settings: &[&str]) -> Postgres {
        let (port, folder) = self.place();
        let copied = Command::new("cp").arg("-a").arg(self.template()).arg(&folder).status();
        assert!(copied.expect("cp").success(), "the server's files cannot be copied");
        self.server(folder, port, settings)
    }

    /// Starts a standby that replicates `primary` from now on.
    pub(crate) fn start_standby(&self, primary: &Postgres) -> Postgres {
        let (port, folder) = self.place();
        self.private_folder(&folder);
        let mut backup = self.command("pg_basebackup");
        backup.arg("-D").arg(&folder).args([
            "-h",
            "127.0.0.1",
            "-U",
            USER,
            "-R",
            "--checkpoint=fast",
            "--no-sync",
        ]);
        let output =
            backup.arg("-p").arg(primary.port.to_string()).output().expect("pg_basebackup");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.server(folder, port, &[])
    }

    fn place(&self) -> (u16, PathBuf) {
        let port = free_port();
        (port, self.root.path().join(format!("server-{port}")))
    }

    fn server(&self, folder: PathBuf, port: u16, settings: &[&str]) -> Postgres {
        let mut server = Postgres {
            program: self.programs.join("postgres"),
            user: self.user,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            folder,
            port,
            child: None,
        };
        server.start();
        server
    }
}

/// A server that ends when it is dropped.
pub(crate) struct Postgres {
    program: PathBuf,
    user: Option<u32>,
    settings: Vec<String>,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Starts it, again after it ended, and waits until it takes connections.
    pub(crate) fn start(&mut self) {
        let started = Instant::now();
        let log = self.folder.with_extension("log");
        let log = File::options().create(true).append(true).open(log).expect("a log");
        loop {
            let mut child = self.spawn(&log);
            loop {
                if self.is_ready() {
                    self.child = Some(child);
                    return;
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "Postgres did not start; see {}",
                    self.folder.display()
                );
                // while processes of a killed server live, another refuses to start
                if child.try_wait().expect("a status").is_some() {
                    break;
                }
                thread::sleep(POLL);
            }
        }
    }

    fn spawn(&self, log: &File) -> Child {
        let mut command = Command::new(&self.program);
        command.arg("-D").arg(&self.folder).arg("-p").arg(self.port.to_string()).current_dir("/");
        for setting in SETTINGS.iter().copied().chain(self.settings.iter().map(String::as_str)) {
            command.arg("-c").arg(setting);
        }
        if let Some(user) = self.user {
            command.uid(user);
        }
        let (out, err) = (log.try_clone().expect("a log"), log.try_clone().expect("a log"));
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .expect("postgres")
    }

    /// The eighth line of postmaster.pid is the status (src/include/utils/pidfile.h of PostgreSQL).
    fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.folder.join("postmaster.pid")).unwrap_or_default();
        let is_up =
            text.lines().nth(7).is_some_and(|status| ["ready", "standby"].contains(&status.trim()));
        is_up && TcpStream::connect(self.address()).is_ok()
    }

    /// As an operator stops it: what runs is rolled back.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// As the kernel does when it is out of memory: every process at once.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.end(Signal::KILL);
        // a status that nobody withdraws would look like a server that is ready
        let _ = fs::remove_file(self.folder.join("postmaster.pid"));
    }

    /// Every process stands still until [`Self::thaw`].
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        let mut promote = Command::new(self.program.with_file_name("pg_ctl"));
        if let Some(user) = self.user {
            promote.uid(user);
        }
        let output =
            promote.arg("-D").arg(&self.folder).args(["-w", "promote"]).current_dir("/").output();
        let output = output.expect("pg_ctl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid() else { return };
        let _ = kill_process(pid, signal);
        for child in children(pid) {
            let _ = kill_process(child, signal);
        }
    }

    fn end(&mut self, signal: Signal) {
        let pid = self.pid();
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
        let started = Instant::now();
        while child.try_wait().expect("a status").is_none() {
            if started.elapsed() > PATIENCE {
                let _ = child.kill();
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        self.end(Signal::QUIT);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends every process that this one started, however that is.
pub(crate) fn kill_children() {
    for child in children(rustix::process::getpid()) {
        let _ = kill_process(child, Signal::KILL);
    }
}

/// The URL of the servers' database at this address.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("postgres://{USER}@{address}/{DATABASE}?sslmode=disable")
}

/// A TCP port of loopback that nothing listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn children(parent: Pid) -> Vec<Pid> {
    let is_child = |stat: &str| {
        // pid (name) state ppid … (proc(5)); a name may contain anything but ends at the last
        // bracket
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        fields.split_whitespace().nth(1) == Some(&parent.as_raw_nonzero().get().to_string())
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        found.extend(pid.filter(|_| is_child(&stat)));
    }
    found
}

fn server_user() -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    line.and_then(|line| line.split(':').nth(1)?.parse().ok()).unwrap_or(NOBODY)
}

/// Where bin/postgres-binaries finds or puts them.
fn find_programs() -> PathBuf {
    let mut folders: Vec<PathBuf> =
        option_env!("PG_BIN_DIR").map(PathBuf::from).into_iter().collect();
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(".vendor/postgres/bin"));
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(installed.map(|entry| entry.path().join("bin")));
    let found = folders.into_iter().find(|folder| folder.join("pg_basebackup").exists());
    found.expect("Postgres with pg_basebackup: run bin/postgres-binaries")
}
