//! Whether a target believes what it loses: a clean stop at once, a loss by expiry up to a limit; what is more is held.
//! Pure.
//!
//! ```text
//!                  losses within the limit: rendered          the hold is over: rendered as lost
//!   Trusting ─────────────────────────────────────▶ Trusting ◀──────────────────────────────── Held until a time
//!      │                                               ▲                                         │  ▲ │
//!      ├── fewer than min_instances, or over max_drop ─┼─────────────────────────────────────────┘  │ │ none is
//!      │                                               │ all are back, or released by hand          │ │ left
//!      └── none is left, on_empty = hold ──────────────┴── Held until one returns ── one is back ───┘ │
//!                                                                     ▲───────────────────────────────┘
//! ```
//!
//! Each service of the target is judged on its own. An instance that goes while it drains, or in maintenance, has
//! stopped cleanly. An instance that goes while it is up is lost. Instances that are lost within one window have one cause as a
//! rule, which is seldom the death of all of them: so all are held, also those that were within the limit at first.
//!
//! If after a start a service is empty that the live file is known to show, what is known of it from before is held. Where
//! nothing is known, the file as a whole is left as it is: the target is frozen.

mod freeze;
mod inherit;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use self::freeze::Frozen;
use self::service::Service;
use crate::model::catalog;
use crate::model::guard::Rules;
use crate::model::instance::{Instance, InstanceId, ServiceName};

/// How many instances of each service a file shows.
pub(crate) type ShownCounts = BTreeMap<ServiceName, usize>;

/// What happens to a target.
#[derive(Debug)]
pub(crate) enum Input {
    /// The store has sent its whole contents for the first time: these instances are there.
    Started(Vec<Arc<Instance>>, BeforeStart),
    /// The store has sent its whole contents again: these instances are there.
    Reset(Vec<Arc<Instance>>),
    /// The changes of one update of the store.
    Changed(Vec<Change>),
    /// An operator releases what is held of this service, or of all services.
    Release(Option<ServiceName>),
    /// The live file is gone: without one, there is nothing to keep.
    NoFile,
    /// The deadline has passed.
    Tick,
}

/// What there was before the start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BeforeStart {
    /// No file that could be kept.
    NoFile,
    /// A file, what it shows if that is known, and the instances that are known of then.
    File(Option<ShownCounts>, Vec<Arc<Instance>>),
}

/// An instance that came, changed or went.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) service: ServiceName,
    pub(crate) id: InstanceId,
    /// How it is now, if it is there.
    pub(crate) now: Option<Arc<Instance>>,
}

/// A change of what is held, for the log and the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guard begins to hold these instances.
    Held {
        service: ServiceName,
        why: HoldReason,
        lost: Vec<InstanceId>,
        /// How many instances of the service are left.
        left: usize,
    },
    /// The guard no longer holds any instance of the service.
    Freed {
        service: ServiceName,
        end: EndReason,
        /// The instances that were held to the end.
        lost: Vec<InstanceId>,
    },
    /// The live file is left as it is, since these are empty; without any, since all are.
    Frozen(Vec<ServiceName>),
    /// The file follows the store again.
    Thawed(EndReason),
}

/// Which limit was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldReason {
    /// None is left.
    Empty,
    /// Fewer than `min_instances` are left.
    Few,
    /// More than `max_drop` was lost within `window`.
    Drop,
}

/// Why a hold has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The lost instances are back.
    Returned,
    /// The time of the hold is over.
    Over,
    /// An operator has released it.
    ByHand,
    /// The limits have changed.
    Rules,
    /// No target follows it any more.
    Unfollowed,
    /// There is no file any more that could be kept.
    NoFile,
}

/// What is held of a service, or, without one, the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) service: Option<ServiceName>,
    /// The limit that is exceeded now. None for a frozen file, and if so many are back that none is exceeded any more.
    pub(crate) why: Option<HoldReason>,
    pub(crate) since: Instant,
    /// Without one, only a return or a release ends it.
    pub(crate) until: Option<Instant>,
    pub(crate) lost: Vec<Arc<Instance>>,
    /// The services for which the file is frozen, if they are known.
    pub(crate) missing: Vec<ServiceName>,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Instances that vanished without draining.
    pub(crate) lost: u64,
    /// Holds and freezes that began.
    pub(crate) holds: u64,
    /// Instances that were held.
    pub(crate) held: u64,
    /// Holds and freezes that ended by hand.
    pub(crate) by_hand: u64,
}

/// The guard of one target.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(super) rules: Rules,
    pub(super) services: BTreeMap<ServiceName, Service>,
    pub(super) frozen: Option<Frozen>,
    pub(super) counters: Counters,
}

impl Guard {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            services: BTreeMap::new(),
            frozen: None,
            counters: Counters::default(),
        }
    }

    /// When [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let holds = self.services.values().filter_map(|one| one.hold?.until);
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.until);
        holds.chain(frozen).min()
    }

    /// The transition.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Event> {
        let mut out = Vec::new();
        let mut losing = BTreeSet::new();
        match input {
            Input::Started(here, before) => {
                self.apply_reset(now, &here);
                self.hold_or_freeze(now, before, &mut out);
            }
            Input::Reset(here) => losing = self.apply_reset(now, &here),
            Input::Changed(changes) => {
                losing = self.apply_changes(now, changes);
            }
            Input::Release(service) => self.release(service.as_ref(), &mut out),
            Input::NoFile => self.thaw_now(EndReason::NoFile, &mut out),
            Input::Tick => {}
        }
        for (name, service) in &mut self.services {
            let was_held = service.hold.is_some();
            let event = service.update_hold(now, &self.rules, losing.contains(name), name);
            if let Some(Event::Held { lost, .. }) = event.as_ref().filter(|_| !was_held) {
                self.counters.holds += 1;
                self.counters.held += lost.len() as u64;
            }
            out.extend(event);
        }
        self.thaw_if_due(now, &mut out);
        self.services
            .retain(|_, one| !one.here.is_empty() || !one.lost.is_empty());
        out
    }

    /// What is to be rendered although it is lost.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Arc<Instance>> {
        let holding = self.services.values().filter(|one| one.hold.is_some());
        holding.flat_map(|one| one.lost.values().map(|(instance, _)| instance))
    }

    /// Whether the live file is to be left as it is.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many instances of each service are to be rendered.
    pub(crate) fn shown(&self) -> ShownCounts {
        let count = |one: &Service| one.here.len() + one.hold.map_or(0, |_| one.lost.len());
        let services = self.services.iter();
        services
            .map(|(name, one)| (name.clone(), count(one)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Everything that is held.
    pub(crate) fn status(&self) -> Vec<Status> {
        let frozen = self.frozen.iter().map(|frozen| Status {
            service: None,
            why: None,
            since: frozen.since,
            until: frozen.until,
            lost: Vec::new(),
            missing: frozen.missing.keys().cloned().collect(),
        });
        let held = self.services.iter().filter_map(|(name, one)| {
            let hold = one.hold?;
            Some(Status {
                service: Some(name.clone()),
                why: one.exceeded_limit(&self.rules),
                since: hold.since,
                until: hold.until,
                lost: one.lost.values().map(|(one, _)| Arc::clone(one)).collect(),
                missing: Vec::new(),
            })
        });
        frozen.chain(held).collect()
    }

    /// The services that lost an instance.
    fn apply_changes(&mut self, now: Instant, changes: Vec<Change>) -> BTreeSet<ServiceName> {
        let mut losing = BTreeSet::new();
        for Change {
            service,
            id,
            now: instance,
        } in changes
        {
            let one = self.services.entry(service.clone()).or_default();
            let is_held = one.hold.is_some();
            if let Some(instance) = instance {
                one.lost.remove(&id);
                one.here.insert(id, instance);
            } else if one.remove(now, id) {
                self.counters.lost += 1;
                self.counters.held += u64::from(is_held);
                losing.insert(service);
            }
        }
        losing
    }

    /// A reset that lacks instances is the same as their removal.
    fn apply_reset(&mut self, now: Instant, here: &[Arc<Instance>]) -> BTreeSet<ServiceName> {
        if self.services.is_empty() {
            self.take_in_first(here);
            return BTreeSet::new();
        }
        let known: BTreeSet<(&ServiceName, &InstanceId)> =
            here.iter().map(|one| (&one.service, &one.id)).collect();
        let all = self.services.iter();
        let all = all.flat_map(|(name, one)| one.here.keys().map(move |id| (name, id)));
        let gone = all.filter(|place| !known.contains(place));
        let change = |service: &ServiceName, id: &InstanceId, now| Change {
            service: service.clone(),
            id: id.clone(),
            now,
        };
        let gone = gone.map(|(service, id)| change(service, id, None));
        let mut changes: Vec<Change> = gone.collect();
        let here = here.iter();
        changes.extend(here.map(|one| change(&one.service, &one.id, Some(Arc::clone(one)))));
        let losing = self.apply_changes(now, changes);
        let all = self.services.values_mut();
        all.for_each(|one| catalog::compact(&mut one.here));
        losing
    }

    /// Takes in a list while nothing is known, so that nothing is lost by it. It makes each map at once.
    fn take_in_first(&mut self, here: &[Arc<Instance>]) {
        for group in here.chunk_by(|one, next| one.service == next.service) {
            let Some(first) = group.first() else { continue };
            let service = self.services.entry(first.service.clone()).or_default();
            let instances = group.iter().map(|one| (one.id.clone(), Arc::clone(one)));
            service.here.append(&mut instances.collect());
        }
    }

    fn release(&mut self, service: Option<&ServiceName>, out: &mut Vec<Event>) {
        let before = out.len();
        match service {
            Some(name) => {
                let one = self.services.get_mut(name);
                let held = one.filter(|one| one.hold.is_some());
                out.extend(held.map(|one| one.end_hold(name, EndReason::ByHand)));
            }
            None => self.end_all(EndReason::ByHand, out),
        }
        self.counters.by_hand += (out.len() - before) as u64;
    }

    pub(super) fn thaw_now(&mut self, end: EndReason, out: &mut Vec<Event>) {
        let was_frozen = self.frozen.take().is_some();
        out.extend(was_frozen.then_some(Event::Thawed(end)));
    }

    pub(super) fn end_all(&mut self, end: EndReason, out: &mut Vec<Event>) {
        self.thaw_now(end, out);
        for (name, service) in &mut self.services {
            let held = service.hold.is_some();
            out.extend(held.then(|| service.end_hold(name, end)));
        }
    }
}
