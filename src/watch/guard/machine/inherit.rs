//! What a guard takes over from the previous one, when the configuration changes: all that the new one still follows. Pure.

use std::time::Instant;

use super::service::Service;
use super::{EndReason, Event, Guard};
use crate::model::instance::{Instance, ServiceName};

impl Guard {
    /// Takes over what `other` knows and holds of these instances.
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

    /// The counters go on where others stopped.
    pub(in crate::watch) fn continue_counters(&mut self, other: &Self) {
        self.counters = other.counters;
    }

    /// Begins to work by its limits: what they would not hold is let go by its time, or at once if nothing is guarded.
    /// `follows`: whether anything of a service is followed still.
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
            out.extend(self.handle(now, crate::watch::guard::machine::Input::Tick));
        }
        out
    }

    /// What is held of services that `goes_on` does not know is given up: nobody follows them any more.
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

    /// Whether something of a service is held.
    pub(in crate::watch) fn holds(&self, service: &ServiceName) -> bool {
        let one = self.services.get(service);
        one.is_some_and(|one| one.hold.is_some())
    }
}

impl Service {
    /// Two previous guards have known it; the longer hold counts.
    fn merge(&mut self, other: Self) {
        self.here.extend(other.here);
        self.lost.extend(other.lost);
        self.lost.retain(|id, _| !self.here.contains_key(id));
        let holds = [self.hold, other.hold].into_iter().flatten();
        let longest = holds.max_by_key(|hold| (hold.until.is_none(), hold.until));
        self.hold = longest.filter(|_| !self.lost.is_empty());
    }
}
