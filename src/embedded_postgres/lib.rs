//! A private Postgres under the data directory, for when no database is configured.
//!
//! * It listens on a unix socket in a directory that only its owner can enter, so nobody else can
//!   connect and no password is needed.
//! * It ends with the process that started it, also when that is killed. When it ends by itself, it
//!   is started again on the same socket.
//! * A second process on the same directory is its guest: it uses the server that runs, and leaves
//!   it running. When the owner stops, the guest's connections fail until it is started again.
//! * Postgres refuses to run as root: a root process gives it another identity.

mod binaries;
mod cluster;
mod error;
mod identity;
mod keeper;
mod leftovers;
mod output;
mod process;

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

pub use self::error::EmbeddedError;
use self::{identity::Identity, keeper::Keeper, output::Output};

/// Names the socket's file; nothing listens on the network.
const PORT: u16 = 5432;
/// How long a server may take to accept connections; recovery after a crash is part of it.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two looks at the server of another process.
const POLL: Duration = Duration::from_millis(5);
/// The longest path of a unix socket, in bytes (`sun_path` in unix(7), without the final zero).
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Which server to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the server: `cluster/` has the database, `run/` the socket, `log` what the
    /// server says.
    pub root: PathBuf,
    /// Whether what was committed survives a power cut.
    pub durability: Durability,
    /// Connections at a time, of all processes together.
    pub max_connections: u16,
    /// The folder of `initdb` and `postgres`; without it the usual places are searched.
    pub binaries: Option<PathBuf>,
}

/// Whether what was committed survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Durable,
    /// It does not, and tests are faster.
    Ephemeral,
}

/// A server that runs, or that another process runs.
#[derive(Debug)]
pub struct Server {
    socket_dir: PathBuf,
    /// Stops the server when it is dropped.
    keeper: Option<Keeper>,
}

impl Server {
    /// Starts the server, or becomes the guest of the process that has started it. `progress` gets
    /// a line for what takes long: creating the database, and waiting for another process to do so.
    pub fn start(config: &Config, progress: &dyn Fn(&str)) -> Result<Self, EmbeddedError> {
        let root = open_root(&config.root)?;
        let socket_dir = socket_dir(&root)?;
        let pgdata = root.join("cluster");
        let Some(lock) = lock_or_wait(&root, &socket_dir, progress)? else {
            return Ok(Self { socket_dir, keeper: None });
        };
        let made_by = cluster::major_version(&pgdata)?;
        let binaries = binaries::find(config.binaries.as_deref(), made_by.as_deref(), &root)?;
        let identity = Identity::choose(&root)?;
        leftovers::sweep_unfinished(&root, identity)?;
        if made_by.is_none() {
            progress(&format!("creating the database in {} …", config.root.display()));
            cluster::create(&binaries, &pgdata, identity, config.durability)?;
        }
        cluster::make_private(&pgdata)?;
        let start = process::Start {
            binaries,
            root,
            socket_dir: socket_dir.clone(),
            identity,
            config: config.clone(),
        };
        Ok(Self { socket_dir, keeper: Some(Keeper::start(start, lock)?) })
    }

    /// How to connect to a database of the server.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(PORT)
            .username("postgres")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Whether this process started the server, and ends it.
    pub fn is_owner(&self) -> bool {
        self.keeper.is_some()
    }
}

/// The lock of the folder, or `None` when another process holds it and its server is ready.
fn lock_or_wait(
    root: &Path,
    socket_dir: &Path,
    progress: &dyn Fn(&str),
) -> Result<Option<File>, EmbeddedError> {
    let path = root.join("lock");
    let unusable = |error| EmbeddedError::Folder { path: path.clone(), error };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(unusable)?;
    let started = Instant::now();
    let mut is_announced = false;
    loop {
        match lock.try_lock() {
            // also later: the process that started the server may have been killed
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        if cluster::is_ready(&root.join("cluster"), socket_dir) {
            return Ok(None);
        }
        if !is_announced {
            progress("waiting for the database that another process is starting …");
            is_announced = true;
        }
        if started.elapsed() > START_TIMEOUT {
            let reason = format!(
                "another process holds {} and its server does not get ready",
                path.display()
            );
            return Err(EmbeddedError::NotReady {
                reason,
                words: Vec::new(),
                log: root.join("log"),
            });
        }
        thread::sleep(POLL);
    }
}

fn open_root(root: &Path) -> Result<PathBuf, EmbeddedError> {
    let unusable = |error| EmbeddedError::Folder { path: root.to_owned(), error };
    create_private(root).map_err(unusable)?;
    root.canonicalize().map_err(unusable)
}

/// Only the last folder is private: a server with another identity has to get through the others.
fn create_private(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// `run/` in the server's folder, or, where that path is too long for a socket, a folder of the
/// system's for temporary files.
fn socket_dir(root: &Path) -> Result<PathBuf, EmbeddedError> {
    let near = root.join("run");
    let lock_file = near.join(format!(".s.PGSQL.{PORT}.lock"));
    let folder = if lock_file.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
        near
    } else {
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        std::env::temp_dir().join(format!("pictier-{:016x}", hasher.finish()))
    };
    let unusable = |error| EmbeddedError::Folder { path: folder.clone(), error };
    create_private(&folder).map_err(unusable)?;
    let metadata = fs::symlink_metadata(&folder).map_err(unusable)?;
    let me = rustix::process::geteuid();
    if !metadata.is_dir() || !(me.is_root() || metadata.uid() == me.as_raw()) {
        return Err(unusable(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is somebody else's",
        )));
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(unusable)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_that_is_too_long_moves_to_the_temporary_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let near = socket_dir(folder.path()).expect("a folder for the socket");
        assert_eq!(near, folder.path().join("run"));
        let long = folder.path().join("x".repeat(100));
        fs::create_dir(&long).expect("a folder");
        let far = socket_dir(&long).expect("a folder for the socket");
        assert!(far.starts_with(std::env::temp_dir()), "{}", far.display());
        assert_eq!(far, socket_dir(&long).expect("the same folder again"));
        fs::remove_dir(far).expect("a removed folder");
    }

    #[test]
    fn the_socket_is_out_of_everybody_elses_reach() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = socket_dir(folder.path()).expect("a folder for the socket");
        assert_eq!(fs::metadata(run).expect("metadata").permissions().mode() & 0o777, 0o700);
    }
}
