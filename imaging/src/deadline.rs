//! A moment after which work on an image is given up.

use std::{
    io::{self, BufRead, Read, Seek, SeekFrom},
    sync::LazyLock,
    time::{Duration, Instant},
};

/// A moment after which work is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    clock: fn() -> Duration,
    at: Duration,
}

/// The deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Decoding the picture took too long.")]
pub struct DeadlineExceeded;

impl Deadline {
    /// So long from now.
    pub fn after(patience: Duration) -> Self {
        Self::after_on(since_first_use, patience)
    }

    /// So long from now on another clock, such as the CPU time of the calling thread. The clock has
    /// to be read on the thread that does the work.
    pub fn after_on(clock: fn() -> Duration, patience: Duration) -> Self {
        let limit = clock().checked_add(patience).map(|at| Limit { clock, at });
        Self { limit }
    }

    /// Never.
    pub fn none() -> Self {
        Self { limit: None }
    }

    /// An error once the moment has passed.
    pub fn check(&self) -> Result<(), DeadlineExceeded> {
        match self.limit {
            Some(Limit { clock, at }) if clock() >= at => Err(DeadlineExceeded),
            _ => Ok(()),
        }
    }
}

/// The time that has passed, whatever the thread did meanwhile.
fn since_first_use() -> Duration {
    static FIRST_USE: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST_USE.elapsed()
}

/// Bytes that dry up when a deadline passes: a decoder that asks for more of them ends.
pub(crate) struct UntilDeadline<R> {
    source: R,
    deadline: Deadline,
    /// Reads since the clock was looked at; decoders read a few bytes at a time.
    reads: u32,
}

/// Reads between two looks at the clock.
const READS_UNCHECKED: u32 = 64;

impl<R> UntilDeadline<R> {
    pub(crate) fn new(source: R, deadline: Deadline) -> Self {
        Self { source, deadline, reads: 0 }
    }

    fn check(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.reads % READS_UNCHECKED != 1 {
            return Ok(());
        }
        self.deadline.check().map_err(io::Error::other)
    }
}

impl<R: Read> Read for UntilDeadline<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.source.read(buffer)
    }
}

impl<R: BufRead> BufRead for UntilDeadline<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.source.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
    }
}

impl<R: Seek> Seek for UntilDeadline<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.source.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes() {
        assert_eq!(Deadline::none().check(), Ok(()));
        assert_eq!(Deadline::after(Duration::from_mins(1)).check(), Ok(()));
        assert_eq!(Deadline::after(Duration::ZERO).check(), Err(DeadlineExceeded));
    }

    #[test]
    fn bytes_dry_up_when_the_deadline_passes() {
        let mut bytes = Vec::new();
        let mut source = UntilDeadline::new(&b"abc"[..], Deadline::after(Duration::ZERO));
        assert!(source.read_to_end(&mut bytes).is_err());
        let mut source = UntilDeadline::new(&b"abc"[..], Deadline::none());
        assert_eq!(source.read_to_end(&mut bytes).expect("bytes"), 3);
    }
}
