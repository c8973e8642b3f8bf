//! What is to stand in the store, whatever lease it hangs on. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Action;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Claim, Publication};

#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// What is not wanted any more stands here without fields until it is taken back.
    all: BTreeMap<Prefix, Publication>,
    /// The states that others have set, as of the last heartbeat. They die with the lease, and are meant for longer: on
    /// another lease, and after a withdrawal, they are put again.
    states: BTreeMap<Prefix, Vec<u8>>,
}

impl Wanted {
    /// It replaces what was wanted under the same path.
    pub(super) fn want(&mut self, mut publication: Publication) {
        let dir = publication.dir.clone();
        if !self.has(&dir) {
            publication.state = self.states.get(&dir).cloned();
        }
        self.all.insert(dir, publication);
    }

    /// Nothing is to stand under this path any more; the answer is whether anything was.
    pub(super) fn unwant(&mut self, dir: &Prefix) -> bool {
        match self.all.get_mut(dir) {
            Some(publication) if !publication.fields.is_empty() => {
                publication.fields.clear();
                // Somebody else may have taken the place.
                publication.claim = Claim::Ours;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether anything is to stand under this path.
    pub(super) fn has(&self, dir: &Prefix) -> bool {
        self.get(dir).is_some_and(|p| !p.fields.is_empty())
    }

    pub(super) fn get(&self, dir: &Prefix) -> Option<&Publication> {
        self.all.get(dir)
    }

    /// What is to stand, and what is to be taken back.
    pub(super) fn all(&self) -> impl Iterator<Item = &Publication> {
        self.all.values()
    }

    /// Whether nothing is to stand anywhere; something may have to be taken back.
    pub(super) fn is_nothing(&self) -> bool {
        self.all.values().all(|p| p.fields.is_empty())
    }

    /// Whether there is nothing to take back either.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// What was to be taken back is.
    pub(super) fn forget_gone(&mut self) {
        self.all.retain(|_, p| !p.fields.is_empty());
    }

    /// There is a new lease; all of these are to be published on it.
    /// On those of before, `predecessors`, they may still stand.
    pub(super) fn renew(&mut self, predecessors: &BTreeSet<LeaseId>) -> BTreeSet<Prefix> {
        for publication in self.all.values_mut() {
            publication.claim = std::mem::take(&mut publication.claim).renewed();
            publication.state = self.states.get(&publication.dir).cloned();
            publication.predecessors.clone_from(predecessors);
        }
        self.all.keys().cloned().collect()
    }

    /// What was published under this path stands. It is what is wanted by now if `is_fresh`, and that is said.
    pub(super) fn stands(&mut self, dir: Prefix, is_fresh: bool) -> Option<Action> {
        let publication = self.all.get_mut(&dir)?;
        if publication.fields.is_empty() && is_fresh {
            self.all.remove(&dir);
            return Some(Action::Removed(dir));
        }
        publication.claim = std::mem::take(&mut publication.claim).published();
        // From here on it is changed by those who set it.
        publication.state = None;
        is_fresh.then_some(Action::Announced(dir))
    }

    /// What stands under this path is in this state.
    pub(super) fn is_in_state(&mut self, dir: &Prefix, state: Option<Vec<u8>>) {
        match state {
            Some(state) => self.states.insert(dir.clone(), state),
            None => self.states.remove(dir),
        };
    }

    /// The same, unless it had one before.
    pub(super) fn is_first_in_state(&mut self, dir: &Prefix, state: &[u8]) {
        let states = self.states.entry(dir.clone());
        states.or_insert_with(|| state.to_vec());
    }
}
