//! What goes wrong.

use super::ensure;
use crate::{DELETION, Deletion, Holder, Outcome, Phase, State, Status, Thumbnails, Waiter};

impl Thumbnails {
    pub(super) fn crash_worker(state: &mut State, worker: u8) -> Option<()> {
        ensure(state.has_run(|run| run.worker == worker))?;
        for run in &mut state.runs {
            run.take_if(|run| run.worker == worker);
        }
        for job in state.jobs.iter_mut().flatten() {
            if job.lock_by == Holder::Worker(worker) {
                let is_held = job.status == Status::Queued;
                job.lock_by = if is_held { Holder::Gone } else { Holder::Nobody };
            }
            if job.lost_by == Holder::Worker(worker) {
                job.lost_by = Holder::Nobody;
            }
        }
        // the process that is started instead has another name
        state.silent[usize::from(worker)] = false;
        state.litter = true;
        Some(())
    }

    pub(super) fn crash_apis(state: &mut State) -> Option<()> {
        let is_deleting = state.deletion_holds_image();
        ensure(is_deleting || state.unsent.contains(&true))?;
        if is_deleting {
            state.deletion = Deletion::None;
        }
        state.unsent = [false; _];
        Some(())
    }

    pub(super) fn miss_heartbeats(state: &mut State, worker: u8) -> Option<()> {
        // the silence of a worker without a job changes nothing
        ensure(!state.silent[usize::from(worker)] && state.has_run(|run| run.worker == worker))?;
        state.silent[usize::from(worker)] = true;
        state.silenced = true;
        Some(())
    }

    pub(super) fn fail(state: &mut State, run: u8, outcome: Outcome) -> Option<()> {
        let run = state.runs[usize::from(run)].as_mut()?;
        // errors of the store and the database are transient, and a deletion has no others
        ensure(outcome == Outcome::Transient || usize::from(run.job) != DELETION)?;
        match run.phase {
            Phase::Ended(_) => return None,
            Phase::Fetched | Phase::OthersRead(_) | Phase::Making => {}
            _ => state.litter = true,
        }
        run.claims = [0; _];
        run.phase = Phase::Ended(outcome);
        Some(())
    }

    pub(super) fn lose_end(state: &mut State, api: u8) -> Option<()> {
        let waiter = &mut state.waiters[usize::from(api)];
        ensure(*waiter == Waiter::Waiting { notified: true })?;
        *waiter = Waiter::Waiting { notified: false };
        Some(())
    }

    pub(super) fn lose_new_job(&self, state: &mut State) -> Option<()> {
        ensure(state.workers_told && !self.guards.workers_poll)?;
        state.workers_told = false;
        Some(())
    }
}
