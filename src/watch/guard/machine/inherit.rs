//! What a guard takes over from the guards of the previous configuration: all that they know and hold of what it still
//! follows. Pure.

use std::time::Instant;

use super::service::Service;
use super::{EndReason, Event, Guard, Input};
use crate::model::instance::{Instance, ServiceName};

impl Guard {
    /// Takes over what `other` knows and holds of the instances for which `follows` is true.
    pub(in crate::watch) fn inherit(&mut self, other: &Self, follows: impl Fn(&Instance) -> bool) {
        let takes = |one: &Instance| self.rules.admits(one.ip) && follows(one);
        for (name, theirs) in &other.services {
            let mut theirs = theirs.clone();
            theirs.here.retain(|_, one| takes(one));
            theirs.lost.retain(|_, (one, _)| takes(one));
            if !theirs.here.is_empty() || !theirs.lost.is_empty() {
                let own = self.services.entry(name.clone()).or_default();
                own.merge(theirs);
            }
        }
        if self.frozen.is_none() {
            self.frozen.clone_from(&other.frozen);
        }
    }

    /// Takes over the counters of `other`.
    pub(in crate::watch) fn continue_counters(&mut self, other: &Self) {
        self.counters = other.counters;
    }

    /// Begins to apply its own limits to what it has taken over: a hold ends when its time is over, and at once if
    /// these limits guard nothing. `follows`: whether the target follows anything of a service.
    pub(in crate::watch) fn start_with_inherited(
        &mut self,
        now: Instant,
        follows: impl Fn(&ServiceName) -> bool,
    ) -> Vec<Event> {
        let mut out = Vec::new();
        let waits = self.frozen.as_mut().is_some_and(|frozen| {
            let was_known = !frozen.missing.is_empty();
            frozen.missing.retain(|service, _| follows(service));
            !was_known || !frozen.missing.is_empty()
        });
        if !waits {
            self.thaw_now(EndReason::Rules, &mut out);
        }
        if self.rules.is_none() {
            self.end_all(EndReason::Rules, &mut out);
        } else {
            out.extend(self.handle(now, Input::Tick));
        }
        out
    }

    /// Ends the holds of services for which `goes_on` is false: no guard of the new configuration holds them.
    pub(in crate::watch) fn end_unfollowed(
        &mut self,
        goes_on: impl Fn(&ServiceName) -> bool,
    ) -> Vec<Event> {
        let mut out = Vec::new();
        for (name, service) in &mut self.services {
            if service.hold.is_some() && !goes_on(name) {
                out.push(service.end_hold(name, EndReason::Unfollowed));
            }
        }
        out
    }

    /// Whether instances of a service are held.
    pub(in crate::watch) fn holds(&self, service: &ServiceName) -> bool {
        let one = self.services.get(service);
        one.is_some_and(|one| one.hold.is_some())
    }
}

impl Service {
    /// Merges what another guard knows of the same service; of two holds the longer one counts.
    fn merge(&mut self, other: Self) {
        self.here.extend(other.here);
        self.lost.extend(other.lost);
        self.lost.retain(|id, _| !self.here.contains_key(id));
        let holds = [self.hold, other.hold].into_iter().flatten();
        let longest = holds.max_by_key(|hold| (hold.until.is_none(), hold.until));
        self.hold = longest.filter(|_| !self.lost.is_empty());
    }
}
