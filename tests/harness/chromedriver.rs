//! The program that drives Chromium, one process for each browser, and whose turn it is to have
//! browsers.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, LazyLock, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long Chromium may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Chromium is.
pub(super) static CHROMIUM: LazyLock<String> = LazyLock::new(|| {
    found("chromedriver")
        .and_then(|_| found("chromium"))
        .expect("chromium and chromedriver, which bin/browser-tools installs")
});

fn found(program: &str) -> Option<String> {
    let output = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A running chromedriver; dropping it ends its Chromium too.
pub(super) struct Chromedriver {
    process: Child,
    port: u16,
    // a closed pipe would end the program when it next says something
    _stdout: BufReader<ChildStdout>,
}

impl Chromedriver {
    pub(super) fn start() -> Self {
        let mut command = if cfg!(target_os = "linux") {
            // tests that are killed take it along; Chromium then ends with the pipe between the two
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "chromedriver"]);
            command
        } else {
            Command::new("chromedriver")
        };
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("chromedriver");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let port = port_of(&mut stdout);
        Self { process, port, _stdout: stdout }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it to end Chromium and itself.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream
            .write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }

    fn has_ended(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.process.try_wait().is_ok_and(|status| status.is_some()) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// The free port that it took, from its own words.
fn port_of(stdout: &mut BufReader<ChildStdout>) -> u16 {
    let mut said = String::new();
    while stdout.read_line(&mut said).expect("a line") > 0 {
        let port = said.rsplit_once("started successfully on port ").map(|(_, port)| port);
        if let Some(port) = port.and_then(|port| port.trim_end().trim_end_matches('.').parse().ok())
        {
            return port;
        }
    }
    panic!("chromedriver does not start: {said}");
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        if self.shut_down().is_err() || !self.has_ended() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// At most two tests have browsers at a time: each keeps a core busy.
static TURNS: Semaphore = Semaphore::const_new(2);

thread_local! {
    // each test has a thread of its own; one that opens a second browser must not wait for itself
    static TURN: RefCell<Weak<SemaphorePermit<'static>>> = const { RefCell::new(Weak::new()) };
}

/// Waits until this test may have browsers.
pub(super) async fn turn() -> Arc<SemaphorePermit<'static>> {
    if let Some(turn) = TURN.with_borrow(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::new(TURNS.acquire().await.expect("a turn"));
    TURN.set(Arc::downgrade(&turn));
    turn
}
