//! The server's log, whose last lines are also kept in memory: on a full disk they reach no file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    process::ChildStderr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use super::EmbeddedError;

/// Lines of a server that failed which are shown.
const SHOWN_LINES: usize = 12;
/// How much of the output is kept for them, in bytes.
const KEPT_BYTES: usize = 8192;
/// How long the last lines of a server that ended may take; its children may still hold the pipe.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// The output of one start of the server.
#[derive(Debug)]
pub(super) struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Disconnected at the end of the output.
    end: Receiver<()>,
}

/// Opens the log for one more start; `None` when the disk has no room for it.
pub(super) fn open_log(path: &Path) -> Result<Option<File>, EmbeddedError> {
    match OpenOptions::new().create(true).append(true).open(path) {
        Ok(mut log) => {
            // a log without this line is no reason not to start
            let _ = writeln!(log, "---- start");
            Ok(Some(log))
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(EmbeddedError::of_folder(path)(error)),
    }
}

impl Output {
    /// Copies the output to the log, in a thread of its own, until the server has ended.
    pub(super) fn copy(from: ChildStderr, log: Option<File>) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (ended, end) = mpsc::channel::<()>();
        let tail = kept.clone();
        thread::Builder::new().name("postgres-log".into()).spawn(move || {
            copy(from, log, &tail);
            drop(ended);
        })?;
        Ok(Self { kept, end })
    }

    /// The last lines of a server that has ended.
    pub(super) fn last_words(&self) -> Vec<String> {
        // nothing is ever sent: this returns at the end of the output, or when the patience ends
        let _ = self.end.recv_timeout(END_PATIENCE);
        last_lines(&self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn copy(mut from: impl Read, mut log: Option<File>, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 4096];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => &chunk[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if let Some(log) = &mut log {
            // what a full disk does not take is still in memory
            let _ = log.write_all(read);
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(read);
        let surplus = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..surplus);
    }
}

fn last_lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(SHOWN_LINES);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_of_an_endless_output_are_kept() {
        let text = "line\n".repeat(10_000) + "line 9999\n";
        let kept = Mutex::new(Vec::new());
        copy(text.as_bytes(), None, &kept);
        let kept = kept.into_inner().expect("what was kept");
        assert_eq!(kept.len(), KEPT_BYTES);
        let lines = last_lines(&kept);
        assert_eq!(lines.len(), SHOWN_LINES);
        assert_eq!(lines.last().map(String::as_str), Some("line 9999"));
    }

    #[test]
    fn the_log_gets_all_of_the_output() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = open_log(&path).expect("a log");
        copy(b"one\ntwo\n".as_slice(), log, &Mutex::default());
        assert_eq!(std::fs::read_to_string(path).expect("a log"), "---- start\none\ntwo\n");
    }
}
