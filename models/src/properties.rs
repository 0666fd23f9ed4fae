//! What always holds.

use stateright::Property;

use crate::{
    ATTEMPTS, Cleanup, DELETION, Deletion, HEIGHTS, Job, MAX_ATTEMPTS, Phase, RowState, State,
    Status, Thumbnails, Waiter,
};

type Condition = fn(&Thumbnails, &State) -> bool;

/// What is so in every state that can be reached.
const ALL: [(&str, Condition); 11] = [
    ("a ready row has its object", ready_rows_have_objects),
    ("no object is written over another", |_, state| !state.overwritten),
    ("a pending row has a job that will make it", pending_rows_have_jobs),
    ("at rest no row is pending", |model, state| {
        !has_row(state, RowState::Pending) || !model.is_at_rest(state)
    }),
    ("at rest no request waits for a thumbnail that has ended", |model, state| {
        !waits_in_vain(state) || !model.is_at_rest(state)
    }),
    ("a deleted image has no row", |_, state| state.image || state.rows == [None; HEIGHTS]),
    ("at rest a deleted image has no object", |model, state| {
        let has_objects = state.original || state.objects != [0; HEIGHTS];
        state.image || !has_objects || !model.is_at_rest(state)
    }),
    ("only crashes and failures leave objects to the cleanup", |model, state| {
        state.litter || has_no_litter(model, state)
    }),
    ("only workers that were silent lose claims", |model, state| {
        state.silenced || claims_hold(model, state)
    }),
    ("no job is tried more often than it may be", |_, state| {
        let mut jobs = state.jobs[..DELETION].iter().flatten();
        jobs.all(|job| job.status != Status::Queued || job.attempts < MAX_ATTEMPTS)
    }),
    ("no two transactions wait for each other", |_, state| {
        !state.deletion_holds_image() || !waits_for_image(state)
    }),
];

/// What the search has to reach, so that it does not prove the above of next to nothing.
const REACHED: [(&str, Condition); 5] = [
    ("a job takes the other thumbnail along", |model, state| {
        model.bounds.heights < HEIGHTS
            || state.runs.iter().flatten().any(|run| run.claims.iter().all(|claim| *claim > 0))
    }),
    ("a claim is lost", |_, state| {
        state.runs.iter().flatten().any(|run| run.phase == Phase::ClaimLost)
    }),
    ("the cleanup finds an orphan", |_, state| matches!(state.cleanup, Cleanup::SeenTwice(..))),
    ("a job is given up", |model, state| {
        let mut jobs = state.jobs.iter().flatten();
        model.bounds.faults < MAX_ATTEMPTS || jobs.any(|job| job.status == Status::Dead)
    }),
    ("a request that waits is answered", |model, state| {
        !model.bounds.waiting || state.waiters.contains(&Waiter::Answered)
    }),
];

pub(crate) fn all() -> Vec<Property<Thumbnails>> {
    let always = ALL.map(|(name, condition)| Property::always(name, condition));
    let reached = REACHED.map(|(name, condition)| Property::sometimes(name, condition));
    always.into_iter().chain(reached).collect()
}

fn has_row(state: &State, wanted: RowState) -> bool {
    state.rows.iter().flatten().any(|row| row.state == wanted)
}

fn ready_rows_have_objects(model: &Thumbnails, state: &State) -> bool {
    state.rows.iter().zip(state.objects).all(|(row, objects)| match row {
        Some(row) if row.state == RowState::Ready => objects & model.key(row.attempt) != 0,
        _ => true,
    })
}

fn is_open(job: Job) -> bool {
    matches!(job.status, Status::Pending | Status::Queued | Status::Failed)
}

fn pending_rows_have_jobs(_: &Thumbnails, state: &State) -> bool {
    let has_job = |job: usize| state.unsent[job] || state.jobs[job].is_some_and(is_open);
    let mut rows = state.rows.iter().flatten();
    rows.all(|row| row.state != RowState::Pending || has_job(usize::from(row.job)))
}

fn waits_in_vain(state: &State) -> bool {
    let is_pending = state.rows[0].is_some_and(|row| row.state == RowState::Pending);
    let mut waiters = state.waiters.iter();
    !is_pending && waiters.any(|waiter| matches!(waiter, Waiter::Waiting { .. }))
}

/// Whether a row, a run, or the deletion's job names each object.
fn has_no_litter(model: &Thumbnails, state: &State) -> bool {
    let deletion = match state.deletion {
        Deletion::Committed(names) if state.jobs[DELETION].is_none_or(is_open) => names,
        _ => [0; HEIGHTS],
    };
    (0..HEIGHTS).all(|height| {
        let claims = state.runs.iter().flatten().map(|run| run.claims[height]);
        let claimed = claims.filter(|claim| *claim > 0).map(|claim| model.key(claim));
        let known = claimed.fold(deletion[height], |known, key| known | key);
        let mut objects = (0..ATTEMPTS).map(|attempt| 1 << attempt);
        objects.all(|object| {
            state.objects[height] & object & !known == 0 || model.is_named(state, height, object)
        })
    })
}

fn claims_hold(model: &Thumbnails, state: &State) -> bool {
    state.runs.iter().flatten().all(|run| {
        (0..HEIGHTS).all(|height| {
            let is_made = run.claims[height] > 0 && run.phase != Phase::RowReady;
            !is_made || state.rows[height].is_none() || model.is_claimed(state, run, height)
        })
    })
}

/// Without `image_locked_first`: whether a worker that has locked a thumbnail needs the image.
fn waits_for_image(state: &State) -> bool {
    let mut runs = state.runs.iter().flatten();
    state.image && !state.placeholder && runs.any(|run| run.phase == Phase::RowLocked)
}
