//! The marks of instances that are about to go: asked for all at once, told when all are answered. Pure.

use std::collections::BTreeSet;

use super::Action;
use crate::model::instance::State;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::state_change::{By, StateChange};
use crate::model::update::Revision;
use crate::model::watchers::Marks;

/// Who is being marked, and who is.
#[derive(Debug, Default)]
pub(super) struct Drain {
    asked: BTreeSet<Prefix>,
    marks: Marks,
}

impl Drain {
    /// Asks for the marks of those who stand on this lease, which is that of the process. A shared instance goes on
    /// elsewhere.
    pub(super) fn begin(
        ours: impl Iterator<Item = Prefix>,
        lease: Option<LeaseId>,
        out: &mut Vec<Action>,
    ) -> Self {
        let mut drain = Self::default();
        for (dir, lease) in ours.filter_map(|dir| Some((dir, lease?))) {
            drain.asked.insert(dir.clone());
            out.push(Action::Mark(StateChange {
                dir,
                state: Some(State::Drain.as_str().into()),
                by: By::Owner(lease),
            }));
        }
        drain.tell(out);
        drain
    }

    /// The store has answered.
    pub(super) fn marked(&mut self, dir: Prefix, since: Option<Revision>, out: &mut Vec<Action>) {
        if !self.asked.remove(&dir) {
            return;
        }
        self.marks.extend(since.map(|since| (dir, since)));
        self.tell(out);
    }

    fn tell(&mut self, out: &mut Vec<Action>) {
        if self.asked.is_empty() {
            out.push(Action::Drained(std::mem::take(&mut self.marks)));
        }
    }
}
