//! Which containers can serve: lists, events and inspections become a set. Pure; the states are in [`super`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Event, Listed, What};
use crate::model::backoff::{Backoff, Dice};
use crate::model::container::{Container, ContainerId, Status};
use crate::model::os::Signal;

/// How often the engine is asked for a list although nothing is wrong.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a list may take.
const LIST_WITHIN: Duration = Duration::from_secs(10);
/// How long an inspection may take.
const INSPECT_WITHIN: Duration = Duration::from_secs(5);
/// The pause before an inspection that failed is tried again.
const INSPECT_AGAIN: Duration = Duration::from_secs(1);
/// As many inspections are under way at once.
const AT_ONCE: usize = 8;
/// The pauses between two tries to reach the engine.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What happens.
#[derive(Debug)]
pub(super) enum Input {
    /// The answer to [`Action::List`].
    Listed(u64, Result<List, String>),
    /// An event of the stream.
    Event(Event),
    /// The stream of [`Action::Open`] has ended, or did not begin.
    Ended(u64, String),
    /// The answer to [`Action::Inspect`]; there is no such container if it is `None`.
    Inspected(ContainerId, u64, Result<Option<Container>, String>),
    /// The deadline has passed.
    Tick,
}

/// The containers that run and have labels for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    /// When the engine wrote the list, in seconds since 1970.
    pub(super) date: u64,
    pub(super) containers: Vec<Listed>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask for the list.
    List(u64),
    /// Open the stream of events since this time, in seconds since 1970; it takes the place of another one.
    Open(u64, u64),
    /// Close the stream.
    Close,
    /// Inspect a container.
    Inspect(ContainerId, u64),
    /// These can serve now.
    Show(Vec<Arc<Container>>),
    /// Report that the engine answers.
    Connected,
    /// Report that it does not, and why: once in an outage.
    Lost(String),
    /// Report that it has not answered for the grace, so that nobody counts as up any more.
    GaveUp,
}

/// The machine; see the module's diagram.
#[derive(Debug)]
pub(super) struct Machine {
    grace: Duration,
    link: Link,
    /// When the engine ceased to answer; `None` while it answers, and before it did so for the first time.
    lost_at: Option<Instant>,
    /// Whether the outage is reported.
    is_told: bool,
    known: BTreeMap<ContainerId, Known>,
    /// The set that was shown last.
    shown: Option<Vec<Arc<Container>>>,
    /// The number of the last order.
    orders: u64,
    backoff: Backoff,
    dice: Dice,
}

#[derive(Debug)]
enum Link {
    Down { retry_at: Instant },
    Listing { order: u64, until: Instant },
    Up { stream: u64, look: Look },
}

/// A look at the list while the stream is open.
#[derive(Debug)]
enum Look {
    At(Instant),
    Out { order: u64, until: Instant },
}

/// A container that runs, or may run.
#[derive(Debug)]
struct Known {
    /// What the last inspection has shown.
    facts: Option<Arc<Container>>,
    inspection: Inspection,
    /// Whether an inspection was tried.
    is_tried: bool,
    validity: Validity,
    /// When it was asked to stop, in nanoseconds since 1970.
    asked_to_stop: Option<u64>,
}

#[derive(Debug)]
enum Inspection {
    NotNeeded,
    Wanted(Instant),
    Out {
        order: u64,
        until: Instant,
        /// Whether something has happened since it was ordered: its answer may be too old.
        is_old: bool,
    },
}

/// Whether the facts of the last inspection still hold.
#[derive(Debug, PartialEq, Eq)]
enum Validity {
    Valid,
    /// An event says that the container cannot serve any more; an inspection is to show it.
    Questioned,
    /// That inspection has failed, so the event decides: the container cannot serve.
    Refuted,
}

impl Known {
    fn new() -> Self {
        Self {
            facts: None,
            inspection: Inspection::NotNeeded,
            is_tried: false,
            validity: Validity::Valid,
            asked_to_stop: None,
        }
    }

    fn want(&mut self, now: Instant) {
        match &mut self.inspection {
            Inspection::Out { is_old, .. } => *is_old = true,
            inspection => *inspection = Inspection::Wanted(now),
        }
    }

    fn failed(&mut self, now: Instant) {
        self.is_tried = true;
        self.inspection = Inspection::Wanted(now + INSPECT_AGAIN);
        if self.validity == Validity::Questioned {
            self.validity = Validity::Refuted;
        }
    }

    /// The container, if it can serve.
    fn up(&self) -> Option<&Arc<Container>> {
        let facts = self.facts.as_ref()?;
        let is_stopping = self.asked_to_stop.is_some_and(|at| at >= facts.started_at);
        let is_up =
            facts.status == Status::Up && self.validity != Validity::Refuted && !is_stopping;
        is_up.then_some(facts)
    }

    fn deadline(&self) -> Option<Instant> {
        match self.inspection {
            Inspection::NotNeeded => None,
            Inspection::Wanted(at) => Some(at),
            Inspection::Out { until, .. } => Some(until),
        }
    }
}

impl Machine {
    /// A machine that asks at once. After `grace` without the engine, nobody counts as up. `seed` decides the jitter.
    pub(super) fn new(now: Instant, grace: Duration, seed: u64) -> Self {
        Self {
            grace,
            link: Link::Down { retry_at: now },
            lost_at: None,
            is_told: false,
            known: BTreeMap::new(),
            shown: None,
            orders: 0,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            dice: Dice::new(seed),
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Instant {
        let link = match &self.link {
            Link::Down { retry_at: at } | Link::Listing { until: at, .. } => *at,
            Link::Up { look, .. } => match look {
                Look::At(at) | Look::Out { until: at, .. } => *at,
            },
        };
        // With as many inspections under way as may be, the next one waits for an answer; each answer has a deadline.
        let (is_up, is_full) = (self.is_up(), self.out() >= AT_ONCE);
        let counts = |known: &&Known| match known.inspection {
            Inspection::NotNeeded => false,
            Inspection::Wanted(_) => is_up && !is_full,
            Inspection::Out { .. } => true,
        };
        let inspections = self.known.values().filter(counts);
        let inspections = inspections.filter_map(Known::deadline);
        let grace = self.lost_at.map(|at| at + self.grace);
        inspections.chain(grace).chain([link]).min().unwrap_or(link)
    }

    fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    fn out(&self) -> usize {
        let is_out = |known: &&Known| matches!(known.inspection, Inspection::Out { .. });
        self.known.values().filter(is_out).count()
    }

    fn order(&mut self) -> u64 {
        self.orders += 1;
        self.orders
    }

    /// The transition.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Listed(order, answer) => self.listed(now, order, answer, &mut out),
            Input::Event(event) => self.event(now, event),
            Input::Ended(stream, why) => {
                if matches!(self.link, Link::Up { stream: open, .. } if open == stream) {
                    self.lost(now, why, &mut out);
                }
            }
            Input::Inspected(id, order, answer) => self.inspected(now, &id, order, answer),
            Input::Tick => self.tick(now, &mut out),
        }
        self.inspect(now, &mut out);
        self.show(&mut out);
        out
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        let late = |limit: Duration| format!("it has not answered for {} s", limit.as_secs());
        match &self.link {
            Link::Down { retry_at } if now >= *retry_at => {
                let order = self.order();
                let until = now + LIST_WITHIN;
                self.link = Link::Listing { order, until };
                out.push(Action::List(order));
            }
            Link::Up {
                stream,
                look: Look::At(at),
            } if now >= *at => {
                let stream = *stream;
                let order = self.order();
                let until = now + LIST_WITHIN;
                let look = Look::Out { order, until };
                self.link = Link::Up { stream, look };
                out.push(Action::List(order));
            }
            Link::Listing { until, .. }
            | Link::Up {
                look: Look::Out { until, .. },
                ..
            } if now >= *until => self.lost(now, late(LIST_WITHIN), out),
            Link::Down { .. } | Link::Listing { .. } | Link::Up { .. } => {}
        }
        for known in self.known.values_mut() {
            if matches!(known.inspection, Inspection::Out { until, .. } if now >= until) {
                known.failed(now);
            }
        }
        if self.lost_at.is_some_and(|at| now >= at + self.grace) {
            self.lost_at = None;
            // No container is known any more, so answers that are still under way are ignored.
            self.known.clear();
            out.push(Action::GaveUp);
        }
    }

    fn listed(
        &mut self,
        now: Instant,
        order: u64,
        answer: Result<List, String>,
        out: &mut Vec<Action>,
    ) {
        let (stream, is_first) = match &self.link {
            Link::Listing { order: asked, .. } if *asked == order => (None, true),
            Link::Up {
                stream,
                look: Look::Out { order: asked, .. },
            } if *asked == order => (Some(*stream), false),
            // A late answer to an order that was given up.
            Link::Down { .. } | Link::Listing { .. } | Link::Up { .. } => return,
        };
        let list = match answer {
            Ok(list) => list,
            Err(why) => return self.lost(now, why, out),
        };
        self.compare(now, &list.containers, is_first);
        let stream = stream.unwrap_or_else(|| {
            let stream = self.order();
            // The date has no fraction, and an event that comes twice does no harm.
            out.push(Action::Open(stream, list.date.saturating_sub(1)));
            stream
        });
        let look = Look::At(now + LOOK_EVERY);
        self.link = Link::Up { stream, look };
        if is_first {
            self.lost_at = None;
            self.is_told = false;
            out.push(Action::Connected);
        } else {
            // A stream that is still open at the first look at the list works.
            self.backoff.succeeded();
        }
    }

    /// Orders an inspection of each container that is not in the list as it is known. After an outage, of all: addresses may
    /// be others.
    fn compare(&mut self, now: Instant, list: &[Listed], is_first: bool) {
        for listed in list {
            let known = self
                .known
                .entry(listed.id.clone())
                .or_insert_with(Known::new);
            let facts = known.facts.as_ref();
            if is_first || facts.is_none_or(|facts| facts.status != listed.status) {
                known.want(now);
            }
        }
        let there: BTreeSet<&ContainerId> = list.iter().map(|listed| &listed.id).collect();
        for (id, known) in &mut self.known {
            if !there.contains(id) {
                known.want(now);
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        if !self.is_up() {
            return;
        }
        let known = if event.has_labels && matches!(event.what, What::Came) {
            self.known.entry(event.id).or_insert_with(Known::new)
        } else if let Some(known) = self.known.get_mut(&event.id) {
            known
        } else {
            return;
        };
        match event.what {
            What::Came => {}
            What::Went => known.validity = Validity::Questioned,
            What::Killed(signal) => {
                let facts = known.facts.as_ref();
                let asks = |stop: Signal| signal == Signal::KILL || signal == stop;
                let asks = facts.is_some_and(|facts| asks(facts.stop_signal));
                if asks {
                    known.asked_to_stop = Some(event.time);
                }
            }
        }
        known.want(now);
    }

    fn inspected(
        &mut self,
        now: Instant,
        id: &ContainerId,
        order: u64,
        answer: Result<Option<Container>, String>,
    ) {
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        let is_old = match known.inspection {
            Inspection::Out {
                order: asked,
                is_old,
                ..
            } if asked == order => is_old,
            _ => return,
        };
        match answer {
            Err(_) => known.failed(now),
            Ok(_) if is_old => known.inspection = Inspection::Wanted(now),
            // An event would report its start.
            Ok(container) if container.as_ref().is_none_or(is_stopped) => {
                self.known.remove(id);
            }
            Ok(container) => {
                known.facts = container.map(Arc::new);
                known.inspection = Inspection::NotNeeded;
                known.is_tried = true;
                known.validity = Validity::Valid;
            }
        }
    }

    /// The connection to the engine has failed.
    fn lost(&mut self, now: Instant, why: String, out: &mut Vec<Action>) {
        if self.is_up() {
            self.lost_at = Some(now);
            out.push(Action::Close);
        }
        let delay = self.backoff.failed(self.dice.chance());
        self.link = Link::Down {
            retry_at: now + delay,
        };
        if !self.is_told {
            self.is_told = true;
            out.push(Action::Lost(why));
        }
    }

    fn inspect(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.is_up() {
            return;
        }
        let mut room = AT_ONCE.saturating_sub(self.out());
        for (id, known) in &mut self.known {
            if room == 0 {
                return;
            }
            if matches!(known.inspection, Inspection::Wanted(at) if now >= at) {
                room -= 1;
                self.orders += 1;
                let order = self.orders;
                known.inspection = Inspection::Out {
                    order,
                    until: now + INSPECT_WITHIN,
                    is_old: false,
                };
                out.push(Action::Inspect(id.clone(), order));
            }
        }
    }

    /// Shows the set if it is another one. The first set is shown when all of it has been inspected.
    fn show(&mut self, out: &mut Vec<Action>) {
        if self.shown.is_none() {
            let is_whole = self.known.values().all(|known| known.is_tried);
            if !self.is_up() || !is_whole {
                return;
            }
        }
        let up: Vec<Arc<Container>> = self
            .known
            .values()
            .filter_map(Known::up)
            .map(Arc::clone)
            .collect();
        if self.shown.as_ref() != Some(&up) {
            self.shown = Some(up.clone());
            out.push(Action::Show(up));
        }
    }
}

fn is_stopped(container: &Container) -> bool {
    container.status == Status::Stopped
}

#[cfg(test)]
mod tests;
