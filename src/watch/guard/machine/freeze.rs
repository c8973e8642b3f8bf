//! What a guard does at a start about services that are empty: holds the instances that are known from before, or
//! freezes the file. Pure.

use std::sync::Arc;
use std::time::Instant;

use super::{BeforeStart, EndReason, Event, Guard, HoldReason, ShownCounts};
use crate::model::guard::OnEmpty;
use crate::model::instance::{Instance, ServiceName, State};

/// A freeze: the live file is left as it is.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) since: Instant,
    /// The services that were empty at the start, and how many instances the file shows of each. If that is not known,
    /// the list is empty, and the first instance of any service ends the freeze.
    pub(crate) missing: ShownCounts,
    /// When the freeze ends; `None` while one of the services is still empty.
    pub(crate) until: Option<Instant>,
}

impl Guard {
    /// How many instances of a service are there.
    fn count_here(&self, service: &ServiceName) -> usize {
        self.services.get(service).map_or(0, |one| one.here.len())
    }

    /// At a start: holds what is known of services that are empty now and that the live file shows; freezes the file
    /// for services of which nothing is known.
    pub(crate) fn hold_or_freeze(
        &mut self,
        now: Instant,
        before: BeforeStart,
        out: &mut Vec<Event>,
    ) {
        let BeforeStart::File(shown, last) = before else {
            return;
        };
        if self.rules.on_empty == OnEmpty::Render {
            return;
        }
        let is_known = shown.is_some();
        let mut missing = shown.unwrap_or_default();
        missing.retain(|service, count| *count > 0 && self.count_here(service) == 0);
        let all_empty = self.services.values().all(|one| one.here.is_empty());
        if missing.is_empty() && (is_known || !all_empty) {
            return;
        }
        missing.retain(|service, _| !self.hold_last_known(now, service, &last, out));
        if missing.is_empty() && is_known {
            return;
        }
        self.counters.holds += 1;
        out.push(Event::Frozen(missing.keys().cloned().collect()));
        self.frozen = Some(Frozen {
            since: now,
            missing,
            until: None,
        });
    }

    /// Holds the known instances of a service as if they had been lost just now; returns whether any were known. Those
    /// that drained by then have stopped, and are not held.
    fn hold_last_known(
        &mut self,
        now: Instant,
        name: &ServiceName,
        last: &[Arc<Instance>],
        out: &mut Vec<Event>,
    ) -> bool {
        let mut last = last.iter().filter(|one| one.service == *name).peekable();
        let is_known = last.peek().is_some();
        let service = self.services.entry(name.clone()).or_default();
        let was_up = last.filter(|one| one.state == State::Up);
        service
            .lost
            .extend(was_up.map(|one| (one.id.clone(), (Arc::clone(one), now))));
        if !service.lost.is_empty() {
            self.counters.lost += service.lost.len() as u64;
            self.counters.holds += 1;
            self.counters.held += service.lost.len() as u64;
            out.push(service.begin_hold(now, HoldReason::Empty, &self.rules, name));
        }
        is_known
    }

    /// Ends a freeze if its services are back or its time is over.
    pub(crate) fn thaw_if_due(&mut self, now: Instant, out: &mut Vec<Event>) {
        let Some(frozen) = &self.frozen else { return };
        let (rules, missing) = (&self.rules, &frozen.missing);
        let any = self.services.values().any(|one| !one.here.is_empty());
        let returned = any && missing.keys().all(|service| self.count_here(service) > 0);
        let enough = missing.iter().all(|(service, shown)| {
            let here = self.count_here(service);
            let gone = shown.saturating_sub(here);
            here >= rules.min_instances && !rules.max_drop.is_exceeded_by(gone, *shown)
        });
        // Once no service is empty any more, the instances that are still missing have the time of a hold to return.
        let until = returned.then(|| frozen.until.unwrap_or(now + rules.hold));
        let end = if rules.on_empty == OnEmpty::Render {
            Some(EndReason::Rules)
        } else if returned && enough {
            Some(EndReason::Returned)
        } else {
            until.filter(|at| now >= *at).map(|_| EndReason::Over)
        };
        match (end, &mut self.frozen) {
            (Some(end), _) => {
                self.frozen = None;
                out.push(Event::Thawed(end));
            }
            (None, Some(frozen)) => frozen.until = until,
            (None, None) => {}
        }
    }
}
