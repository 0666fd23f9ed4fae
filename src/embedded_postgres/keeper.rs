//! The thread that keeps a server: it starts it, starts it again when it ends by itself, and ends
//! it.

use std::{
    collections::hash_map::RandomState,
    fs::File,
    hash::BuildHasher,
    io,
    process::ExitStatus,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use super::{
    EmbeddedError, START_TIMEOUT,
    process::{Running, Start},
};

const POLL: Duration = Duration::from_millis(5);
/// How long a server that ended is left alone before the first new start; it doubles with each that
/// fails.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// A server that ran this long has started well: the next delay is the first one.
const STEADY: Duration = Duration::from_mins(1);

/// The thread that started the server. The system ends the server when the THREAD that started it
/// ends, so one has to live as long as the process.
#[derive(Debug)]
pub(super) struct Keeper {
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

/// What wakes the thread.
enum Event {
    Stop,
    /// A child ended, perhaps an earlier one than the present.
    ChildEnded,
}

impl Keeper {
    /// Starts the server and waits until it takes connections. `lock` is held until the server has
    /// ended.
    pub(super) fn start(start: Start, lock: File) -> Result<Self, EmbeddedError> {
        let (ready, is_ready) = mpsc::channel();
        let (events, received) = mpsc::channel();
        let line = Line { start, sender: events.clone(), events: received };
        let keep = move || {
            let _lock = lock;
            line.keep(&ready);
        };
        let thread = thread::Builder::new().name("postgres-keeper".into()).spawn(keep)?;
        let keeper = Self { events, thread: Some(thread) };
        match is_ready.recv() {
            Ok(Ok(())) => Ok(keeper),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the thread that keeps it ended").into()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // an error says that the thread has ended already
        let _ = self.events.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            // a panic there was printed there
            let _ = thread.join();
        }
    }
}

/// Successive servers of one folder.
struct Line {
    start: Start,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Line {
    fn keep(&self, ready: &Sender<Result<(), EmbeddedError>>) {
        let mut server = match self.launch(Some(START_TIMEOUT)) {
            Ok(Some(server)) => server,
            Ok(None) => return,
            Err(error) => return drop(ready.send(Err(error))),
        };
        if ready.send(Ok(())).is_err() {
            return server.end();
        }
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let Some(status) = self.wait(&mut server) else {
                return server.end();
            };
            if started.elapsed() >= STEADY {
                backoff = Backoff::default();
            }
            let words = server.last_words().pop().unwrap_or_default();
            let reason = format!("The embedded database ended ({status}; its last line: {words})");
            match self.start_again(reason, &mut backoff) {
                Some(next) => server = next,
                None => return,
            }
        }
    }

    /// Waits for the end of the server; `None` when it is to be stopped.
    fn wait(&self, server: &mut Running) -> Option<ExitStatus> {
        loop {
            match self.events.recv() {
                Ok(Event::Stop) | Err(_) => return None,
                Ok(Event::ChildEnded) => {
                    if let Some(status) = server.status() {
                        return Some(status);
                    }
                }
            }
        }
    }

    /// Starts a server until one runs; `None` when it is to be stopped.
    fn start_again(&self, mut reason: String, backoff: &mut Backoff) -> Option<Running> {
        loop {
            let delay = backoff.next_delay();
            tracing::error!("{reason}. It is started again in {:.1} s.", delay.as_secs_f64());
            if self.is_stopped_within(delay) {
                return None;
            }
            // recovery takes as long as it takes: a server that is ended in the middle begins anew
            match self.launch(None) {
                Ok(Some(server)) => {
                    tracing::info!("The embedded database runs again.");
                    return Some(server);
                }
                Ok(None) => return None,
                Err(error) => error.in_one_line().trim_end_matches('.').clone_into(&mut reason),
            }
        }
    }

    fn is_stopped_within(&self, time: Duration) -> bool {
        let started = Instant::now();
        loop {
            match self.events.recv_timeout(time.saturating_sub(started.elapsed())) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
                Ok(Event::ChildEnded) => {}
            }
        }
    }

    /// Starts a server and waits until it takes connections; `None` when it is to be stopped.
    fn launch(&self, limit: Option<Duration>) -> Result<Option<Running>, EmbeddedError> {
        self.start.clear_the_way()?;
        let mut server = self.start.spawn()?;
        let is_up = self.wait_until_ready(&mut server, limit);
        if !matches!(is_up, Ok(true)) {
            server.end();
        }
        match is_up {
            Ok(true) => Ok(Some(server)),
            Ok(false) => Ok(None),
            Err(reason) => Err(self.start.not_ready(reason, &server)),
        }
    }

    /// Returns whether it is ready, and not to be stopped; an error is the reason why it will not
    /// be.
    fn wait_until_ready(
        &self,
        server: &mut Running,
        limit: Option<Duration>,
    ) -> Result<bool, String> {
        report_end(server.pid(), self.sender.clone()).map_err(|error| error.to_string())?;
        let started = Instant::now();
        while !self.start.is_ready(server) {
            if let Some(status) = server.status() {
                return Err(format!("it ended with {status}"));
            }
            if let Some(limit) = limit.filter(|limit| started.elapsed() > *limit) {
                return Err(format!("it took longer than {} s", limit.as_secs()));
            }
            if self.is_stopped_within(POLL) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Sends an event when this child ends. The child is left to be waited for, so nobody gets its
/// number before.
fn report_end(child: Pid, events: Sender<Event>) -> io::Result<()> {
    let wait = move || {
        while let Err(Errno::INTR) =
            waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        // an error says that the keeper has ended
        let _ = events.send(Event::ChildEnded);
    };
    thread::Builder::new().name("postgres-watch".into()).spawn(wait)?;
    Ok(())
}

/// How long to wait before the next start.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn next_delay(&mut self) -> Duration {
        let delay = delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        // a quarter more or less, from the numbers that the standard library seeds its maps with
        let random = RandomState::new().hash_one(self.failures) % 1000;
        delay.mul_f64(0.75 + f64::from(u32::try_from(random).unwrap_or_default()) / 2000.0)
    }
}

fn delay(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    FIRST_DELAY.saturating_mul(factor).min(LAST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_last() {
        let delays: Vec<_> = (0..9).map(|failures| delay(failures).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(delay(u32::MAX), LAST_DELAY);
    }

    #[test]
    fn delays_vary_by_a_quarter() {
        let delays: Vec<_> = (0..50).map(|_| Backoff::default().next_delay()).collect();
        assert!(delays.iter().all(|delay| (75..=125).contains(&delay.as_millis())), "{delays:?}");
        assert!(delays.iter().any(|delay| *delay != delays[0]), "{delays:?}");
    }
}
