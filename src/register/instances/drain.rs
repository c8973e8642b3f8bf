//! Marks the instances that are about to go: asks for all marks at once, and reports when all are answered. Pure.

use std::collections::BTreeSet;

use super::Action;
use crate::model::instance::State;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::state_change::{By, StateChange, StateValue};
use crate::model::update::Revision;
use crate::model::watcher_entry::Marks;

/// Which instances are being marked, and which are marked.
#[derive(Debug, Default)]
pub(super) struct Drain {
    asked: BTreeSet<Prefix>,
    marks: Marks,
}

impl Drain {
    /// Asks for the marks of the instances on this lease, the process's own; other processes go on with shared ones.
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
                state: Some(StateValue::new(State::Drain.as_str())),
                by: By::Owner(lease),
            }));
        }
        drain.report_if_all_answered(out);
        drain
    }

    /// Takes in the store's answer to one mark.
    pub(super) fn marked(&mut self, dir: Prefix, since: Option<Revision>, out: &mut Vec<Action>) {
        if !self.asked.remove(&dir) {
            return;
        }
        self.marks.extend(since.map(|since| (dir, since)));
        self.report_if_all_answered(out);
    }

    fn report_if_all_answered(&mut self, out: &mut Vec<Action>) {
        if self.asked.is_empty() {
            out.push(Action::Drained(std::mem::take(&mut self.marks)));
        }
    }
}
