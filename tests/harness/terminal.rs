//! A process on a terminal, where it asks and somebody types the answer.

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A process on a terminal that is killed with the test.
pub(crate) struct Terminal {
    child: Child,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts a command as script(1) does.
    pub(crate) fn start(command: &Command) -> Self {
        let words: Vec<_> =
            std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let line =
            words.iter().map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" ");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_clear();
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = script.spawn().expect("script(1)");
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut output) = (screen.clone(), child.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                shown
                    .lock()
                    .expect("a screen")
                    .push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Self { child, screen }
    }

    pub(crate) fn screen(&self) -> String {
        self.screen.lock().expect("a screen").clone()
    }

    pub(crate) async fn wait_for(&self, text: &str) {
        let started = Instant::now();
        while !self.screen().contains(text) {
            assert!(started.elapsed() < PATIENCE, "it never said {text:?}: {}", self.screen());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("a typed line");
    }

    /// Waits until it ends.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end: {}", self.screen());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
