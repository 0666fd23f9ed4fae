//! What each action does; `None` if it is not possible.

mod api;
mod cleanup;
mod faults;
mod queue;
mod worker;

use crate::{
    Action, Actor, DELETION, Deletion, HEIGHTS, Holder, Phase, Row, RowState, State, Status,
    Thumbnails, Waiter,
};

/// Whether a step is possible, to be used with `?`.
fn ensure(condition: bool) -> Option<()> {
    condition.then_some(())
}

impl Thumbnails {
    pub(crate) fn step(&self, before: &State, action: Action) -> Option<State> {
        let mut state = *before;
        match action {
            Action::InsertMissing(height) => self.insert_missing(&mut state, height),
            Action::Request(height) => self.request(&mut state, height),
            Action::RequestFailed(height) => self.request_failed(&mut state, height),
            Action::RetryJob(job) => self.retry_job(&mut state, job),
            Action::LockImage => Self::lock_image(&mut state),
            Action::InsertJob(job) => Self::insert_unsent(&mut state, job),
            Action::ReadAttempts => self.read_attempts(&mut state),
            Action::DeleteImage => self.delete_image(&mut state),
            Action::WaitFor(api) => Self::wait_for(&mut state, api),
            Action::Hear(api) => Self::hear(&mut state, api),
            Action::Look(api) => self.look(&mut state, api),
            Action::GetJobs { worker, job } => self.get_jobs(&mut state, worker, job),
            Action::ReadOthers { run } => self.read_others(&mut state, run),
            Action::Claim { run } => self.claim(&mut state, run),
            Action::Put { run } => self.put(&mut state, run),
            Action::SetPlaceholder { run } => self.set_placeholder(&mut state, run),
            Action::MarkReady { run } => self.mark_ready(&mut state, run),
            Action::DeleteOwnObject { run } => self.delete_own_object(&mut state, run),
            Action::MarkFailed { run } => self.mark_failed(&mut state, run),
            Action::DeleteObjects { run } => Self::delete_objects(&mut state, run),
            Action::Acknowledge { run } => self.acknowledge(&mut state, run),
            Action::ReturnDueJob(job) => self.return_due_job(&mut state, job),
            Action::ReenqueueOrphaned(job) => self.reenqueue_orphaned(&mut state, job),
            Action::KeepAlive(worker) => Self::keep_alive(&mut state, worker),
            Action::SightOrphan { height, attempt } => {
                self.sight_orphan(&mut state, height, attempt)
            }
            Action::LookAgain => self.look_again(&mut state),
            Action::DeleteOrphan => self.delete_orphan(&mut state),
            Action::CrashWorker(worker) => Self::crash_worker(&mut state, worker),
            Action::CrashApis => Self::crash_apis(&mut state),
            Action::MissHeartbeats(worker) => Self::miss_heartbeats(&mut state, worker),
            Action::Fail { run, outcome } => Self::fail(&mut state, run, outcome),
            Action::LoseEnd(api) => Self::lose_end(&mut state, api),
            Action::LoseNewJob => self.lose_new_job(&mut state),
        }?;
        if action.actor() == Actor::Fault {
            state.faults = state.faults.checked_sub(1)?;
        }
        notify_ends(before, &mut state);
        forget_ended_jobs(&mut state);
        Some(state)
    }

    /// Whether nothing happens any longer unless somebody asks for it or something goes wrong.
    pub fn is_at_rest(&self, state: &State) -> bool {
        let mut system = self.actions.iter().filter(|action| action.actor() == Actor::System);
        !system.any(|action| self.step(state, *action).is_some())
    }

    /// The bit of an object in a set of them.
    pub(crate) fn key(&self, attempt: u8) -> u8 {
        if self.guards.attempt_in_key { 1 << attempt } else { 1 }
    }

    /// Whether the deletion holds the locks of the thumbnails.
    fn deletion_holds_rows(&self, state: &State) -> bool {
        self.guards.deletion_locks_rows && matches!(state.deletion, Deletion::Read(_))
    }

    /// `integrity::without_row`, the other way round.
    pub(crate) fn is_named(&self, state: &State, height: usize, object: u8) -> bool {
        state.rows[height].is_some_and(|row| {
            matches!(row.state, RowState::Ready | RowState::Pending)
                && self.key(row.attempt) == object
        })
    }
}

impl State {
    /// Whether the deletion's transaction holds the lock of the image.
    pub(crate) fn deletion_holds_image(&self) -> bool {
        matches!(self.deletion, Deletion::ImageLocked | Deletion::Read(_))
    }

    fn has_run(&self, matches: impl Fn(&crate::Run) -> bool) -> bool {
        self.runs.iter().flatten().any(matches)
    }

    /// Whether a worker's transaction has updated a thumbnail and is not committed.
    fn is_row_locked(&self) -> bool {
        self.has_run(|run| run.phase == Phase::RowLocked)
    }

    fn fail_rows_of(&mut self, job: u8) {
        for row in self.rows.iter_mut().flatten() {
            if row.state == RowState::Pending && row.job == job {
                row.state = RowState::Failed;
            }
        }
    }
}

/// The triggers `thumbnails_finished` and `thumbnails_deleted`.
fn notify_ends(before: &State, after: &mut State) {
    let is_pending = |row: Option<Row>| row.is_some_and(|row| row.state == RowState::Pending);
    if is_pending(before.rows[0]) && !is_pending(after.rows[0]) {
        for waiter in &mut after.waiters {
            if let Waiter::Waiting { notified } = waiter {
                *notified = true;
            }
        }
    }
}

/// Makes states equal that differ in jobs which nobody looks at any longer.
fn forget_ended_jobs(state: &mut State) {
    for job in 0..state.jobs.len() {
        let is_running = state.has_run(|run| usize::from(run.job) == job);
        if let Some(ended) = &mut state.jobs[job]
            && matches!(ended.status, Status::Done | Status::Dead)
            && !is_running
        {
            ended.lock_by = Holder::Nobody;
            ended.lost_by = Holder::Nobody;
            ended.attempts = 0;
        }
    }
    let is_deleted = state.jobs[DELETION].is_some_and(|job| job.status == Status::Done);
    if is_deleted && let Deletion::Committed(_) = state.deletion {
        state.deletion = Deletion::Committed([0; HEIGHTS]);
    }
}
