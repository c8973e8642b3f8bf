//! What a guard does about the time before its start: holds what was there, or leaves the file as it is. Pure.

use std::sync::Arc;
use std::time::Instant;

use super::{BeforeStart, EndReason, Event, Guard, HoldReason, ShownCounts};
use crate::model::guard::OnEmpty;
use crate::model::instance::{Instance, ServiceName, State};

/// The live file is left as it is.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) since: Instant,
    /// The services that were empty, and what the file shows of them; without any, one that returns is enough.
    pub(crate) missing: ShownCounts,
    pub(crate) until: Option<Instant>,
}

impl Guard {
    fn count_here(&self, service: &ServiceName) -> usize {
        self.services.get(service).map_or(0, |one| one.here.len())
    }

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

    /// Holds what was there of a service as if it had been lost just now; whether something was known of it. If all of
    /// that was drained, it has stopped since.
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
        // Once none of them is empty, the others can return, too; they get the time of a hold to follow.
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
