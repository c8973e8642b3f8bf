//! A program, a store and a configuration that changes, and the machine between them, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::*;
use crate::model::check::{At, Check, Checks, Thresholds};
use crate::model::ending::{COMMAND_DEAD_WITHIN, GROUP_DEAD_WITHIN};
use crate::model::os::ProbeResult;
use crate::model::shared::Shared;

/// The leases of shared instances; those that the store grants have lower numbers.
const SHARED: RangeInclusive<LeaseId> = LeaseId(1_000_000)..=LeaseId(1_000_001);

type Fields = Shared<BTreeMap<String, Vec<u8>>>;

/// How an instance is configured; none at all is a way, too.
#[derive(Debug, Clone, Copy)]
struct Shape {
    ip: u8,
    interval: Option<u64>,
    shared: Option<LeaseId>,
}

impl Shape {
    fn entry(self, name: &str) -> Entry {
        let ip = [10, 0, 0, self.ip];
        let checks = self.interval.map(|interval| Checks {
            list: vec![Check::Tcp(At::default())],
            timeout: Duration::from_secs(1),
            thresholds: Thresholds {
                interval: Duration::from_secs(interval),
                rise: 1,
                fall: 1,
            },
        });
        Entry {
            publication: Publication {
                dir: dir_of(name),
                fields: [("ip".to_owned(), ip.to_vec())].into(),
                state: None,
                claim: Claim::default(),
                predecessors: std::collections::BTreeSet::new(),
            },
            shared: self.shared,
            checks,
            announced: SocketAddr::from((ip, 80)),
        }
    }
}

fn dir_of(name: &str) -> Prefix {
    Prefix::parse("/services/web").unwrap().join(name)
}

fn shapes() -> impl Strategy<Value = Vec<Entry>> {
    let shape = (1u8..3, proptest::option::of(1u64..3), any::<bool>());
    let shape = proptest::option::of(shape);
    (shape.clone(), shape.clone(), shape).prop_map(|(a, b, c)| {
        let entry = |shape: Option<(u8, Option<u64>, bool)>, name: &str, id: Option<&LeaseId>| {
            let (ip, interval, is_shared) = shape?;
            let shared = id.filter(|_| is_shared).copied();
            let shape = Shape {
                ip,
                interval,
                shared,
            };
            Some(shape.entry(name))
        };
        let all = [
            entry(a, "a", None),
            entry(b, "b", Some(SHARED.start())),
            entry(c, "c", Some(SHARED.end())),
        ];
        all.into_iter().flatten().collect()
    })
}

#[derive(Debug, Clone)]
enum Step {
    Stop,
    End,
    Tick,
    Answer(bool),
    /// The answer to what was asked for first never comes.
    Lose,
    Replace(Vec<Entry>),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let step = prop_oneof![
        1 => Just(Step::Stop),
        1 => Just(Step::End),
        3 => Just(Step::Tick),
        4 => Just(Step::Lose),
        3 => shapes().prop_map(Step::Replace),
        30 => any::<bool>().prop_map(Step::Answer)
    ];
    proptest::collection::vec((step, 0u64..3000), 1..150)
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each of them is a fact of its own"
)]
struct World {
    now: Instant,
    machine: Lifecycle,
    open: Vec<Action>,
    /// The leases that are alive, and what hangs on them.
    store: BTreeMap<LeaseId, BTreeMap<Prefix, Fields>>,
    granted: i64,
    set: BTreeMap<Prefix, Entry>,
    /// The instances that are fit to be announced.
    fit: BTreeSet<Prefix>,
    /// Those of them that have been announced since they were.
    stable: BTreeSet<Prefix>,
    alive: bool,
    asked: bool,
    /// Who has been marked, and whether those who watch have been waited for.
    marked: BTreeSet<Prefix>,
    waiting: bool,
    left: bool,
    exited: bool,
}

impl World {
    fn new(has_program: bool, entries: Vec<Entry>) -> Self {
        let instances = InstanceSet::new(entries.clone(), TTL, 1);
        let mut world = Self {
            now: Instant::now(),
            machine: Lifecycle::new(has_program, Stop::within(GRACE), DRAIN, instances),
            open: Vec::new(),
            store: BTreeMap::new(),
            granted: 0,
            set: BTreeMap::new(),
            fit: BTreeSet::new(),
            stable: BTreeSet::new(),
            alive: false,
            asked: false,
            marked: BTreeSet::new(),
            waiting: false,
            left: false,
            exited: false,
        };
        world.replace(entries);
        world.give(Input::Start);
        world
    }

    /// What the machine is about to hear.
    fn replace(&mut self, entries: Vec<Entry>) {
        let dir = |entry: Entry| (entry.publication.dir.clone(), entry);
        let old = std::mem::take(&mut self.set);
        self.set = entries.into_iter().map(dir).collect();
        self.fit.retain(|dir| self.set.contains_key(dir));
        // Another lease is a move.
        let stays = |dir: &Prefix| match (old.get(dir), self.set.get(dir)) {
            (Some(old), Some(new)) => old.shared == new.shared,
            (None, _) | (_, None) => false,
        };
        self.stable.retain(stays);
        let unchecked = self.set.iter().filter(|(_, entry)| entry.checks.is_none());
        self.fit.extend(unchecked.map(|(dir, _)| dir.clone()));
    }

    fn step(&mut self, step: Step, pause: Duration) {
        self.now += pause;
        match step {
            Step::Stop => {
                self.asked |= !self.exited;
                self.give(Input::Signal(Signal::TERM));
            }
            Step::End if self.alive => {
                (self.alive, self.asked) = (false, true);
                self.give(Input::Ended(Exit::Code(1)));
            }
            Step::End | Step::Tick => self.give(Input::Tick),
            Step::Answer(ok) => self.answer(ok),
            Step::Lose => self.lose(),
            Step::Replace(entries) => {
                if !self.asked {
                    self.replace(entries.clone());
                }
                self.give(Input::Replace(entries));
            }
        }
    }

    /// Hands an input over and looks at every action that comes of it.
    fn give(&mut self, input: Input) {
        for action in self.machine.handle(self.now, input) {
            assert!(!self.exited, "{action:?} after the exit");
            match &action {
                Action::Probe(_) | Action::Rise(_) | Action::Fall(..) | Action::Lease(..) => {
                    self.check_action_on_instances(&action);
                }
                Action::Gone(_) | Action::Settled | Action::Mark(_) => {
                    self.check_action_on_instances(&action);
                }
                Action::NotWithdrawn => self.left = true,
                Action::Pass(Signal::TERM) | Action::SignalGroup(Signal::TERM) => {
                    assert!(self.asked, "nobody asked for a stop");
                    let is_empty = self.keys_of_ours().next().is_none();
                    assert!(self.left || is_empty, "signalled before the withdrawal");
                }
                Action::Exit(_) => {
                    assert!(self.asked);
                    self.exited = true;
                }
                Action::AwaitWatchers(marks, limit) => {
                    assert!(self.asked && !self.waiting && *limit <= DRAIN);
                    self.waiting = true;
                    assert!(marks.keys().all(|dir| self.marked.contains(dir)));
                }
                Action::Pass(_) | Action::SignalGroup(_) => {}
                Action::Spawn | Action::Stopping(_) => {}
                Action::AwaitGroup | Action::LeaveBehind(_) => {}
                Action::Refused(_) => panic!("nobody else is there"),
            }
            self.open.push(action);
        }
    }

    fn check_action_on_instances(&mut self, action: &Action) {
        match action {
            Action::Rise(dir) => drop(self.fit.insert(dir.clone())),
            Action::Fall(dir, _) => {
                self.fit.remove(dir);
                self.stable.remove(dir);
            }
            Action::Probe(round) => {
                assert!(!self.asked, "a check while stopping");
                assert!(self.set[&round.dir].checks.is_some());
            }
            Action::Lease(holder, action) => self.look_at_lease(holder, action),
            Action::Gone(dir) => {
                assert!(!self.stable.contains(dir) || self.asked, "{dir} is to stay");
            }
            Action::Settled => assert!(!self.asked),
            Action::Mark(mark) => {
                assert!(self.asked);
                assert_eq!(self.set[&mark.dir].shared, None, "others go on with it");
                self.marked.insert(mark.dir.clone());
            }
            other => panic!("{other:?} is not about instances"),
        }
    }

    fn look_at_lease(&mut self, holder: &Holder, action: &lease::Action) {
        match action {
            lease::Action::Publish(lease, publication) => {
                let dir = &publication.dir;
                let is_new = !publication.fields.is_empty() && !self.marked.contains(dir);
                assert!(!self.asked || !is_new, "{dir} is announced while stopping");
                assert_eq!(SHARED.contains(lease), *holder != Holder::Common);
                if publication.fields.is_empty() {
                    self.is_no_loss(dir, *lease);
                } else {
                    assert!(self.fit.contains(dir), "{dir} is not fit");
                    assert_eq!(publication.fields, self.set[dir].publication.fields);
                }
            }
            lease::Action::Grant(..) | lease::Action::KeepAlive(_) => {
                assert!(!self.left && !self.fit.is_empty(), "{action:?}");
            }
            lease::Action::Verify(_, publications) => {
                assert!(!self.left);
                assert!(publications.iter().all(|one| self.fit.contains(&one.dir)));
            }
            lease::Action::Revoke(lease) => {
                assert!(!SHARED.contains(lease), "others keep it alive");
                let all = self.store.get(lease).into_iter().flatten();
                all.for_each(|(dir, _)| self.is_no_loss(dir, *lease));
            }
            lease::Action::Withdrawn => {
                if *holder == Holder::Common {
                    assert_eq!(self.keys_of_ours().next(), None, "they are still there");
                }
            }
            lease::Action::Announced(dir) => {
                assert!(self.fit.contains(dir));
                self.stable.insert(dir.clone());
            }
            lease::Action::Removed(_) | lease::Action::Lost(_) => {}
            lease::Action::Conflict(_) | lease::Action::Repaired(_) => panic!("{action:?}"),
        }
    }

    /// Nothing that is to stay may be taken off the lease on which it stands.
    fn is_no_loss(&self, dir: &Prefix, lease: LeaseId) {
        let stands = self
            .store
            .get(&lease)
            .is_some_and(|on| on.contains_key(dir));
        assert!(
            self.asked || !stands || !self.stable.contains(dir),
            "{dir} would be absent"
        );
    }

    /// What stands on leases that are ours alone.
    fn keys_of_ours(&self) -> impl Iterator<Item = &Prefix> {
        let ours = self
            .store
            .iter()
            .filter(|(lease, _)| !SHARED.contains(lease));
        ours.flat_map(|(_, on)| on.keys())
    }

    /// Nobody hears what became of it. Only whether the program was started is known at once.
    fn lose(&mut self) {
        if !self.open.is_empty() && self.open[0] != Action::Spawn {
            self.open.remove(0);
        }
    }

    /// From here on no answer comes at all.
    fn fall_silent(&mut self) {
        while !self.exited {
            self.open.retain(|action| *action == Action::Spawn);
            if self.open.is_empty() {
                let due = self.machine.deadline();
                self.now = due.expect("somebody is waited for").max(self.now);
                self.give(Input::Tick);
            } else {
                self.answer(true);
            }
        }
    }

    /// Whoever was asked first answers.
    fn answer(&mut self, ok: bool) {
        if self.open.is_empty() {
            return;
        }
        let input = match self.open.remove(0) {
            Action::Spawn => {
                self.alive = true;
                Input::Spawned
            }
            Action::Probe(round) => {
                let failed = || ProbeResult::Failed("why".to_owned());
                let result = if ok { ProbeResult::Passed } else { failed() };
                Input::Probed(round, result)
            }
            Action::Lease(holder, action) => {
                let Some(input) = self.reply(action, ok) else {
                    return;
                };
                Input::Lease(holder, input)
            }
            Action::SignalGroup(Signal::KILL) if self.alive => {
                self.alive = false;
                Input::Ended(Exit::Signal(Signal::KILL))
            }
            Action::AwaitGroup => Input::GroupGone,
            Action::AwaitWatchers(..) if ok => Input::Waited,
            // They hang.
            Action::AwaitWatchers(..) => return,
            Action::Mark(mark) => {
                let since = ok.then_some(SINCE);
                Input::Marked(mark.dir, since)
            }
            Action::Rise(_) | Action::Fall(..) | Action::Gone(_) | Action::Settled => return,
            Action::Pass(_) | Action::SignalGroup(_) => return,
            Action::Stopping(_) | Action::LeaveBehind(_) => return,
            Action::NotWithdrawn | Action::Refused(_) | Action::Exit(_) => return,
        };
        self.give(input);
    }

    /// The store does what it is told to, or nothing.
    fn reply(&mut self, action: lease::Action, ok: bool) -> Option<lease::Answer> {
        let failed = lease::Failure::Failed;
        let known = |lease: &LeaseId| match (ok, self.store.contains_key(lease)) {
            (true, true) => Ok(()),
            (true, false) => Err(lease::Failure::Lost),
            (false, _) => Err(failed),
        };
        Some(match action {
            lease::Action::Grant(_, id) if ok => {
                self.granted += 1;
                let lease = id.unwrap_or(LeaseId(self.granted));
                self.store.entry(lease).or_default();
                lease::Answer::Granted(Ok((lease, TTL)))
            }
            lease::Action::Grant(..) => lease::Answer::Granted(Err(failed)),
            lease::Action::Publish(lease, publication) => {
                let answer = known(&lease);
                if answer.is_ok() {
                    self.publish(lease, publication);
                }
                lease::Answer::Published(lease, answer)
            }
            lease::Action::KeepAlive(lease) => {
                lease::Answer::KeptAlive(lease, known(&lease).map(|()| TTL))
            }
            lease::Action::Revoke(lease) => {
                let answer = known(&lease);
                if ok {
                    self.store.remove(&lease);
                }
                lease::Answer::Revoked(lease, answer)
            }
            lease::Action::Verify(lease, publications) => {
                let stands = |publication: Publication| {
                    let standing = Standing {
                        is_whole: true,
                        state: None,
                    };
                    (publication.dir, standing)
                };
                let found = known(&lease).map(|()| publications.into_iter().map(stands).collect());
                lease::Answer::Verified(lease, found)
            }
            lease::Action::Announced(_) | lease::Action::Removed(_) => return None,
            lease::Action::Lost(_) | lease::Action::Withdrawn => return None,
            lease::Action::Conflict(_) | lease::Action::Repaired(_) => return None,
        })
    }

    fn publish(&mut self, lease: LeaseId, publication: Publication) {
        let Publication {
            dir, fields, claim, ..
        } = publication;
        for (other, on) in &mut self.store {
            if *other == lease || claim != Claim::Ours {
                on.remove(&dir);
            }
        }
        if let (Some(on), false) = (self.store.get_mut(&lease), fields.is_empty()) {
            on.insert(dir, fields);
        }
    }

    /// Everybody answers, and the checks go on as they went.
    fn settle(&mut self) {
        for _ in 0..400 {
            let as_before = match self.open.first() {
                Some(Action::Probe(round)) => self.fit.contains(&round.dir),
                Some(_) => true,
                None => {
                    // Up to the next heartbeat, or the next round.
                    self.now = self.machine.deadline().unwrap_or(self.now).max(self.now);
                    self.give(Input::Tick);
                    continue;
                }
            };
            self.answer(as_before);
        }
        // A shared lease that we have left ends when nobody renews it.
        let is_ours = |dir: &Prefix| self.set.get(dir).is_some_and(|e| e.shared.is_some());
        for (_, on) in self.store.range_mut(SHARED) {
            on.retain(|dir, _| is_ours(dir) && self.fit.contains(dir));
        }
    }
}

proptest! {
    /// Whatever answers, fails or hangs, in whatever order, and however the set changes: nothing is announced or kept
    /// alive but healthy instances that nobody has asked to stop, as they are configured, and they are as soon as the
    /// store answers; one that stays is never taken away; a withdrawal is a fact when it is told; the program is
    /// signalled to stop only after the withdrawal or its deadline; the exit comes once and last, and a store's failure
    /// alone never stops anything.
    #[test]
    fn invariants(has_program in any::<bool>(), first in shapes(), steps in steps()) {
        let mut world = World::new(has_program, first);
        for (step, pause) in steps {
            world.step(step, Duration::from_millis(pause));
        }
        world.settle();
        if !world.asked {
            let stands = world.store.values().flatten();
            let stands: BTreeMap<_, _> = stands.map(|(d, f)| (d.clone(), f.clone())).collect();
            let fit = world.set.iter().filter(|(dir, _)| world.fit.contains(*dir));
            let fit: BTreeMap<_, _> =
                fit.map(|(d, e)| (d.clone(), e.publication.fields.clone())).collect();
            prop_assert_eq!(stands, fit);
        }
    }

    /// Whichever answers have been lost before, and although all are lost from then on: a stop ends within the sum of its
    /// bounds.
    #[test]
    fn a_stop_ends_whatever_answers_are_lost(
        has_program in any::<bool>(), first in shapes(), steps in steps(), pause in 0u64..3000
    ) {
        let mut world = World::new(has_program, first);
        for (step, pause) in steps {
            world.step(step, Duration::from_millis(pause));
        }
        let asked = world.now + Duration::from_millis(pause);
        world.step(Step::Stop, Duration::from_millis(pause));
        world.fall_silent();
        let dead = COMMAND_DEAD_WITHIN + GROUP_DEAD_WITHIN;
        let bound = MARK_WITHIN.max(DRAIN) + WITHDRAW_WITHIN + GRACE + dead;
        prop_assert!(world.now <= asked + bound);
    }
}
