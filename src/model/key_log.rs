//! What has changed of late in a tree of keys, so that what was made of an earlier state can be made anew in part. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::key::Key;

/// More changes than that are forgotten, the oldest first.
const MOST: usize = 1_024;

/// A state of a tree, with the changes that have led to it. Which state it is, is where these lie and not what they are: two
/// copies of a tree that change in different ways have no state in common from there on.
#[derive(Debug, Clone, Default)]
pub struct State(Arc<Vec<KeyChange>>);

impl State {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub key: Key,
    /// Whether it was added or deleted, and not only given another value.
    pub comes_or_goes: bool,
}

/// The last states of a tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    before: VecDeque<State>,
    now: State,
    /// How many changes have led to all of these.
    changes: usize,
}

impl Log {
    pub(super) fn state(&self) -> State {
        self.now.clone()
    }

    /// Takes note of changes, if there are any.
    pub(super) fn add(&mut self, mut changes: Vec<KeyChange>) {
        if changes.len() > MOST {
            return self.forget();
        }
        if changes.is_empty() {
            return;
        }
        self.changes += changes.len();
        changes.shrink_to_fit();
        let now = State(Arc::new(changes));
        self.before.push_back(std::mem::replace(&mut self.now, now));
        while self.changes > MOST {
            let oldest = self.before.pop_front().unwrap_or_default();
            self.changes -= oldest.0.len();
        }
    }

    /// Takes note that everything may have changed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The changes since a state, if they are known.
    pub(super) fn since<'t>(
        &'t self,
        state: &State,
    ) -> Option<impl Iterator<Item = &'t KeyChange> + use<'t>> {
        let is_now = self.now.is(state);
        // Those who ask mostly know one of the last states.
        let known = self.before.iter().rposition(|before| before.is(state));
        let first = known.map(|known| known + 1);
        let first = if is_now { self.before.len() } else { first? };
        let now = (!is_now).then_some(&self.now);
        let states = self.before.range(first..).chain(now);
        Some(states.flat_map(|state| state.0.iter()))
    }
}
