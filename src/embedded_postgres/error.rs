//! Why there is no server, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why there is no server, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No Postgres is installed.
    #[error(
        "No PostgreSQL server was found. Install one (Debian: apt-get install postgresql; macOS: brew install \
         postgresql@17), name the folder of its programs with --pg-bin-dir, or set DATABASE_URL."
    )]
    NoBinaries,
    /// Another major version made the data.
    #[error(
        "The data in {root} belong to PostgreSQL {wanted}, and only version {installed} was found. The folder was not \
         changed. To keep version {wanted}, install it, or name the folder of its programs with --pg-bin-dir. To \
         change to version {installed}, run pg_upgrade by hand with the programs of both versions, or dump the data \
         with the pg_dumpall of version {wanted} and load them into a new data folder."
    )]
    OtherVersion {
        /// The server's folder.
        root: PathBuf,
        /// The major version that made the data.
        wanted: String,
        /// The major versions that are there.
        installed: String,
    },
    /// The place of the data has files of something else.
    #[error(
        "{0} has files but no readable PG_VERSION, so it is not the data folder of a PostgreSQL server. Restore it \
         from a backup, or move it away, or choose another folder with --data-dir. Nothing was changed."
    )]
    NotACluster(PathBuf),
    /// The folder cannot be used.
    #[error(
        "{path} cannot be used: {error}. Choose another folder with --data-dir, or set DATABASE_URL."
    )]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The process is root, and no other identity can reach the folder.
    #[error(
        "PostgreSQL does not run as root, and the user {uid} cannot reach {path}. Choose a folder outside root's \
         home with --data-dir, or set DATABASE_URL."
    )]
    RootOnly {
        /// The user that the server would run as.
        uid: u32,
        /// The folder.
        path: PathBuf,
    },
    /// `initdb` failed.
    #[error("The database could not be created: {0}")]
    Initdb(String),
    /// The server ended or did not get ready.
    #[error("The embedded database did not start: {reason}.{} Its log is {log}.", quoted(.words))]
    NotReady {
        /// What was seen.
        reason: String,
        /// The last lines that this start added to the log.
        words: Vec<String>,
        /// The server's log.
        log: PathBuf,
    },
    /// A server that uses the folder does not end.
    #[error(
        "A PostgreSQL server (process {pid}) uses {folder} and does not stop. Stop it, then start Pictier again."
    )]
    InUse {
        /// The server.
        pid: i32,
        /// The data's folder.
        folder: PathBuf,
    },
    /// Another failure of the system.
    #[error("The embedded database did not start: {0}.")]
    Io(#[from] io::Error),
}

fn quoted(words: &[String]) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" Its last lines:\n    {}\n", words.join("\n    "))
    }
}

impl EmbeddedError {
    /// The message in one line, for a log.
    pub(super) fn in_one_line(&self) -> String {
        let message = self.to_string();
        let lines: Vec<_> = message.lines().map(str::trim).collect();
        lines.join(" | ")
    }

    /// Turns a failure of the system into one that names the folder.
    pub(super) fn of_folder(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Folder { path, error }
    }
}
