//! Where the server's programs are.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::EmbeddedError;

/// Where `bin/postgres-binaries` unpacks a server that comes from no system package.
const VENDORED: &str = ".vendor/postgres/bin";

/// The folder of `initdb` and `postgres` of the major version `wanted`, or of the newest.
pub(super) fn find(
    configured: Option<&Path>,
    wanted: Option<&str>,
    root: &Path,
) -> Result<PathBuf, EmbeddedError> {
    let folders = configured.map_or_else(usual_folders, |folder| vec![folder.to_owned()]);
    let mut others = Vec::new();
    for folder in folders {
        let Some(version) = major_version(&folder) else {
            continue;
        };
        match wanted {
            Some(wanted) if wanted != version => {
                if !others.contains(&version) {
                    others.push(version);
                }
            }
            _ => return Ok(folder.canonicalize()?),
        }
    }
    match wanted {
        Some(wanted) if !others.is_empty() => Err(EmbeddedError::OtherVersion {
            root: root.to_owned(),
            wanted: wanted.to_owned(),
            installed: others.join(", "),
        }),
        _ => Err(EmbeddedError::NoBinaries),
    }
}

fn major_version(folder: &Path) -> Option<String> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2)?.split('.').next()?;
    Some(version.to_owned())
}

/// Debian's packages, newest first; Homebrew's; our own; whatever is on the PATH.
fn usual_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for parent in ["/usr/lib/postgresql", "/usr/local/lib/postgresql"] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<u32> = entries
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
            .collect();
        versions.sort_by_key(|version| Reverse(*version));
        folders.extend(
            versions.iter().map(|version| Path::new(parent).join(format!("{version}/bin"))),
        );
    }
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        folders.extend(
            (15..=20)
                .rev()
                .map(|version| PathBuf::from(format!("{homebrew}/postgresql@{version}/bin"))),
        );
    }
    folders.push("/usr/local/pgsql/bin".into());
    folders.push(VENDORED.into());
    #[expect(
        clippy::disallowed_methods,
        reason = "the PATH is where programs are, not configuration of ours"
    )]
    let path = std::env::var_os("PATH");
    folders.extend(path.iter().flat_map(std::env::split_paths));
    folders
}
