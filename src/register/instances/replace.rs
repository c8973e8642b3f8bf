//! Replaces the set of instances while it runs: which come, which go, which change. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::member::Changed;
use super::{Action, Entry, Holder, InstanceSet, Member, Phase, SETTLE_WITHIN, Set};
use crate::model::lease;
use crate::model::prefix::Prefix;

/// What is different about an instance of the new set.
enum Different {
    New,
    Changed(Changed),
}

impl InstanceSet {
    /// Replaces the set; new instances come before old ones go.
    ///
    /// The members are those of the new set before any lease is told: what a lease reports meanwhile may publish an instance
    /// anew, which must not be one that is about to go, or to change.
    pub(super) fn replace(&mut self, now: Instant, entries: Vec<Entry>, out: &mut Vec<Action>) {
        let gone = self.take_members_other_than(&entries);
        let different: Vec<(Prefix, Different)> = entries
            .into_iter()
            .filter_map(|entry| Some((entry.publication.dir.clone(), self.take_over(entry)?)))
            .collect();
        for (dir, different) in different {
            match different {
                Different::New if self.phase == Phase::Running => {
                    self.check_or_announce(now, &dir, out);
                }
                Different::New => {}
                Different::Changed(changed) => self.act_on_change(now, &dir, &changed, out),
            }
        }
        for (dir, member) in gone {
            let unwant = lease::Input::Unwant(dir.clone());
            self.handle_lease(now, &member.holder(), unwant, out);
            self.leases.stop_sharing(&dir);
        }
        if matches!(self.set, Set::Awaited | Set::New(_) | Set::InForce) {
            self.set = Set::New(now + SETTLE_WITHIN);
        }
    }

    /// Takes out the members that the new set does not have.
    fn take_members_other_than(&mut self, entries: &[Entry]) -> BTreeMap<Prefix, Member> {
        let stay: BTreeSet<&Prefix> = entries.iter().map(|e| &e.publication.dir).collect();
        let old = std::mem::take(&mut self.members).into_iter();
        let (members, gone) = old.partition(|(dir, _)| stay.contains(dir));
        self.members = members;
        gone
    }

    /// Makes a member of this entry; tells what is different about it.
    fn take_over(&mut self, entry: Entry) -> Option<Different> {
        let dir = &entry.publication.dir;
        match self.members.get_mut(dir) {
            Some(member) if member.entry == entry => None,
            Some(member) if self.phase != Phase::New => {
                let changed = member.change(entry);
                // A withdrawal from the common lease that still goes on matters only while the instance is shared.
                let is_shared = member.entry.shared.is_some();
                member.leaves_common = is_shared && (changed.holder || member.leaves_common);
                Some(Different::Changed(changed))
            }
            Some(_) | None => {
                self.members.insert(dir.clone(), Member::new(entry));
                Some(Different::New)
            }
        }
    }

    fn act_on_change(
        &mut self,
        now: Instant,
        dir: &Prefix,
        changed: &Changed,
        out: &mut Vec<Action>,
    ) {
        let Some(member) = self.members.get(dir) else {
            return;
        };
        let (is_wanted, is_shared) = (member.is_wanted(), member.entry.shared.is_some());
        let is_checked = member.health.is_some();
        if changed.holder && is_shared {
            let unwant = lease::Input::Unwant(dir.clone());
            self.handle_lease(now, &Holder::Common, unwant, out);
        } else if changed.holder {
            // We stop renewing the shared lease; the keys on it stay until our own publication replaces them.
            self.leases.stop_sharing(dir);
        }
        if is_wanted && (changed.publication || changed.holder) {
            self.want(now, dir, out);
        }
        if changed.checks && (is_checked || !is_wanted) {
            self.check_or_announce(now, dir, out);
        }
    }

    /// Publishes an instance that has become shared anew, since its withdrawal from the common lease may have removed keys
    /// of the shared one.
    pub(super) fn has_left(&mut self, now: Instant, dir: &Prefix, out: &mut Vec<Action>) {
        if let Some(member) = self.members.get_mut(dir)
            && std::mem::take(&mut member.leaves_common)
            && member.is_wanted()
            && self.phase == Phase::Running
        {
            let want = lease::Input::Want(member.entry.publication.clone());
            let holder = member.holder();
            self.handle_lease(now, &holder, want, out);
        }
    }
}
