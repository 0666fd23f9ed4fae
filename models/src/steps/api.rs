//! Transactions of the API.

use super::ensure;
use crate::{
    DELETION, Deletion, HEIGHTS, Holder, Job, Phase, Row, RowState, SECOND, State, Status,
    Thumbnails, Waiter,
};

/// A job that nobody has taken yet.
const NEW: Job =
    Job { status: Status::Pending, lock_by: Holder::Nobody, attempts: 0, lost_by: Holder::Nobody };

fn insert_job(state: &mut State, job: usize) {
    state.jobs[job] = Some(NEW);
    state.workers_told = true;
}

impl Thumbnails {
    pub(super) fn insert_missing(&self, state: &mut State, height: u8) -> Option<()> {
        let row = &mut state.rows[usize::from(height)];
        ensure(row.is_none())?;
        *row = Some(Row { state: RowState::Absent, job: 0, attempt: 0 });
        // after the deletion, this is a process that has read the image before
        ensure(!self.guards.row_needs_image || (state.image && !state.deletion_holds_image()))
    }

    pub(super) fn request(&self, state: &mut State, height: u8) -> Option<()> {
        ensure(!self.deletion_holds_rows(state) && !state.is_row_locked())?;
        let row = state.rows[usize::from(height)].as_mut()?;
        let job = if row.state == RowState::Pending && !self.guards.request_needs_absent {
            ensure(state.jobs[SECOND].is_none())?;
            SECOND
        } else {
            ensure(row.state == RowState::Absent)?;
            usize::from(height)
        };
        row.state = RowState::Pending;
        row.job = u8::try_from(job).ok()?;
        if self.guards.job_with_row {
            insert_job(state, job);
        } else {
            state.unsent[job] = true;
        }
        Some(())
    }

    pub(super) fn request_failed(&self, state: &mut State, height: u8) -> Option<()> {
        ensure(!self.deletion_holds_rows(state))?;
        let row = state.rows[usize::from(height)].as_mut()?;
        ensure(row.state == RowState::Failed && state.jobs[SECOND].is_none())?;
        state.retries = state.retries.checked_sub(1)?;
        row.state = RowState::Pending;
        row.job = u8::try_from(SECOND).ok()?;
        insert_job(state, SECOND);
        Some(())
    }

    pub(super) fn retry_job(&self, state: &mut State, job: u8) -> Option<()> {
        ensure(!self.deletion_holds_rows(state))?;
        ensure(state.jobs[usize::from(job)]?.status == Status::Dead)?;
        state.retries = state.retries.checked_sub(1)?;
        for row in state.rows.iter_mut().flatten() {
            if row.state == RowState::Failed && row.job == job {
                row.state = RowState::Pending;
            }
        }
        insert_job(state, usize::from(job));
        Some(())
    }

    pub(super) fn lock_image(state: &mut State) -> Option<()> {
        let is_locked =
            state.has_run(|run| run.phase == Phase::InTransaction { locks_image: true });
        ensure(state.image && state.deletion == Deletion::None && !is_locked)?;
        state.deletion = Deletion::ImageLocked;
        Some(())
    }

    pub(super) fn insert_unsent(state: &mut State, job: u8) -> Option<()> {
        let job = usize::from(job);
        ensure(state.unsent[job])?;
        state.unsent[job] = false;
        insert_job(state, job);
        Some(())
    }

    pub(super) fn read_attempts(&self, state: &mut State) -> Option<()> {
        ensure(state.deletion == Deletion::ImageLocked)?;
        ensure(!self.guards.deletion_locks_rows || !state.is_row_locked())?;
        let mut read = [0; HEIGHTS];
        for (names, row) in read.iter_mut().zip(state.rows) {
            let attempt = row.map_or(0, |row| row.attempt);
            let first = if self.guards.deletion_names_every_attempt { 1 } else { attempt };
            *names = (first..=attempt).fold(0, |names, attempt| names | self.key(attempt));
        }
        state.deletion = Deletion::Read(read);
        Some(())
    }

    pub(super) fn delete_image(&self, state: &mut State) -> Option<()> {
        let Deletion::Read(names) = state.deletion else { return None };
        ensure(!state.is_row_locked())?;
        state.image = false;
        state.rows = [None; HEIGHTS];
        state.deletion = Deletion::Committed(names);
        state.litter = false;
        if self.guards.objects_job_with_deletion {
            insert_job(state, DELETION);
        } else {
            state.unsent[DELETION] = true;
        }
        Some(())
    }

    pub(super) fn wait_for(state: &mut State, api: u8) -> Option<()> {
        let waiter = &mut state.waiters[usize::from(api)];
        ensure(*waiter == Waiter::None && state.rows[0]?.state == RowState::Pending)?;
        *waiter = Waiter::Waiting { notified: false };
        Some(())
    }

    pub(super) fn hear(state: &mut State, api: u8) -> Option<()> {
        ensure(state.waiters[usize::from(api)] == Waiter::Waiting { notified: true })?;
        state.waiters[usize::from(api)] = match state.rows[0] {
            // it was requested again before the process looked
            Some(Row { state: RowState::Pending, .. }) => Waiter::Waiting { notified: false },
            _ => Waiter::Answered,
        };
        Some(())
    }

    pub(super) fn look(&self, state: &mut State, api: u8) -> Option<()> {
        let waiter = &mut state.waiters[usize::from(api)];
        let is_pending = state.rows[0].is_some_and(|row| row.state == RowState::Pending);
        ensure(matches!(waiter, Waiter::Waiting { .. }) && !is_pending)?;
        *waiter = Waiter::Answered;
        ensure(self.guards.waiting_rechecks)
    }
}
