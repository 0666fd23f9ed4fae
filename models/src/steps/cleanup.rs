//! The search for orphans, one object at a time.

use super::ensure;
use crate::{Cleanup, State, Thumbnails};

impl Thumbnails {
    pub(super) fn sight_orphan(&self, state: &mut State, height: u8, attempt: u8) -> Option<()> {
        ensure(self.guards.cleanup_deletes_orphans && state.cleanup == Cleanup::Idle)?;
        ensure(self.is_orphan(state, height, attempt))?;
        state.cleanup = if self.guards.orphan_seen_twice {
            Cleanup::Sighted(height, attempt)
        } else {
            Cleanup::SeenTwice(height, attempt)
        };
        Some(())
    }

    fn is_orphan(&self, state: &State, height: u8, attempt: u8) -> bool {
        let (height, object) = (usize::from(height), self.key(attempt));
        state.objects[height] & object != 0 && !self.is_named(state, height, object)
    }

    /// Two sightings are at least an hour apart, and no run takes so long: one that was under way at
    /// the first has ended.
    pub(super) fn look_again(&self, state: &mut State) -> Option<()> {
        let Cleanup::Sighted(height, attempt) = state.cleanup else { return None };
        if !self.is_orphan(state, height, attempt) {
            state.cleanup = Cleanup::Idle;
            return Some(());
        }
        ensure(!state.has_run(|run| run.claims[usize::from(height)] == attempt))?;
        state.cleanup = Cleanup::SeenTwice(height, attempt);
        Some(())
    }

    pub(super) fn delete_orphan(&self, state: &mut State) -> Option<()> {
        let Cleanup::SeenTwice(height, attempt) = state.cleanup else { return None };
        state.cleanup = Cleanup::Idle;
        state.objects[usize::from(height)] &= !self.key(attempt);
        Some(())
    }
}
