//! A run of a job.

use super::ensure;
use crate::{
    DELETION, Deletion, HEIGHTS, Holder, Outcome, Phase, Row, RowState, Run, State, Status,
    Thumbnails,
};

impl Run {
    /// The thumbnail that it makes now, and the number of its claim.
    fn claim(&self) -> Option<(usize, u8)> {
        let height = self.claims.iter().position(|attempt| *attempt > 0)?;
        Some((height, self.claims[height]))
    }

    fn end_claim(&mut self, height: usize) {
        self.claims[height] = 0;
        self.phase = match self.claim() {
            Some(_) => Phase::Making,
            None => Phase::Ended(Outcome::Done),
        };
    }
}

impl State {
    /// A run that is in this phase.
    fn run_in(&mut self, run: u8, phase: Phase) -> Option<&mut Run> {
        self.runs[usize::from(run)].as_mut().filter(|run| run.phase == phase)
    }
}

impl Thumbnails {
    /// Which pending thumbnails of the image have a job that no worker has.
    fn others(state: &State, job: u8) -> [bool; HEIGHTS] {
        state.rows.map(|row| {
            let waits = |row: Row| {
                row.job != job
                    && state.jobs[usize::from(row.job)]
                        .is_some_and(|job| job.status == Status::Pending)
            };
            row.is_some_and(|row| row.state == RowState::Pending && waits(row))
        })
    }

    pub(super) fn read_others(&self, state: &mut State, run: u8) -> Option<()> {
        ensure(!self.guards.take_along_locks)?;
        let job = state.run_in(run, Phase::Fetched)?.job;
        ensure(usize::from(job) != DELETION)?;
        let others = Self::others(state, job);
        state.run_in(run, Phase::Fetched)?.phase = Phase::OthersRead(others);
        Some(())
    }

    pub(super) fn claim(&self, state: &mut State, run: u8) -> Option<()> {
        ensure(!self.deletion_holds_rows(state) && !state.is_row_locked())?;
        let slot = usize::from(run);
        let mut run = state.runs[slot]?;
        ensure(usize::from(run.job) != DELETION)?;
        let others = match run.phase {
            Phase::Fetched if self.guards.take_along_locks => Self::others(state, run.job),
            Phase::OthersRead(others) => others,
            _ => return None,
        };
        let job = state.jobs[usize::from(run.job)]?;
        let holds_job = job.status == Status::Queued && job.lock_by == Holder::Worker(run.worker);
        let is_own = |row: &Row| row.job == run.job && row.state == RowState::Pending;
        let has_own = state.rows.iter().flatten().any(is_own);
        if (holds_job || !self.guards.claim_needs_job) && has_own {
            let rows = state.rows.iter_mut().zip(others).zip(&mut run.claims);
            for ((row, is_other), claim) in rows {
                if let Some(row) = row
                    && row.state == RowState::Pending
                    && (row.job == run.job || is_other)
                {
                    row.job = run.job;
                    row.attempt += 1;
                    *claim = row.attempt;
                }
            }
        }
        run.phase = match run.claim() {
            Some(_) => Phase::Making,
            None => Phase::Ended(Outcome::Done),
        };
        state.runs[slot] = Some(run);
        Some(())
    }

    pub(super) fn put(&self, state: &mut State, run: u8) -> Option<()> {
        ensure(state.decodable)?;
        let object_before_row = self.guards.object_before_row;
        let phase = if object_before_row { Phase::Making } else { Phase::RowReady };
        let run = state.run_in(run, phase)?;
        let (height, attempt) = run.claim()?;
        if object_before_row {
            run.phase = Phase::Written;
        } else {
            run.end_claim(height);
        }
        let object = self.key(attempt);
        state.overwritten |= state.objects[height] & object != 0;
        state.objects[height] |= object;
        Some(())
    }

    pub(super) fn set_placeholder(&self, state: &mut State, run: u8) -> Option<()> {
        let locks_image = state.image && !state.placeholder;
        let is_locked = state.deletion_holds_image()
            || state.has_run(|run| run.phase == Phase::InTransaction { locks_image: true });
        ensure(!locks_image || !is_locked)?;
        if !self.guards.image_locked_first {
            let run = state.run_in(run, Phase::RowLocked)?;
            let (height, _) = run.claim()?;
            run.end_claim(height);
            state.rows[height].as_mut()?.state = RowState::Ready;
            state.placeholder = true;
            return Some(());
        }
        ensure(state.decodable)?;
        let ready = if self.guards.object_before_row { Phase::Written } else { Phase::Making };
        state.run_in(run, ready)?.phase = Phase::InTransaction { locks_image };
        Some(())
    }

    /// Whether the row is still the one that was claimed.
    pub(crate) fn is_claimed(&self, state: &State, run: &Run, height: usize) -> bool {
        state.rows[height].is_some_and(|row| {
            row.state == RowState::Pending
                && row.job == run.job
                && (row.attempt == run.claims[height] || !self.guards.attempt_in_update)
        })
    }

    pub(super) fn mark_ready(&self, state: &mut State, slot: u8) -> Option<()> {
        ensure(!self.deletion_holds_rows(state) && !state.is_row_locked())?;
        let mut run = state.runs[usize::from(slot)]?;
        let is_due = if self.guards.image_locked_first {
            matches!(run.phase, Phase::InTransaction { .. })
        } else {
            run.phase == Phase::Written
        };
        ensure(is_due)?;
        let (height, _) = run.claim()?;
        let row = state.rows[height].filter(|_| self.is_claimed(state, &run, height));
        match row {
            Some(_) if !self.guards.image_locked_first => run.phase = Phase::RowLocked,
            Some(row) => {
                state.rows[height] = Some(Row { state: RowState::Ready, ..row });
                state.placeholder = true;
                run.phase = Phase::RowReady;
                if self.guards.object_before_row {
                    run.end_claim(height);
                }
            }
            None if self.guards.own_object_deleted && self.guards.object_before_row => {
                run.phase = Phase::ClaimLost;
            }
            None => run.end_claim(height),
        }
        state.runs[usize::from(slot)] = Some(run);
        Some(())
    }

    pub(super) fn delete_own_object(&self, state: &mut State, run: u8) -> Option<()> {
        let run = state.run_in(run, Phase::ClaimLost)?;
        let (height, attempt) = run.claim()?;
        run.end_claim(height);
        state.objects[height] &= !self.key(attempt);
        Some(())
    }

    pub(super) fn mark_failed(&self, state: &mut State, slot: u8) -> Option<()> {
        ensure(!state.decodable && !self.deletion_holds_rows(state) && !state.is_row_locked())?;
        let mut run = *state.run_in(slot, Phase::Making)?;
        let (height, _) = run.claim()?;
        if self.is_claimed(state, &run, height) {
            state.rows[height].as_mut()?.state = RowState::Failed;
        }
        run.end_claim(height);
        state.runs[usize::from(slot)] = Some(run);
        Some(())
    }

    pub(super) fn delete_objects(state: &mut State, run: u8) -> Option<()> {
        let Deletion::Committed(names) = state.deletion else { return None };
        let run = state.run_in(run, Phase::Fetched)?;
        ensure(usize::from(run.job) == DELETION)?;
        run.phase = Phase::Ended(Outcome::Done);
        for (objects, names) in state.objects.iter_mut().zip(names) {
            *objects &= !names;
        }
        state.original = false;
        Some(())
    }
}
