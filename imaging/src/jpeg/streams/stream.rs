//! One stream: it reads blocks from one position of the scan.

use super::{
    super::JpegError,
    layout::Layout,
    steps::{
        Damaged, Positions, State, TURN_BYTES, WINDOW_BYTES, Window, number, position, start_of,
        with_number,
    },
    values::Values,
};

/// Starts of blocks that a stream remembers, to be met at by the one before it. Most are met within
/// a hundred.
const MAX_STARTS: usize = 1 << 11;

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Running,
    /// It goes on as its target, from that block on.
    Met(usize),
    /// It came to the end of its bytes.
    Ended,
    /// It did not meet its target, or has more blocks than there are.
    Lost,
}

/// Where a stream is met by the one before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The stream that started there.
    pub(super) stream: usize,
    /// Where in the file.
    pub(super) mark: usize,
}

pub(super) struct Stream {
    /// Where in the file the bytes behind the window are.
    pub(super) next: usize,
    /// How many bytes are in the window.
    end: usize,
    /// Unstuffed bytes that were dropped from the window's front.
    dropped: usize,
    /// Whether its bytes end with the window, at a marker or with the file.
    is_last: bool,
    /// Whether no block was begun.
    is_new: bool,
    state: State,
    /// What is kept of the blocks whose values were read, by window, and the first of them. None is
    /// so large that the system had to be asked for its memory.
    records: Vec<(usize, Vec<i16>)>,
    /// Where in the window, in bits, the blocks start whose values are still to be read.
    unread: Vec<u16>,
    /// Blocks, those whose values are still to be read included.
    pub(super) count: usize,
    /// Numbers of blocks behind which the scan may end.
    ends: Vec<usize>,
    /// Blocks that made no sense, from the first to the last of a turn.
    damaged: Vec<(usize, usize)>,
    pub(super) target: Option<Target>,
    /// Where the target started, in unstuffed bytes, once it is reached.
    mark_at: Option<usize>,
    /// The next start of the target to be compared.
    cursor: usize,
    /// Whether another is to meet this one.
    is_target: bool,
    pub(super) outcome: Outcome,
}

impl Stream {
    pub(super) fn new(start: usize, target: Option<Target>, is_target: bool) -> Self {
        Self {
            next: start,
            end: 0,
            dropped: 0,
            is_last: false,
            is_new: true,
            state: 0,
            records: Vec::new(),
            unread: Vec::new(),
            count: 0,
            ends: Vec::new(),
            damaged: Vec::new(),
            target,
            mark_at: None,
            cursor: 0,
            is_target,
            outcome: Outcome::Running,
        }
    }

    /// Whether the next stream's start is behind the window.
    pub(super) fn is_before_mark(&self) -> bool {
        self.mark_at.is_none()
    }

    /// Sees to bytes for a turn; gives the state that it starts in.
    pub(super) fn prepare(
        &mut self,
        file: &[u8],
        read_by: (&Layout, &Values),
        window: &mut Window,
    ) -> Result<State, JpegError> {
        let at = position(self.state) as usize / 8;
        if at + TURN_BYTES > self.end && !self.is_last {
            self.read(read_by, window)?;
            self.fill(file, window, at);
        }
        self.state = with_number(self.state, number(self.state) % (2 * read_by.0.phases.len()));
        Ok(self.state)
    }

    /// Reads the values of the blocks that were found since the last time: all those of a window
    /// together, as the processor then learns how the loops go.
    pub(super) fn read(
        &mut self,
        (layout, values): (&Layout, &Values),
        window: &Window,
    ) -> Result<(), JpegError> {
        let first = self.count - self.unread.len();
        let start = layout.place(first);
        let mut records = Vec::new();
        let len = layout.place(self.count) - start;
        records.try_reserve_exact(len).map_err(|_| JpegError::OutOfMemory)?;
        records.resize(len, 0);
        let phases = layout.phases.len();
        for (index, phase) in layout.phases.iter().enumerate() {
            // the first block that stands there
            let skipped = (index + phases - first % phases) % phases;
            let starts = self.unread.get(skipped..).unwrap_or_default();
            let units =
                records.get_mut(layout.place(first + skipped) - start..).unwrap_or_default();
            let (starts, units) =
                (starts.iter().step_by(phases), units.chunks_mut(layout.unit_len));
            values.read(layout, phase, window, starts.zip(units));
        }
        self.records.push((first, records));
        self.unread.clear();
        Ok(())
    }

    /// Unstuffs into the room behind the window's end, as the serial decoder does; where the target
    /// started is noted.
    #[inline(never)]
    fn fill(&mut self, file: &[u8], window: &mut Window, at: usize) {
        let at = at.min(self.end);
        window.copy_within(at..self.end, 0);
        self.end -= at;
        self.state -= (at as u32) << 3;
        self.dropped += at;
        let mark = self.target.map_or(usize::MAX, |target| target.mark);
        while self.end < WINDOW_BYTES && !self.is_last {
            if self.next == mark {
                self.mark_at = Some(self.dropped + self.end);
            }
            let limit = if self.next < mark { file.len().min(mark) } else { file.len() };
            let rest = file.get(self.next..limit).unwrap_or_default();
            let rest = &rest[..rest.len().min(WINDOW_BYTES - self.end)];
            let plain = memchr::memchr(0xFF, rest).unwrap_or(rest.len());
            window[self.end..self.end + plain].copy_from_slice(&rest[..plain]);
            self.end += plain;
            self.next += plain;
            if plain == rest.len() {
                self.is_last = self.next >= file.len();
                continue;
            }
            match file.get(self.next + 1) {
                Some(0) => {
                    window[self.end] = 0xFF;
                    self.end += 1;
                    self.next += 2;
                }
                Some(0xFF) => self.next += 1,
                _ => self.is_last = true,
            }
        }
    }

    /// Takes up the blocks that a turn found, and looks whether the stream is at its end.
    pub(super) fn take_up(
        &mut self,
        layout: &Layout,
        (positions, after, damaged): (&Positions, State, Damaged),
        starts: (&mut Vec<u32>, &[u32]),
    ) {
        let before = std::mem::replace(&mut self.state, after);
        let (begin, last) = (number(before), number(after));
        if let Some((first, last)) = damaged {
            // a block that goes on was counted, one that starts was not
            let counted = usize::from(!self.is_new);
            let block =
                |number: usize| (self.count + number / 2 - begin / 2).saturating_sub(counted);
            self.damaged.push((block(first), block(last)));
        }
        let first = if self.is_new { begin } else { (begin + 2) & !1 };
        self.is_new = false;
        if last < first {
            return;
        }
        let has_end = self.is_last && position(after) as usize / 8 + 2 * TURN_BYTES > self.end;
        let is_at_mark = self
            .mark_at
            .is_some_and(|mark| self.dropped * 8 + position(after) as usize >= mark * 8);
        if has_end || is_at_mark || self.is_target && starts.0.len() < MAX_STARTS {
            self.take_up_carefully(layout, (positions, first, last), starts);
        } else {
            let (starts, _) = positions.as_chunks::<2>();
            self.unread.extend(starts[first / 2..=last / 2].iter().map(|[start, _]| start));
            self.count += (last - first) / 2 + 1;
        }
    }

    /// The same block by block, where it may end or meet another stream, or must remember its
    /// starts.
    fn take_up_carefully(
        &mut self,
        layout: &Layout,
        (positions, first, last): (&Positions, usize, usize),
        (mine, target): (&mut Vec<u32>, &[u32]),
    ) {
        for block in (first..=last).step_by(2) {
            let at = position(start_of(block, positions)) as usize;
            if self.is_last && self.is_at_end(at) {
                return;
            }
            let phase = block / 2 % layout.phases.len();
            self.outcome = self.meet(layout, self.dropped * 8 + at, phase, target);
            if self.outcome != Outcome::Running {
                return;
            }
            if self.is_target && mine.len() < MAX_STARTS {
                mine.push((self.dropped * 8 + at) as u32);
            }
            self.unread.push(at as u16);
            self.count += 1;
        }
    }

    /// Notes a block's start near the end of the bytes. What is left in the last two of them may be
    /// padding, or blocks: any start there may be the end, and the number of blocks decides.
    fn is_at_end(&mut self, at: usize) -> bool {
        let bytes_read = at.div_ceil(8);
        if bytes_read + 1 >= self.end && bytes_read <= self.end {
            self.ends.push(self.count);
        }
        let is_at_end = at >= self.end * 8;
        if is_at_end {
            self.outcome = Outcome::Ended;
        }
        is_at_end
    }

    /// Whether the target has a start here, of a block that stands at the same place of a unit: from
    /// there on both read the same.
    fn meet(&mut self, layout: &Layout, at: usize, phase: usize, target: &[u32]) -> Outcome {
        let Some(wanted) = self.mark_at.and_then(|mark| at.checked_sub(mark * 8)) else {
            return Outcome::Running;
        };
        while target.get(self.cursor).is_some_and(|&start| (start as usize) < wanted) {
            self.cursor += 1;
        }
        let phase_of_target = self.cursor % layout.phases.len();
        match target.get(self.cursor) {
            None => Outcome::Lost,
            Some(&start)
                if start as usize == wanted
                    && layout.phases[phase].class == layout.phases[phase_of_target].class =>
            {
                Outcome::Met(self.cursor)
            }
            Some(_) => Outcome::Running,
        }
    }

    /// What is kept of these blocks.
    pub(super) fn records(
        &self,
        layout: &Layout,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = &[i16]> {
        let (from, to) = (layout.place(from), layout.place(to));
        self.records.iter().map(move |(first, records)| {
            let first = layout.place(*first);
            let end = to.saturating_sub(first).min(records.len());
            &records[from.saturating_sub(first).min(end)..end]
        })
    }

    /// Whether the bytes may end behind these many blocks: at most a byte is left (T.81 section
    /// F.1.2.3 pads with ones).
    pub(super) fn may_end_at(&self, count: usize) -> bool {
        self.ends.contains(&count)
    }

    /// Whether all of these blocks made sense.
    pub(super) fn is_intact(&self, from: usize, to: usize) -> bool {
        self.damaged.iter().all(|&(first, last)| last < from || first >= to)
    }
}
