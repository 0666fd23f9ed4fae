//! Statements of apalis, and the triggers that guard its queue.

use super::ensure;
use crate::{
    DELETION, Holder, Job, MAX_ATTEMPTS, Outcome, Phase, RowState, Run, State, Status, Thumbnails,
};

impl Thumbnails {
    pub(super) fn get_jobs(&self, state: &mut State, worker: u8, job: u8) -> Option<()> {
        // a worker that was frozen gives a sign of life before it looks for jobs
        ensure(!state.silent[usize::from(worker)])?;
        ensure(self.guards.workers_poll || state.workers_told)?;
        let free = state.runs.iter().position(Option::is_none)?;
        let taken = state.jobs[usize::from(job)].as_mut()?;
        ensure(taken.status == Status::Pending)?;
        taken.status = Status::Queued;
        taken.lock_by = Holder::Worker(worker);
        state.runs[free] = Some(Run { worker, job, phase: Phase::Fetched, claims: [0; _] });
        Some(())
    }

    pub(super) fn acknowledge(&self, state: &mut State, run: u8) -> Option<()> {
        let run =
            state.runs[usize::from(run)].take_if(|run| matches!(run.phase, Phase::Ended(_)))?;
        let Phase::Ended(outcome) = run.phase else { return None };
        let mut job = state.jobs[usize::from(run.job)]?;
        if job.lock_by != Holder::Worker(run.worker) {
            return Some(());
        }
        match outcome {
            Outcome::Done => {
                let is_pending =
                    |row: &crate::Row| row.state == RowState::Pending && row.job == run.job;
                if self.guards.done_means_nothing_pending
                    && state.rows.iter().flatten().any(is_pending)
                {
                    return Some(());
                }
                job.status = Status::Done;
                job.lost_by = Holder::Nobody;
            }
            Outcome::Transient => job.status = Status::Failed,
            Outcome::Failed => {
                job.attempts = (job.attempts + 1).min(MAX_ATTEMPTS);
                job.status =
                    if job.attempts < MAX_ATTEMPTS { Status::Failed } else { Status::Dead };
            }
        }
        self.update_job(state, run.job, job);
        Some(())
    }

    /// Stores a job; the trigger `jobs_dead`.
    fn update_job(&self, state: &mut State, id: u8, job: Job) {
        state.jobs[usize::from(id)] = Some(job);
        if job.status == Status::Dead && self.guards.dead_job_fails_rows {
            state.fail_rows_of(id);
        }
    }

    pub(super) fn return_due_job(&self, state: &mut State, job: u8) -> Option<()> {
        let job = state.jobs[usize::from(job)].as_mut()?;
        ensure(self.guards.failed_job_returns && job.status == Status::Failed)?;
        job.status = Status::Pending;
        Some(())
    }

    pub(super) fn reenqueue_orphaned(&self, state: &mut State, id: u8) -> Option<()> {
        let mut job = state.jobs[usize::from(id)]?;
        let is_lost = match job.lock_by {
            Holder::Nobody => false,
            Holder::Worker(worker) => state.silent[usize::from(worker)],
            Holder::Gone => true,
        };
        ensure(self.guards.silent_workers_lose_jobs && job.status == Status::Queued && is_lost)?;
        // nothing gives an attempt back for a process that is gone
        job.lost_by = if job.lock_by == Holder::Gone { Holder::Nobody } else { job.lock_by };
        job.lock_by = Holder::Nobody;
        job.status = Status::Pending;
        // the bounds cannot use up the attempts of a deletion
        if usize::from(id) != DELETION {
            job.attempts = (job.attempts + 1).min(MAX_ATTEMPTS);
            if job.attempts == MAX_ATTEMPTS && self.guards.lost_job_is_given_up {
                job.status = Status::Dead;
            }
        }
        self.update_job(state, id, job);
        Some(())
    }

    pub(super) fn keep_alive(state: &mut State, worker: u8) -> Option<()> {
        ensure(state.silent[usize::from(worker)])?;
        state.silent[usize::from(worker)] = false;
        for job in state.jobs.iter_mut().flatten() {
            if job.lost_by == Holder::Worker(worker) && job.status != Status::Dead {
                job.attempts = job.attempts.saturating_sub(1);
                job.lost_by = Holder::Nobody;
            }
        }
        Some(())
    }
}
