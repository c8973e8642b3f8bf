//! The instances of one process: who is fit to be announced, what is wanted from which lease, who stands. Pure.
//!
//! ```text
//!             no checks, or they pass                 they fail
//!   Unknown ──────────────────────────▶ Wanted ──────────────────────▶ Unfit
//!      │                                   ▲          they pass           │ ▲
//!      │ they fail                         └──────────────────────────────┘ │
//!      └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! All instances hang on one lease, except those with a shared id: each of these has a lease of its own, which other
//! processes keep alive too. A config reload or a changed address replaces the set while it runs. The machine leaves alone
//! an instance that stays the same. It publishes one that has changed anew on its lease, so that the instance is never
//! absent, and keeps its health if its checks are the same. Only an instance that becomes shared, or is not shared any
//! more, may be absent for a moment: it moves to another lease.

mod drain;
mod event;
mod leases;
mod member;
mod replace;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::drain::Drain;
pub(super) use self::event::{Action, Holder, Input, ProbeRound};
use self::leases::Leases;
pub(super) use self::member::Entry;
use self::member::{Member, Stage};
use super::health;
use crate::model::instance::State;
use crate::model::lease;
use crate::model::prefix::Prefix;
use crate::model::state_change::StateValue;

/// A new set counts as settled after this long even if not all of it is published: a store that is down is no fault of the
/// set.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// The machine; see the module's diagram.
#[derive(Debug)]
pub(super) struct InstanceSet {
    members: BTreeMap<Prefix, Member>,
    leases: Leases,
    /// The instances that are published, and on which lease.
    standing: BTreeMap<Prefix, Holder>,
    /// The number of the last round of checks.
    rounds: u64,
    phase: Phase,
    drain: Drain,
    set: Set,
    /// Whether further instances may come, so that one whose place is taken is not all there is.
    expects_more: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// The published instances are being marked.
    Draining,
    Stopped,
    Withdrawn,
}

/// Whether the set of instances is in force.
#[derive(Debug)]
enum Set {
    /// The first set is still to come.
    Awaited,
    /// The first set is in force when one of its instances is published and the others are settled.
    First,
    /// A set that replaced another one is in force at this time at the latest.
    New(Instant),
    InForce,
}

impl InstanceSet {
    /// The set of these instances; `seed` decides the jitter of the leases.
    pub(super) fn new(entries: Vec<Entry>, ttl: Duration, seed: u64) -> Self {
        let member = |entry: Entry| (entry.publication.dir.clone(), Member::new(entry));
        Self {
            members: entries.into_iter().map(member).collect(),
            leases: Leases::new(ttl, seed),
            standing: BTreeMap::new(),
            rounds: 0,
            phase: Phase::New,
            drain: Drain::default(),
            set: Set::First,
            expects_more: false,
        }
    }

    /// Lets the first set be one that replaces this one; it may be empty.
    pub(super) fn expect_more(&mut self) {
        self.expects_more = true;
        self.set = Set::Awaited;
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match (self.phase, &self.set) {
            (Phase::New | Phase::Withdrawn, _) => return None,
            (Phase::Running, Set::New(until)) => Some(*until),
            (Phase::Running, Set::Awaited | Set::First | Set::InForce) => None,
            (Phase::Draining | Phase::Stopped, _) => None,
        };
        let checks = self.members.values().filter_map(Member::deadline);
        let checks = checks.filter(|_| self.phase == Phase::Running);
        let leases = self.leases.deadline().into_iter();
        leases.chain(checks).chain(own).min()
    }

    /// When what stands in the store begins to disappear unless it is renewed.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.leases.expires()
    }

    /// The transition.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        match (self.phase, input) {
            (Phase::Withdrawn, _) => {}
            (_, Input::Lease(holder, answer)) => self.handle_lease(now, &holder, answer, &mut out),
            (Phase::New | Phase::Running, Input::Drain) => self.drain(now, &mut out),
            (Phase::New | Phase::Running | Phase::Draining, Input::Stop) => {
                self.stop(now, &mut out);
            }
            (Phase::Draining, Input::Marked(dir, since)) => {
                if since.is_some() {
                    // It stays so on another lease.
                    let state = State::Drain.as_str();
                    self.leases.remember_state(&dir, StateValue::new(state));
                }
                self.drain.marked(dir, since, &mut out);
            }
            (_, Input::Tick) => self.tick(now, &mut out),
            (Phase::New, Input::Start) => self.start(now, &mut out),
            (Phase::New | Phase::Running, Input::Replace(entries)) => {
                self.replace(now, entries, &mut out);
            }
            (Phase::Running, Input::Probed(round, result)) => {
                if self.members.get(&round.dir).map(|m| m.round) == Some(round.number) {
                    let input = health::Input::Probed(result);
                    self.handle_health(now, &round.dir, input, &mut out);
                }
            }
            // What checks say does not count any more, and nobody is announced anew.
            (Phase::Running, Input::Start) | (Phase::New, Input::Probed(..)) => {}
            (Phase::Draining | Phase::Stopped, Input::Start | Input::Probed(..)) => {}
            (Phase::Draining | Phase::Stopped, Input::Replace(_) | Input::Drain) => {}
            (_, Input::Marked(..)) | (Phase::Stopped, Input::Stop) => {}
        }
        self.report_progress(now, &mut out);
        out
    }

    fn start(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.phase = Phase::Running;
        let dirs: Vec<Prefix> = self.members.keys().cloned().collect();
        for dir in dirs {
            self.check_or_announce(now, &dir, out);
        }
    }

    /// Marks the instances that are published on our lease; those that are not published yet are not going to be.
    fn drain(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.phase = Phase::Draining;
        let wanted = self.members.iter().filter(|(_, m)| m.is_wanted());
        let wanted = wanted.map(|(dir, member)| (dir.clone(), member.holder()));
        // One that moves to another lease does not stand yet, though it stands where it was; and one whose shared lease was
        // lost would be announced anew, with no mark that says that we go.
        let stands = |(dir, holder): &(Prefix, Holder)| {
            let is_here = self.standing.get(dir) == Some(holder);
            is_here && (*holder == Holder::Common || self.leases.has_published(holder, dir))
        };
        let (here, absent): (Vec<_>, Vec<_>) = wanted.partition(stands);
        for (dir, _) in absent {
            self.unwant(now, &dir, out);
        }
        // Other processes go on with a shared instance.
        let ours = here.into_iter().filter(|(_, on)| *on == Holder::Common);
        let ours = ours.map(|(dir, _)| dir);
        self.drain = Drain::begin(ours, self.leases.common(), out);
    }

    fn stop(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.phase = Phase::Stopped;
        for holder in self.leases.holders() {
            self.handle_lease(now, &holder, lease::Input::Stop, out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.phase == Phase::Running {
            let due = |member: &Member| member.deadline().is_some_and(|at| now >= at);
            let due = self.members.iter().filter(|(_, member)| due(member));
            let due: Vec<Prefix> = due.map(|(dir, _)| dir.clone()).collect();
            for dir in due {
                self.handle_health(now, &dir, health::Input::Tick, out);
            }
        }
        for holder in self.leases.holders() {
            self.handle_lease(now, &holder, lease::Input::Tick, out);
        }
    }

    /// Announces an instance, or checks it first.
    fn check_or_announce(&mut self, now: Instant, dir: &Prefix, out: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(dir) else {
            return;
        };
        if member.health.is_some() {
            self.rounds += 1;
            member.round = self.rounds;
            self.handle_health(now, dir, health::Input::Start, out);
        } else {
            self.want(now, dir, out);
        }
    }

    fn handle_health(
        &mut self,
        now: Instant,
        dir: &Prefix,
        input: health::Input,
        out: &mut Vec<Action>,
    ) {
        let Some(member) = self.members.get_mut(dir) else {
            return;
        };
        let number = member.round;
        let action = member.health.as_mut().and_then(|h| h.handle(now, input));
        match action {
            None => {}
            Some(health::Action::Probe) => {
                let dir = dir.clone();
                out.push(Action::Probe(ProbeRound { dir, number }));
            }
            Some(health::Action::Rise) => {
                out.push(Action::Rise(dir.clone()));
                // With new checks it may stand already.
                if !matches!(member.stage, Stage::Wanted { .. }) {
                    self.want(now, dir, out);
                }
            }
            Some(health::Action::Fall(why)) => {
                member.stage = Stage::Unfit;
                out.push(Action::Fall(dir.clone(), why));
                self.unwant(now, dir, out);
            }
        }
    }

    fn want(&mut self, now: Instant, dir: &Prefix, out: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(dir) else {
            return;
        };
        member.stage = Stage::Wanted {
            stands: false,
            conflict: None,
        };
        let holder = member.holder();
        let publication = member.entry.publication.clone();
        if let Some(id) = member.entry.shared {
            self.leases.share(dir, id);
        }
        self.handle_lease(now, &holder, lease::Input::Want(publication), out);
    }

    fn unwant(&mut self, now: Instant, dir: &Prefix, out: &mut Vec<Action>) {
        if let Some(holder) = self.members.get(dir).map(Member::holder) {
            self.handle_lease(now, &holder, lease::Input::Unwant(dir.clone()), out);
        }
    }

    fn handle_lease(
        &mut self,
        now: Instant,
        holder: &Holder,
        input: impl Into<lease::Input>,
        out: &mut Vec<Action>,
    ) {
        for action in self.leases.handle(now, holder, input) {
            out.push(Action::Lease(holder.clone(), action.clone()));
            self.follow_up(now, holder, action, out);
        }
    }

    /// Follows up what a lease reports.
    fn follow_up(
        &mut self,
        now: Instant,
        holder: &Holder,
        action: lease::Action,
        out: &mut Vec<Action>,
    ) {
        match action {
            lease::Action::Announced(dir) => self.announced(holder, &dir),
            lease::Action::Removed(dir) => {
                self.gone(holder, &dir, out);
                if *holder == Holder::Common {
                    self.has_left(now, &dir, out);
                }
            }
            lease::Action::Withdrawn => {
                let on = self.standing.iter().filter(|(_, on)| *on == holder);
                for dir in on.map(|(dir, _)| dir.clone()).collect::<Vec<_>>() {
                    self.gone(holder, &dir, out);
                }
                if *holder == Holder::Common {
                    for dir in self.members.keys().cloned().collect::<Vec<_>>() {
                        self.has_left(now, &dir, out);
                    }
                }
            }
            lease::Action::Conflict(dir) => self.conflict(now, &dir, out),
            lease::Action::Lost(_) => self.lost(now, holder, out),
            lease::Action::Grant(..) | lease::Action::Publish(..) => {}
            lease::Action::KeepAlive(_) | lease::Action::Verify(..) => {}
            lease::Action::Revoke(_) | lease::Action::Repaired(_) => {}
        }
    }

    fn announced(&mut self, holder: &Holder, dir: &Prefix) {
        self.standing.insert(dir.clone(), holder.clone());
        let Some(member) = self.members.get_mut(dir) else {
            return;
        };
        if let Stage::Wanted { stands, conflict } = &mut member.stage {
            (*stands, *conflict) = (true, None);
        }
    }

    /// Reports that an instance is gone, unless it is published on another lease by now.
    fn gone(&mut self, holder: &Holder, dir: &Prefix, out: &mut Vec<Action>) {
        if self.standing.get(dir) == Some(holder) {
            self.standing.remove(dir);
            out.push(Action::Gone(dir.clone()));
        }
    }

    /// Leaves a shared instance to the others if its lease is lost during the drain: on the next lease it would have no mark
    /// that says that we go.
    fn lost(&mut self, now: Instant, holder: &Holder, out: &mut Vec<Action>) {
        if let (Phase::Draining, Holder::Shared(dir)) = (self.phase, holder) {
            self.unwant(now, dir, out);
        }
    }

    /// Notes that another owner has the place. A dead owner's lease ends within a TTL; after that the owner lives.
    fn conflict(&mut self, now: Instant, dir: &Prefix, out: &mut Vec<Action>) {
        let is_only = self.members.len() == 1 && !self.expects_more;
        let Some(Stage::Wanted { stands, conflict }) =
            self.members.get_mut(dir).map(|member| &mut member.stage)
        else {
            return;
        };
        *stands = false;
        let since = *conflict.get_or_insert(now);
        if is_only && now.saturating_duration_since(since) >= self.leases.ttl() {
            out.push(Action::Refused(dir.clone()));
        }
    }

    /// Reports when the set comes into force, and when everything is withdrawn.
    fn report_progress(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Stopped if self.leases.are_ended() => {
                self.phase = Phase::Withdrawn;
                out.push(Action::Withdrawn);
            }
            Phase::Running => {
                let is_settled = || self.members.values().all(Member::is_settled);
                let in_force = match self.set {
                    Set::First => !self.standing.is_empty() && is_settled(),
                    Set::New(until) => now >= until || is_settled(),
                    Set::Awaited | Set::InForce => false,
                };
                if in_force {
                    self.set = Set::InForce;
                    out.push(Action::Settled);
                }
            }
            Phase::New | Phase::Draining | Phase::Stopped | Phase::Withdrawn => {}
        }
    }
}

#[cfg(test)]
mod tests;
