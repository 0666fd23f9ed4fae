//! As whom the server runs. Postgres refuses user 0, also where there is no other: in a container,
//! on a build machine.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{
        fs::{MetadataExt, lchown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Signal, setsid};

use super::EmbeddedError;

/// Debian's user `nobody`, for systems without a list of users.
const NOBODY: u32 = 65_534;

/// As whom the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Own,
    /// In a user namespace that calls our user 0 by another number; the files stay root's.
    Namespace {
        /// What user 0 is called.
        uid: u32,
        /// What group 0 is called.
        gid: u32,
    },
    /// As another user, where namespaces are forbidden; the files become theirs.
    Other {
        uid: u32,
        gid: u32,
    },
}

impl Identity {
    /// The identity for the server of this folder, trying what the system allows.
    pub(super) fn choose(root: &Path) -> Result<Self, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        // a cluster keeps the owner that it was made with
        let owner = fs::metadata(root.join("cluster"))
            .ok()
            .map(|metadata| (metadata.uid(), metadata.gid()));
        let given_away = owner.filter(|(uid, _)| *uid != 0);
        // initdb wants its user to have a name
        let (uid, gid) = given_away
            .or_else(|| user("postgres"))
            .or_else(|| user("nobody"))
            .unwrap_or((NOBODY, NOBODY));
        let namespace = Self::Namespace { uid, gid };
        if given_away.is_none() && namespace.can("-w", root) {
            return Ok(namespace);
        }
        let other = Self::Other { uid, gid };
        if root.parent().is_none_or(|parent| other.can("-x", parent)) {
            other.own(root)?;
            return Ok(other);
        }
        Err(EmbeddedError::RootOnly { uid, path: root.to_owned() })
    }

    /// Gives a folder and all in it to whom the server runs as.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        let Self::Other { uid, gid } = self else {
            return Ok(());
        };
        let give = || -> io::Result<()> {
            lchown(path, Some(uid), Some(gid))?;
            if fs::symlink_metadata(path)?.is_dir() {
                for entry in fs::read_dir(path)? {
                    self.own(&entry?.path())?;
                }
            }
            Ok(())
        };
        match give() {
            // a process of an earlier run removes its files meanwhile
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            given => given,
        }
    }

    /// Whether two paths lead to the same folder, as far as this identity can see.
    pub(super) fn is_same_folder(self, one: &Path, other: &Path) -> bool {
        // what we cannot look at ourselves, only another identity can
        matches!(self, Self::Other { .. })
            && self.test(&[one.as_os_str(), "-ef".as_ref(), other.as_os_str()])
    }

    /// Lets the command run under this identity, in a session of its own (a terminal's Ctrl-C is for us
    /// to handle), and end with the thread that starts it, by this signal.
    pub(super) fn assume(self, command: &mut Command, end: Signal) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        let parent = std::process::id();
        let maps = match self {
            Self::Namespace { uid, gid } => Some((format!("{uid} 0 1"), format!("{gid} 0 1"))),
            Self::Own | Self::Other { .. } => None,
        };
        let between_fork_and_exec = move || {
            setsid()?;
            if let Some((users, groups)) = &maps {
                linux::enter_user_namespace(users.as_bytes(), groups.as_bytes())?;
            }
            linux::end_with_parent(parent, end)
        };
        #[expect(
            unsafe_code,
            reason = "only a closure between fork and exec can change what the child is"
        )]
        // SAFETY: the closure makes system calls on memory that was allocated before the fork; it
        // neither allocates nor takes a lock, so it is sound in a child of a process with many threads.
        unsafe {
            command.pre_exec(between_fork_and_exec);
        }
    }

    fn can(self, test: &str, path: &Path) -> bool {
        self.test(&[test.as_ref(), path.as_os_str()])
    }

    /// What test(1) says under this identity.
    fn test(self, arguments: &[&OsStr]) -> bool {
        let mut command = Command::new("test");
        command.args(arguments).current_dir("/").stderr(Stdio::null());
        self.assume(&mut command, Signal::KILL);
        command.status().is_ok_and(|status| status.success())
    }
}

/// A user's numbers, from the list of users.
fn user(name: &str) -> Option<(u32, u32)> {
    parse_user(&fs::read_to_string("/etc/passwd").ok()?, name)
}

fn parse_user(list: &str, name: &str) -> Option<(u32, u32)> {
    // name:password:uid:gid:… (passwd(5))
    let of_line = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let numbers = || Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?));
        if fields.first() == Some(&name) { numbers() } else { None }
    };
    list.lines().find_map(of_line)
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
        #[expect(
            unsafe_code,
            reason = "rustix marks all of unshare unsafe for the sake of CLONE_FILES"
        )]
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

    /// Has the system send this signal to this process when the thread that forked it ends.
    pub(super) fn end_with_parent(parent: u32, end: Signal) -> io::Result<()> {
        set_parent_process_death_signal(Some(end))?;
        let is_orphan =
            getppid().is_none_or(|pid| pid.as_raw_nonzero().get().unsigned_abs() != parent);
        // the parent may have died before it was asked for: an error without a message needs no
        // memory
        if is_orphan { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// Elsewhere a server outlives an owner that is killed, until the next start ends it.
#[cfg(not(target_os = "linux"))]
mod linux {
    use std::io;

    use rustix::process::Signal;

    pub(super) fn enter_user_namespace(_: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn end_with_parent(_: u32, _: Signal) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let list = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:101:104::/var/lib:/bin/bash\n";
        assert_eq!(parse_user(list, "postgres"), Some((101, 104)));
        assert_eq!(parse_user(list, "nobody"), None);
    }
}
