//! Other programs, which live as long as the benchmark: a line in, a line of JSON out.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::measure;

/// One thumbnailing.
pub(crate) struct Work<'a> {
    pub(crate) path: &'a Path,
    pub(crate) heights: &'a [u32],
    /// How the paths of the thumbnails begin.
    pub(crate) prefix: PathBuf,
    /// `jpg` or `png`.
    pub(crate) extension: &'static str,
}

impl Work<'_> {
    /// Where the thumbnails go, one for each height.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let prefix = self.prefix.display();
        self.heights
            .iter()
            .map(move |height| format!("{prefix}-{height}.{}", self.extension).into())
    }
}

/// What one thumbnailing took.
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(crate) cpu_ms: f64,
    /// For each height.
    pub(crate) bytes: Vec<usize>,
}

#[derive(Deserialize)]
struct Greeting {
    version: String,
}

/// A program that makes thumbnails.
pub(crate) struct Peer {
    script: Script,
    process: Process,
}

impl Peer {
    pub(crate) fn libvips(tools: &Path) -> Self {
        Self::start(Script::python(tools, "libvips.py"))
    }

    pub(crate) fn sharp(tools: &Path) -> Self {
        let modules = Some(tools.join("node/node_modules").into_os_string());
        Self::start(Script { interpreter: "node".into(), file: script("sharp.js"), modules })
    }

    fn start(script: Script) -> Self {
        let process = Process::start(&script);
        Self { script, process }
    }

    /// The program's name and version.
    pub(crate) fn version(&self) -> &str {
        &self.process.version
    }

    pub(crate) fn work(&mut self, work: &Work<'_>) -> Answer {
        let (path, prefix) = (work.path.display(), work.prefix.display());
        self.process.ask(&format!(
            "{path}\t{}\t{prefix}\t{}",
            measure::list(work.heights),
            work.extension
        ))
    }

    /// The memory that one thumbnailing needs above the file, in a process of its own, in KiB.
    pub(crate) fn peak_kib(&self, path: &Path, heights: &[u32]) -> u32 {
        run_peak(&mut self.script.command(), path, heights)
    }
}

/// Runs a program with `--peak`, and reads the number that it prints.
pub(crate) fn run_peak(program: &mut Command, path: &Path, heights: &[u32]) -> u32 {
    let program =
        program.arg("--peak").arg(path).arg(measure::list(heights)).stderr(Stdio::inherit());
    let output = program.output().expect("the program runs");
    assert!(output.status.success(), "{program:?} fails");
    let printed = String::from_utf8(output.stdout).expect("the program prints text");
    printed.trim().parse().expect("the program prints a number of KiB")
}

/// The program that compares thumbnails.
pub(crate) struct Quality {
    process: Process,
}

impl Quality {
    pub(crate) fn start(tools: &Path) -> Self {
        Self { process: Process::start(&Script::python(tools, "quality.py")) }
    }

    /// How far a picture is from a reference, whose values are converted with the `profile` first.
    pub(crate) fn of(
        &mut self,
        picture: &Path,
        reference: &Path,
        (width, height): (u32, u32),
        profile: Option<&Path>,
    ) -> Verdict {
        let (picture, reference) = (picture.display(), reference.display());
        let profile = profile.unwrap_or(Path::new("")).display();
        self.process.ask(&format!("{picture}\t{reference}\t{width}\t{height}\t{profile}"))
    }
}

/// How far a picture is from its reference.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) dssim: f64,
    pub(crate) psnr_db: f64,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}

/// A script, and what runs it.
struct Script {
    interpreter: PathBuf,
    file: PathBuf,
    /// Where node looks for packages.
    modules: Option<OsString>,
}

impl Script {
    fn python(tools: &Path, name: &str) -> Self {
        Self { interpreter: tools.join("venv/bin/python"), file: script(name), modules: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.file).envs(self.modules.iter().map(|modules| ("NODE_PATH", modules)));
        command
    }
}

/// A running script; it ends when its stdin does.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    version: String,
}

impl Process {
    fn start(script: &Script) -> Self {
        let mut command = script.command();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut process = Self { child, stdin, stdout, version: String::new() };
        let greeting: Greeting = process.read();
        process.version = greeting.version;
        process
    }

    fn ask<T: DeserializeOwned>(&mut self, line: &str) -> T {
        let stdin = self.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("the script listens");
        self.read()
    }

    fn read<T: DeserializeOwned>(&mut self) -> T {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the script answers in text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // it has nothing left to say, and its exit code nothing to add
        let _ = self.child.wait();
    }
}
