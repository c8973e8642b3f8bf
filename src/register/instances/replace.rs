//! Replaces the set of instances while it runs: which come, which go, which change. Pure.

use std::time::Instant;

use super::{Action, Entry, Holder, InstanceSet, Member, Phase, SETTLE_WITHIN, Set};
use crate::model::lease;
use crate::model::prefix::Prefix;

impl InstanceSet {
    /// Replaces the set; new instances come before old ones go.
    pub(super) fn replace(&mut self, now: Instant, entries: Vec<Entry>, out: &mut Vec<Action>) {
        let dirs: Vec<Prefix> = entries.iter().map(|e| e.publication.dir.clone()).collect();
        for entry in entries {
            let dir = entry.publication.dir.clone();
            match self.members.get(&dir) {
                Some(member) if member.entry == entry => {}
                Some(_) => self.change(now, &dir, entry, out),
                None => {
                    self.members.insert(dir.clone(), Member::new(entry));
                    if self.phase == Phase::Running {
                        self.check_or_announce(now, &dir, out);
                    }
                }
            }
        }
        let is_gone = |dir: &&Prefix| !dirs.contains(*dir);
        let gone: Vec<Prefix> = self.members.keys().filter(is_gone).cloned().collect();
        for dir in gone {
            let Some(member) = self.members.remove(&dir) else {
                continue;
            };
            let unwant = lease::Input::Unwant(dir.clone());
            self.handle_lease(now, &member.holder(), unwant, out);
            self.leases.stop_sharing(&dir);
        }
        if matches!(self.set, Set::Awaited | Set::New(_) | Set::InForce) {
            self.set = Set::New(now + SETTLE_WITHIN);
        }
    }

    fn change(&mut self, now: Instant, dir: &Prefix, entry: Entry, out: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(dir) else {
            return;
        };
        if self.phase == Phase::New {
            *member = Member::new(entry);
            return;
        }
        let changed = member.change(entry);
        let (is_wanted, is_shared) = (member.is_wanted(), member.entry.shared.is_some());
        if changed.holder && is_shared {
            member.leaves_common = true;
            let unwant = lease::Input::Unwant(dir.clone());
            self.handle_lease(now, &Holder::Common, unwant, out);
        } else if changed.holder {
            // We stop renewing the shared lease; the keys on it stay until our own publication replaces them.
            member.leaves_common = false;
            self.leases.stop_sharing(dir);
        }
        if is_wanted && (changed.publication || changed.holder) {
            self.want(now, dir, out);
        }
        if changed.checks {
            let is_checked = self.members.get(dir).is_some_and(|m| m.health.is_some());
            if is_checked || !is_wanted {
                self.check_or_announce(now, dir, out);
            }
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
