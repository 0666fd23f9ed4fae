//! Every order of the actions within the bounds, and what goes wrong without each guard.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use models::{Actor, Bounds, Guards, State, Thumbnails};
use stateright::{Checker, HasDiscoveries, Model};

/// All that may happen, with one fault.
const TWO_HEIGHTS: Bounds =
    Bounds { heights: 2, waiting: false, deletion: true, faults: 1, retries: 1 };
/// Two faults around jobs that take each other's thumbnails along.
const TWO_FAULTS: Bounds = Bounds { deletion: false, faults: 2, ..TWO_HEIGHTS };
/// Two faults, a deletion and requests that wait.
const ONE_HEIGHT: Bounds = Bounds { heights: 1, waiting: true, faults: 2, ..TWO_HEIGHTS };
const NO_FAULT: Bounds = Bounds { faults: 0, retries: 0, ..TWO_HEIGHTS };

/// Explores everything; the number of states, in which workers and runs are interchangeable.
#[track_caller]
fn explore(name: &str, bounds: Bounds, states: usize) {
    let start = Instant::now();
    let checker = Thumbnails::new(Guards::ALL, bounds).checker();
    let checker = checker.symmetry_fn(State::representative).spawn_dfs().join();
    let (found, seconds) = (checker.unique_state_count(), start.elapsed().as_secs_f32());
    println!("{name}: {found} states, {} steps, {seconds:.1} s", checker.state_count());
    checker.assert_properties();
    assert_eq!(found, states, "the model or its bounds changed: say so here and in {DOCS}");
    let docs = fs::read_to_string(DOCS).expect("the architecture");
    let states = with_commas(states);
    assert!(docs.contains(&states), "{DOCS} does not say that there are {states} states");
}

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/architecture.md");

fn with_commas(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", with_commas(number / 1000), number % 1000),
    }
}

#[test]
fn nothing_goes_wrong_with_two_heights_and_a_fault() {
    explore("two heights, a fault, a retry, the deletion", TWO_HEIGHTS, 854_294);
}

#[test]
fn nothing_goes_wrong_with_two_heights_and_two_faults() {
    explore("two heights, two faults, a retry", TWO_FAULTS, 5_317_989);
}

#[test]
fn nothing_goes_wrong_with_two_faults_and_requests_that_wait() {
    explore("a height, two faults, a retry, the deletion, requests", ONE_HEIGHT, 2_148_715);
}

/// Without this, "at rest" would say nothing of a system that goes round in circles.
#[test]
fn the_system_always_comes_to_rest() {
    let bounds = Bounds { retries: 0, ..TWO_HEIGHTS };
    let mut search = Rest {
        model: Thumbnails::new(Guards::ALL, bounds),
        hasher: RandomState::new(),
        steps: HashMap::new(),
    };
    let mut reached = HashSet::new();
    let mut open: Vec<State> = search.model.init_states();
    let mut longest = 0;
    while let Some(state) = open.pop() {
        let state = state.representative();
        if reached.insert(search.hasher.hash_one(state)) {
            longest = longest.max(search.steps_to_rest(&state));
            open.extend(search.model.next_states(&state));
        }
    }
    println!("{} states, each at rest after at most {longest} steps", reached.len());
}

struct Rest {
    model: Thumbnails,
    hasher: RandomState,
    /// By the hash of a state; `None` while they are counted.
    steps: HashMap<u64, Option<u32>>,
}

impl Rest {
    /// The longest way of the system's own steps from a state.
    fn steps_to_rest(&mut self, state: &State) -> u32 {
        let state = state.representative();
        let key = self.hasher.hash_one(state);
        if let Some(known) = self.steps.get(&key) {
            return known
                .unwrap_or_else(|| panic!("the system goes round in circles at {state:?}"));
        }
        self.steps.insert(key, None);
        let next = self.model.next_steps(&state).into_iter();
        let own = next.filter(|(action, _)| action.actor() == Actor::System);
        let steps = own.map(|(_, next)| 1 + self.steps_to_rest(&next)).max().unwrap_or(0);
        self.steps.insert(key, Some(steps));
        steps
    }
}

/// The shortest way to break the property without a guard.
#[track_caller]
fn expect_broken(guard: &str, guards: Guards, bounds: Bounds, property: &'static str) {
    let checker = Thumbnails::new(guards, bounds).checker();
    let checker =
        checker.finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property]))).spawn_bfs().join();
    let broken = checker.discovery(property);
    let states = checker.unique_state_count();
    let broken =
        broken.unwrap_or_else(|| panic!("in {states} states, {property}: {guard} guards nothing"));
    println!("Without {guard} it is not so that {property}. {broken}");
}

/// A test for each guard: without it, the search finds a way to break this property.
macro_rules! needed {
    ($($guard:ident: $bounds:ident, $property:literal;)*) => {
        mod without {
            use super::*;

            $(#[test]
            fn $guard() {
                let guards = Guards { $guard: false, ..Guards::ALL };
                expect_broken(stringify!($guard), guards, $bounds, $property);
            })*
        }

        #[test]
        fn every_guard_has_a_test() {
            // without one of them this would not compile
            let _ = Guards { $($guard: true),* };
            let docs = fs::read_to_string(DOCS).expect("the architecture");
            for (guard, property) in [$((stringify!($guard), $property)),*] {
                let is_row = |line: &str| line.contains(&format!("`{guard}`")) && line.contains(property);
                assert!(docs.lines().any(is_row), "{DOCS} has no row for {guard}: {property}");
            }
        }
    };
}

needed! {
    attempt_in_key: ONE_HEIGHT, "no object is written over another";
    attempt_in_update: ONE_HEIGHT, "a ready row has its object";
    object_before_row: NO_FAULT, "a ready row has its object";
    own_object_deleted: ONE_HEIGHT, "only crashes and failures leave objects to the cleanup";
    image_locked_first: NO_FAULT, "no two transactions wait for each other";
    claim_needs_job: ONE_HEIGHT, "at rest no row is pending";
    take_along_locks: NO_FAULT, "only workers that were silent lose claims";
    request_needs_absent: NO_FAULT, "only workers that were silent lose claims";
    job_with_row: ONE_HEIGHT, "a pending row has a job that will make it";
    row_needs_image: NO_FAULT, "a deleted image has no row";
    objects_job_with_deletion: ONE_HEIGHT, "at rest a deleted image has no object";
    deletion_locks_rows: NO_FAULT, "only crashes and failures leave objects to the cleanup";
    deletion_names_every_attempt: ONE_HEIGHT, "only crashes and failures leave objects to the cleanup";
    done_means_nothing_pending: ONE_HEIGHT, "a pending row has a job that will make it";
    dead_job_fails_rows: ONE_HEIGHT, "a pending row has a job that will make it";
    lost_job_is_given_up: ONE_HEIGHT, "no job is tried more often than it may be";
    failed_job_returns: ONE_HEIGHT, "at rest no row is pending";
    silent_workers_lose_jobs: ONE_HEIGHT, "at rest no row is pending";
    workers_poll: ONE_HEIGHT, "at rest no row is pending";
    waiting_rechecks: ONE_HEIGHT, "at rest no request waits for a thumbnail that has ended";
    cleanup_deletes_orphans: ONE_HEIGHT, "at rest a deleted image has no object";
    orphan_seen_twice: ONE_HEIGHT, "a ready row has its object";
}
