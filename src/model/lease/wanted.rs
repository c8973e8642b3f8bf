//! What is to be published, on whichever lease. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Action;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Claim, Publication};
use crate::model::shared::Shared;
use crate::model::state_change::StateValue;

#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The publications by path. One that is no longer wanted stays here without fields until it is withdrawn.
    all: BTreeMap<Prefix, Publication>,
    /// The states that operators have set, as of the last heartbeat. In the store they end with the lease, and are meant for
    /// longer: the machine sets them again on another lease, and after a withdrawal.
    states: BTreeMap<Prefix, StateValue>,
}

impl Wanted {
    /// Wants a publication; it replaces what was wanted under the same path.
    pub(super) fn want(&mut self, mut publication: Publication) {
        let dir = publication.dir.clone();
        if !self.wants(&dir) {
            publication.state = self.states.get(&dir).cloned();
        }
        self.all.insert(dir, publication);
    }

    /// Wants nothing under this path any more; returns whether anything was wanted.
    pub(super) fn unwant(&mut self, dir: &Prefix) -> bool {
        match self.all.get_mut(dir) {
            Some(publication) if !publication.fields.is_empty() => {
                publication.fields = Shared::default();
                // Somebody else may have taken the place.
                publication.claim = Claim::Ours;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether anything is wanted under this path.
    pub(super) fn wants(&self, dir: &Prefix) -> bool {
        self.get(dir).is_some_and(|p| !p.fields.is_empty())
    }

    pub(super) fn get(&self, dir: &Prefix) -> Option<&Publication> {
        self.all.get(dir)
    }

    /// All publications, those to be withdrawn with them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Publication> {
        self.all.values()
    }

    /// Whether nothing is wanted; something may have to be withdrawn.
    pub(super) fn is_nothing(&self) -> bool {
        self.all.values().all(|p| p.fields.is_empty())
    }

    /// Whether there is nothing to withdraw either.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Forgets the publications that were to be withdrawn, since they are.
    pub(super) fn forget_gone(&mut self) {
        self.all.retain(|_, p| !p.fields.is_empty());
    }

    /// Prepares everything for a new lease; returns the paths to publish on it. On the leases before, `predecessors`, the
    /// publications may still be there.
    pub(super) fn move_to_new_lease(
        &mut self,
        predecessors: &BTreeSet<LeaseId>,
    ) -> BTreeSet<Prefix> {
        for publication in self.all.values_mut() {
            publication.claim = std::mem::take(&mut publication.claim).renewed();
            publication.state = self.states.get(&publication.dir).cloned();
            publication.predecessors.clone_from(predecessors);
        }
        self.all.keys().cloned().collect()
    }

    /// Notes that a publication has succeeded. With `is_fresh` it is what is still wanted, and the result reports that.
    pub(super) fn note_published(&mut self, dir: Prefix, is_fresh: bool) -> Option<Action> {
        let publication = self.all.get_mut(&dir)?;
        if publication.fields.is_empty() && is_fresh {
            self.all.remove(&dir);
            return Some(Action::Removed(dir));
        }
        publication.claim = std::mem::take(&mut publication.claim).published();
        // From here on the state in the store counts.
        publication.state = None;
        is_fresh.then_some(Action::Announced(dir))
    }

    /// Remembers the state that the store has under this path.
    pub(super) fn set_state(&mut self, dir: &Prefix, state: Option<StateValue>) {
        match state {
            Some(state) => self.states.insert(dir.clone(), state),
            None => self.states.remove(dir),
        };
    }

    /// Remembers a state, unless one is remembered already.
    pub(super) fn set_first_state(&mut self, dir: &Prefix, state: StateValue) {
        let states = self.states.entry(dir.clone());
        states.or_insert(state);
    }
}
