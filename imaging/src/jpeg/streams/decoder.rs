//! Where streams start, and how they make up a scan.

use super::{
    super::JpegError,
    layout::Layout,
    steps::{Parser, STREAMS, State},
    stream::{Outcome, Stream, Target},
    values::Values,
};
use crate::Deadline;

/// So many streams are started at most where there are no restart markers.
const MAX_GUESSED: usize = 64;
/// Turns between two looks at the deadline.
const TURNS_TO_DEADLINE: usize = 256;
/// Blocks that a stream may find beyond those that it should before all is given up.
const SPARE_BLOCKS: usize = 1000;

/// A part of the scan: blocks of a stream.
pub(super) struct Part<'a> {
    pub(super) stream: &'a Stream,
    from: usize,
    to: usize,
}

impl<'a> Part<'a> {
    /// What is kept of its blocks.
    pub(super) fn records(&self, layout: &Layout) -> impl Iterator<Item = &'a [i16]> {
        self.stream.records(layout, self.from, self.to)
    }
}

/// The streams of a scan.
pub(super) struct Decoder<'a> {
    file: &'a [u8],
    layout: &'a Layout,
    values: Values,
    parser: Box<Parser>,
    /// The scan, or what is between its restart markers.
    segments: Vec<(usize, usize)>,
    /// Blocks between restart markers.
    interval: Option<usize>,
    /// A stream is halved when at least this many bytes lie before it.
    min_halved: usize,
    streams: Vec<Stream>,
    /// Blocks of all streams.
    found: usize,
    /// Starts of blocks of each stream that another is to meet, in bits from its own start.
    starts: Vec<Vec<u32>>,
    /// The streams that run, by their windows.
    live: Vec<usize>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(
        file: &'a [u8],
        layout: &'a Layout,
        segments: Vec<(usize, usize)>,
        restart_interval: usize,
        min_halved: usize,
    ) -> Self {
        let mut decoder = Self {
            file,
            layout,
            values: Values::new(layout),
            parser: Parser::new(layout),
            segments,
            interval: (restart_interval > 0).then(|| restart_interval * layout.phases.len()),
            min_halved,
            streams: Vec::new(),
            found: 0,
            starts: Vec::new(),
            live: Vec::new(),
        };
        if decoder.interval.is_none() {
            decoder.start_guessed();
        }
        decoder
    }

    /// Streams at equal distances, each of which is to meet the next one.
    fn start_guessed(&mut self) {
        let (start, end) = self.segments[0];
        let starts: Vec<usize> = (0..STREAMS)
            .map(|index| match index {
                0 => start,
                _ => self.start_near(start + (end - start) / STREAMS * index),
            })
            .collect();
        for (index, &start) in starts.iter().enumerate() {
            let target = starts.get(index + 1).map(|&mark| Target { stream: index + 1, mark });
            self.start(Stream::new(start, target, index > 0));
        }
    }

    /// A place that is not within a stuffed byte, or a marker.
    fn start_near(&self, mut at: usize) -> usize {
        while self.file.get(at - 1) == Some(&0xFF) {
            at += 1;
        }
        at
    }

    fn start(&mut self, stream: Stream) {
        self.live.push(self.streams.len());
        self.streams.push(stream);
        self.starts.push(Vec::new());
    }

    /// Takes turns until all streams are done.
    pub(super) fn run(&mut self, deadline: &Deadline) -> Result<(), JpegError> {
        for turn in 0_usize.. {
            if turn.is_multiple_of(TURNS_TO_DEADLINE) {
                deadline.check()?;
            }
            self.fill_up();
            if self.live.is_empty() {
                break;
            }
            self.turn()?;
            // what streams find twice is little, and takes memory
            let most = self.layout.blocks() + SPARE_BLOCKS * self.streams.len();
            if self.found > most || self.live.iter().any(|&index| self.is_hopeless(index)) {
                break;
            }
            self.retire();
        }
        Ok(())
    }

    /// Starts streams while there are windows left: at the next restart marker, or halfway before a
    /// stream that has far to go.
    fn fill_up(&mut self) {
        while self.live.len() < STREAMS {
            if self.interval.is_some() {
                let Some(&(start, _)) = self.segments.get(self.streams.len()) else { break };
                self.start(Stream::new(start, None, false));
            } else if !self.halve() {
                break;
            }
        }
    }

    fn halve(&mut self) -> bool {
        let end = self.segments[0].1;
        let left = |stream: &Stream| {
            let mark = stream.target.map_or(end, |target| target.mark);
            mark.saturating_sub(stream.next)
        };
        let longest = self.live.iter().max_by_key(|&&index| left(&self.streams[index])).copied();
        let Some(longest) = longest else { return false };
        let (far, new) = (left(&self.streams[longest]), self.streams.len());
        if far < self.min_halved || !self.streams[longest].is_before_mark() || new >= MAX_GUESSED {
            return false;
        }
        let mark = self.start_near(self.streams[longest].next + far / 2);
        let target = self.streams[longest].target.replace(Target { stream: new, mark });
        self.start(Stream::new(mark, target, true));
        true
    }

    /// A turn of all streams that run.
    fn turn(&mut self) -> Result<(), JpegError> {
        let read_by = (self.layout, &self.values);
        let mut states: [State; STREAMS] = [0; STREAMS];
        for (slot, &index) in self.live.iter().enumerate() {
            let window = &mut self.parser.windows[slot];
            states[slot] = self.streams[index].prepare(self.file, read_by, window)?;
        }
        self.parser.turn(self.layout, &mut states, self.live.len());
        for (slot, &index) in self.live.iter().enumerate() {
            let stream = &mut self.streams[index];
            let parser = &mut self.parser;
            let damaged = parser.damaged[slot].take();
            let found = (&parser.positions[slot], states[slot], damaged);
            // a stream's target is another one
            let mut mine = std::mem::take(&mut self.starts[index]);
            self.found -= stream.count;
            let target = stream.target.map_or(&[][..], |target| &self.starts[target.stream]);
            stream.take_up(self.layout, found, (&mut mine, target));
            if stream.outcome != Outcome::Running {
                stream.read(read_by, &parser.windows[slot])?;
            }
            self.starts[index] = mine;
            self.found += stream.count;
        }
        Ok(())
    }

    /// Whether what a stream has found cannot become a picture.
    fn is_hopeless(&self, index: usize) -> bool {
        let stream = &self.streams[index];
        let is_too_long = stream.count > self.wanted(index) + SPARE_BLOCKS;
        let is_wrong =
            self.interval.is_some() && stream.outcome == Outcome::Ended && !self.is_whole(index);
        stream.outcome == Outcome::Lost || is_too_long || is_wrong
    }

    /// Blocks that this stream must have at most.
    fn wanted(&self, index: usize) -> usize {
        let blocks = self.layout.blocks();
        self.interval.map_or(blocks, |interval| {
            interval.min(blocks.saturating_sub(interval.saturating_mul(index)))
        })
    }

    /// Whether a stream between restart markers has all its blocks, and nothing behind them.
    fn is_whole(&self, index: usize) -> bool {
        let (stream, wanted) = (&self.streams[index], self.wanted(index));
        stream.outcome == Outcome::Ended
            && wanted > 0
            && stream.may_end_at(wanted)
            && stream.is_intact(0, wanted)
    }

    /// Takes the streams that are done from their windows.
    fn retire(&mut self) {
        let mut kept = 0;
        for slot in 0..self.live.len() {
            let index = self.live[slot];
            if self.streams[index].outcome == Outcome::Running {
                self.parser.windows.copy_within(slot..=slot, kept);
                self.live[kept] = index;
                kept += 1;
            }
        }
        self.live.truncate(kept);
    }

    /// The parts of the scan in order; none if the streams found any fault.
    pub(super) fn parts(&self) -> Option<Vec<Part<'_>>> {
        if let Some(interval) = self.interval {
            let are_all = self.streams.len() == self.segments.len()
                && self.segments.len() == self.layout.blocks().div_ceil(interval)
                && (0..self.streams.len()).all(|index| self.is_whole(index));
            let part =
                |index| Part { stream: &self.streams[index], from: 0, to: self.wanted(index) };
            return are_all.then(|| (0..self.streams.len()).map(part).collect());
        }
        let (mut parts, mut index, mut from, mut left) = (Vec::new(), 0, 0, self.layout.blocks());
        loop {
            let stream = &self.streams[index];
            let met = match stream.outcome {
                Outcome::Met(at) => Some((stream.target?.stream, at)),
                Outcome::Ended => None,
                Outcome::Running | Outcome::Lost => return None,
            };
            let to = if met.is_some() { stream.count } else { from + left };
            let is_end_right = met.is_some() || stream.may_end_at(to);
            if to < from || to > stream.count || !is_end_right || !stream.is_intact(from, to) {
                return None;
            }
            left = left.checked_sub(to - from)?;
            parts.push(Part { stream, from, to });
            let Some((target, at)) = met else { return Some(parts) };
            (index, from) = (target, at);
        }
    }
}
