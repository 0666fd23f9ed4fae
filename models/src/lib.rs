//! The life of an image's thumbnails as a state machine, for an exhaustive search.
//!
//! Each [`Action`] is one transaction of the database or one operation on the object store, named
//! after the function or the SQL that it stands for. The checker tries every order of them, with
//! every fault between any two. [`Guards`] are what the code does so that nothing goes wrong; the
//! tests remove one after the other and expect the fault that follows.
//!
//! It models one image with two heights, two workers that run at most two jobs together, requests
//! and deletions of any number of API processes (each is one transaction, so they need no identity),
//! and two API processes with a request that waits.

mod action;
mod properties;
mod steps;

pub use action::{Action, Actor};
use stateright::{Model, Property};

/// Heights of thumbnails.
pub const HEIGHTS: usize = 2;
/// Workers that live at a time. One that crashes is replaced by a new process.
pub const WORKERS: usize = 2;
/// Jobs that run at a time, of both workers together.
pub const RUNS: usize = 2;
/// Processes of the API with a request that waits for the first thumbnail.
pub const APIS: usize = 2;
/// `GenerateThumbnail::MAX_ATTEMPTS`, which is 5 there.
pub const MAX_ATTEMPTS: u8 = 2;
/// The job that deletes the image's objects. The first jobs are those of first requests, one for
/// each height; the one between is of a request after a failure.
pub const DELETION: usize = HEIGHTS + 1;
/// The job of a second request.
pub const SECOND: usize = HEIGHTS;
const JOBS: usize = DELETION + 1;
/// Claims of one thumbnail that the bounds can reach, and one more.
const ATTEMPTS: u8 = 8;

/// What keeps thumbnails right. All hold in the code.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a guard that a test removes alone")]
pub struct Guards {
    /// `StorageKey::thumbnail`: the number of the claim is part of the object's key.
    pub attempt_in_key: bool,
    /// `claims::mark_ready`, `mark_failed`: `WHERE attempt = $2`.
    pub attempt_in_update: bool,
    /// `generate_thumbnail::keep`: the object is written before the row becomes ready.
    pub object_before_row: bool,
    /// `generate_thumbnail::keep`: a worker deletes its object if its claim was lost.
    pub own_object_deleted: bool,
    /// `generate_thumbnail::keep`: `set_placeholder` locks the image before `mark_ready` the row.
    pub image_locked_first: bool,
    /// `claims::claim`: `WHERE lock_by = $2 AND status IN ('Queued', 'Running') FOR UPDATE`.
    pub claim_needs_job: bool,
    /// `claims::claim`: `FOR UPDATE OF other, waiting SKIP LOCKED`.
    pub take_along_locks: bool,
    /// `thumbnails::request`: `WHERE state = 'absent'`.
    pub request_needs_absent: bool,
    /// `services::thumbnails::request`: the row becomes pending in the transaction of its job.
    pub job_with_row: bool,
    /// `thumbnails::insert_missing`: `FOR KEY SHARE` of the image, and the foreign key.
    pub row_needs_image: bool,
    /// `images::delete_locked`: the job that deletes the objects is in the deletion's transaction.
    pub objects_job_with_deletion: bool,
    /// `images::delete_locked`: the thumbnails are locked before their attempts are read.
    pub deletion_locks_rows: bool,
    /// `images::delete_locked`: `Attempt::up_to_this`.
    pub deletion_names_every_attempt: bool,
    /// The trigger `jobs_early_end`: a job is not done while a thumbnail is pending for it.
    pub done_means_nothing_pending: bool,
    /// The trigger `jobs_dead`: a job that is given up fails its thumbnails.
    pub dead_job_fails_rows: bool,
    /// `guard_job`: a job whose worker was lost in its last attempt is given up.
    pub lost_job_is_given_up: bool,
    /// `return_due_job`: a job that failed is due again.
    pub failed_job_returns: bool,
    /// `reenqueue_orphaned.sql` of apalis: jobs of a silent worker go to others.
    pub silent_workers_lose_jobs: bool,
    /// `PollSchedule`: workers look for jobs every two seconds even if nothing notifies them.
    pub workers_poll: bool,
    /// `thumbnail_events::Teller`: thumbnails that requests wait for are read every second.
    pub waiting_rechecks: bool,
    /// `orphans::delete_orphans`: the cleanup deletes objects of thumbnails that no row names.
    pub cleanup_deletes_orphans: bool,
    /// `orphans::delete_seen_twice`: only after two sightings further apart than a job runs.
    pub orphan_seen_twice: bool,
}

impl Guards {
    /// As the code has them.
    pub const ALL: Self = Self {
        attempt_in_key: true,
        attempt_in_update: true,
        object_before_row: true,
        own_object_deleted: true,
        image_locked_first: true,
        claim_needs_job: true,
        take_along_locks: true,
        request_needs_absent: true,
        job_with_row: true,
        row_needs_image: true,
        objects_job_with_deletion: true,
        deletion_locks_rows: true,
        deletion_names_every_attempt: true,
        done_means_nothing_pending: true,
        dead_job_fails_rows: true,
        lost_job_is_given_up: true,
        failed_job_returns: true,
        silent_workers_lose_jobs: true,
        workers_poll: true,
        waiting_rechecks: true,
        cleanup_deletes_orphans: true,
        orphan_seen_twice: true,
    };
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Heights that can be requested, at most [`HEIGHTS`].
    pub heights: usize,
    /// Whether requests wait for the first thumbnail.
    pub waiting: bool,
    /// Whether the image may be deleted.
    pub deletion: bool,
    /// Faults, of any kinds.
    pub faults: u8,
    /// Requests for a failed thumbnail and retries of a dead job.
    pub retries: u8,
}

/// The model: what is explored, and with which guards.
#[derive(Clone, Debug)]
pub struct Thumbnails {
    guards: Guards,
    bounds: Bounds,
    actions: Vec<Action>,
}

impl Thumbnails {
    /// A model with these guards, as far as the bounds go.
    pub fn new(guards: Guards, bounds: Bounds) -> Self {
        Self { guards, bounds, actions: Action::all(&bounds) }
    }
}

/// `thumbnails.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowState {
    Absent,
    Pending,
    Ready,
    Failed,
}

/// A row of `thumbnails`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub state: RowState,
    /// `job_id`, if it was ever requested.
    pub job: u8,
    /// `attempt`: how often it was claimed.
    pub attempt: u8,
}

/// `apalis.jobs.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Pending,
    /// Also `Running`: apalis does not tell us, as `lock_tasks` is off.
    Queued,
    /// To be tried again.
    Failed,
    Done,
    /// `Killed`, or failed in its last attempt.
    Dead,
}

/// `lock_by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    Nobody,
    Worker(u8),
    /// A process that crashed. Its name is never used again.
    Gone,
}

/// A row of `apalis.jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    pub status: Status,
    pub lock_by: Holder,
    pub attempts: u8,
    pub lost_by: Holder,
}

/// How far a run is with its thumbnail of the lowest height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The worker has the job and no claim.
    Fetched,
    /// Without `take_along_locks`: which other thumbnails it is about to take along.
    OthersRead([bool; HEIGHTS]),
    /// It has its claims, and decodes.
    Making,
    /// The object is written.
    Written,
    /// `set_placeholder` was called; whether its transaction locks the image.
    InTransaction { locks_image: bool },
    /// Without `image_locked_first`: the row is locked and updated, and nothing is committed.
    RowLocked,
    /// Without `object_before_row`: the row is ready.
    RowReady,
    /// The claim was lost, and its object is still there.
    ClaimLost,
    /// Not acknowledged yet.
    Ended(Outcome),
}

/// What a run acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Done,
    /// Costs an attempt.
    Failed,
    /// `transient: …` costs none.
    Transient,
}

/// A worker's run of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    pub worker: u8,
    pub job: u8,
    pub phase: Phase,
    /// `Claim::attempt` of each thumbnail that it still makes; 0: none.
    pub claims: [u8; HEIGHTS],
}

/// How far the deletion of the image is. The sets are attempts of each thumbnail, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deletion {
    None,
    /// `images::lock` holds the image.
    ImageLocked,
    /// The transaction has read the attempts.
    Read([u8; HEIGHTS]),
    /// The rows are gone; the objects that its job names.
    Committed([u8; HEIGHTS]),
}

/// How far the cleanup is with an orphan: its height and attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cleanup {
    Idle,
    /// In `orphans`.
    Sighted(u8, u8),
    /// Unnamed once more, and about to be deleted.
    SeenTwice(u8, u8),
}

/// A request that waits for the first thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiter {
    None,
    /// Whether a notification is on its way.
    Waiting {
        notified: bool,
    },
    Answered,
}

/// Everything at one moment: the database, the object store and the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "they are unrelated facts")]
pub struct State {
    /// The row of the image.
    pub image: bool,
    /// Whether `images.placeholder` is set.
    pub placeholder: bool,
    /// Whether the original can be decoded.
    pub decodable: bool,
    pub rows: [Option<Row>; HEIGHTS],
    pub jobs: [Option<Job>; JOBS],
    /// The object of the original.
    pub original: bool,
    /// The objects of each thumbnail, by attempts as bits.
    pub objects: [u8; HEIGHTS],
    pub deletion: Deletion,
    pub runs: [Option<Run>; RUNS],
    /// Workers that miss their heartbeats.
    pub silent: [bool; WORKERS],
    pub cleanup: Cleanup,
    pub waiters: [Waiter; APIS],
    /// Jobs that an API process is about to insert, without `job_with_row` or
    /// `objects_job_with_deletion`.
    pub unsent: [bool; JOBS],
    /// Whether the workers were told of the last job. Followed only without `workers_poll`, as
    /// workers may look at any time with it.
    pub workers_told: bool,
    /// Faults that may still happen.
    pub faults: u8,
    /// Retries that somebody may still ask for.
    pub retries: u8,
    /// Whether a worker was ever silent.
    pub silenced: bool,
    /// Whether an object was ever written over another.
    pub overwritten: bool,
    /// Whether a crash or a failure may have left an object since the image was deleted, or at all.
    pub litter: bool,
}

impl Model for Thumbnails {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let absent = Row { state: RowState::Absent, job: 0, attempt: 0 };
        let mut rows = [None; HEIGHTS];
        rows[0] = Some(absent);
        let uploaded = State {
            image: true,
            placeholder: false,
            decodable: true,
            rows,
            jobs: [None; JOBS],
            original: true,
            objects: [0; HEIGHTS],
            deletion: Deletion::None,
            runs: [None; RUNS],
            silent: [false; WORKERS],
            cleanup: Cleanup::Idle,
            waiters: [Waiter::None; APIS],
            unsent: [false; JOBS],
            workers_told: false,
            faults: self.bounds.faults,
            retries: self.bounds.retries,
            silenced: false,
            overwritten: false,
            litter: false,
        };
        vec![uploaded, State { decodable: false, ..uploaded }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend_from_slice(&self.actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.step(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl State {
    /// The same state for every way to number the workers, the runs and the API processes.
    #[must_use]
    pub fn representative(&self) -> Self {
        let mut same = *self;
        same.runs.sort_unstable();
        same.waiters.sort_unstable();
        let mut swapped = same;
        swapped.silent.reverse();
        for run in swapped.runs.iter_mut().flatten() {
            run.worker = other(run.worker);
        }
        for job in swapped.jobs.iter_mut().flatten() {
            job.lock_by = job.lock_by.swapped();
            job.lost_by = job.lost_by.swapped();
        }
        swapped.runs.sort_unstable();
        same.min(swapped)
    }
}

/// The other of the two workers.
fn other(worker: u8) -> u8 {
    1 - worker
}

impl Holder {
    fn swapped(self) -> Self {
        match self {
            Self::Worker(worker) => Self::Worker(other(worker)),
            nobody => nobody,
        }
    }
}
