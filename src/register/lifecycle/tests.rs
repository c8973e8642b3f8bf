use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::check::Thresholds;
use crate::model::update::{Claim, LeaseId, Prefix};

const TTL: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(10);
const A: LeaseId = LeaseId(1);

fn machine(has_program: bool) -> Lifecycle {
    with(has_program, None)
}

fn with(has_program: bool, health: Option<Health>) -> Lifecycle {
    let publication = Publication {
        dir: Prefix::parse("/services/web/a").unwrap(),
        fields: [("ip".to_owned(), b"10.0.0.1".to_vec())].into(),
        claim: Claim::default(),
    };
    Lifecycle::new(
        publication,
        has_program,
        GRACE,
        health,
        TTL,
        Lease::new(TTL, 1),
    )
}

/// Brings a machine to where its instance is announced.
fn announced(now: Instant, has_program: bool) -> Lifecycle {
    let mut machine = machine(has_program);
    machine.handle(now, Input::Start);
    if has_program {
        machine.handle(now, Input::Spawned);
    }
    machine.handle(now, Input::Lease(lease::Input::Granted(Ok((A, TTL)))));
    let actions = machine.handle(now, Input::Lease(lease::Input::Published(A, Ok(()))));
    assert_eq!(actions, [Action::Lease(lease::Action::Announced)]);
    machine
}

fn revoked() -> Input {
    Input::Lease(lease::Input::Revoked(A, Ok(())))
}

#[test]
fn nothing_is_announced_before_the_program_runs() {
    let (now, mut machine) = (Instant::now(), machine(true));
    assert_eq!(machine.handle(now, Input::Start), [Action::Spawn]);
    assert_eq!(
        machine.handle(now, Input::Spawned),
        [Action::Lease(lease::Action::Grant(TTL, None))]
    );
}

#[test]
fn a_program_that_does_not_start_is_never_announced() {
    let (now, mut machine) = (Instant::now(), machine(true));
    machine.handle(now, Input::Start);
    assert_eq!(
        machine.handle(now, Input::NotSpawned(127)),
        [Action::Exit(127)]
    );
    assert_eq!(machine.deadline(), None);
}

#[test]
fn a_stop_withdraws_then_signals_then_waits() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    assert_eq!(
        machine.handle(now, Input::Signal(Signal::TERM)),
        [
            Action::Stopping(Why::Asked(Signal::TERM)),
            Action::Lease(lease::Action::Revoke(A))
        ]
    );
    assert_eq!(
        machine.handle(now, revoked()),
        [
            Action::Lease(lease::Action::Withdrawn),
            Action::Pass(Signal::TERM)
        ]
    );
    assert_eq!(machine.deadline(), Some(now + GRACE));
    assert_eq!(
        machine.handle(now + GRACE, Input::Tick),
        [Action::Pass(Signal::KILL)]
    );
    let killed = Exit::Signal(Signal::KILL);
    assert_eq!(
        machine.handle(now, Input::Ended(killed)),
        [Action::AwaitGroup]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), [Action::Exit(137)]);
}

#[test]
fn a_store_that_does_not_answer_holds_a_stop_up_for_its_bound_only() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Signal(Signal::INT));
    let until = now + WITHDRAW_WITHIN;
    assert_eq!(machine.deadline(), Some(until));
    assert_eq!(
        machine.handle(until, Input::Tick),
        [Action::NotWithdrawn, Action::Pass(Signal::INT)]
    );
    // The withdrawal goes on behind it.
    assert_eq!(
        machine.handle(until, revoked()),
        [Action::Lease(lease::Action::Withdrawn)]
    );
}

#[test]
fn a_second_request_to_stop_does_not_wait_for_the_store() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Signal(Signal::TERM));
    assert_eq!(
        machine.handle(now, Input::Signal(Signal::TERM)),
        [Action::NotWithdrawn, Action::Pass(Signal::TERM)]
    );
}

#[test]
fn a_program_that_ends_is_withdrawn_before_we_leave() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    let exit = Exit::Code(3);
    assert_eq!(
        machine.handle(now, Input::Ended(exit)),
        [
            Action::AwaitGroup,
            Action::Stopping(Why::Ended(exit)),
            Action::Lease(lease::Action::Revoke(A))
        ]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), []);
    assert_eq!(
        machine.handle(now, revoked()),
        [Action::Lease(lease::Action::Withdrawn), Action::Exit(3)]
    );
}

#[test]
fn what_a_program_leaves_behind_is_asked_to_end_and_killed_after_the_grace() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Ended(Exit::Code(3)));
    assert_eq!(
        machine.handle(now, revoked()),
        [
            Action::Lease(lease::Action::Withdrawn),
            Action::Pass(Signal::TERM)
        ]
    );
    let usr1 = Signal(10);
    assert_eq!(
        machine.handle(now, Input::Signal(usr1)),
        [Action::Pass(usr1)]
    );
    let over = now + GRACE;
    assert_eq!(machine.deadline(), Some(over));
    assert_eq!(
        machine.handle(over, Input::Tick),
        [Action::Pass(Signal::KILL)]
    );
    // What even that does not end, nobody waits for.
    let late = over + DEAD_WITHIN;
    assert_eq!(machine.deadline(), Some(late));
    assert_eq!(machine.handle(late, Input::Tick), [Action::Exit(3)]);
}

#[test]
fn a_group_that_has_heard_a_term_is_not_told_twice_and_has_one_grace() {
    let ended = |signal| {
        let now = Instant::now();
        let mut machine = announced(now, true);
        machine.handle(now, Input::Signal(signal));
        machine.handle(now, revoked());
        let later = now + GRACE / 2;
        let actions = machine.handle(later, Input::Ended(Exit::Code(0)));
        assert_eq!(machine.deadline(), Some(now + GRACE));
        assert_eq!(machine.handle(later, Input::GroupGone), [Action::Exit(0)]);
        actions
    };
    assert_eq!(ended(Signal::TERM), [Action::AwaitGroup]);
    assert_eq!(
        ended(Signal::INT),
        [Action::AwaitGroup, Action::Pass(Signal::TERM)]
    );
}

#[test]
fn other_signals_are_passed_on_and_a_sidecar_has_nobody_to_pass_them_to() {
    let now = Instant::now();
    let hup = || Input::Signal(Signal::HUP);
    assert_eq!(
        announced(now, true).handle(now, hup()),
        [Action::Pass(Signal::HUP)]
    );
    assert_eq!(announced(now, false).handle(now, hup()), []);
}

#[test]
fn a_sidecar_withdraws_and_leaves_with_0() {
    let now = Instant::now();
    let mut machine = announced(now, false);
    machine.handle(now, Input::Signal(Signal::TERM));
    assert_eq!(
        machine.handle(now, revoked()),
        [Action::Lease(lease::Action::Withdrawn), Action::Exit(0)]
    );
}

#[test]
fn asked_to_stop_while_starting() {
    let (now, mut machine) = (Instant::now(), machine(true));
    machine.handle(now, Input::Start);
    assert_eq!(machine.handle(now, Input::Signal(Signal::TERM)), []);
    assert_eq!(
        machine.handle(now, Input::Spawned),
        [Action::Pass(Signal::TERM)]
    );
    assert_eq!(
        machine.handle(now, Input::Ended(Exit::Code(0))),
        [Action::AwaitGroup]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), [Action::Exit(0)]);
}

const INTERVAL: Duration = Duration::from_secs(2);

fn health() -> Health {
    Health::new(Thresholds {
        interval: INTERVAL,
        rise: 1,
        fall: 1,
    })
}

fn passed() -> Input {
    Input::Probed(ProbeResult::Passed)
}

fn failed() -> Input {
    Input::Probed(ProbeResult::Failed("why".to_owned()))
}

fn fallen() -> Action {
    Action::Health(health::Action::Fall("why".to_owned()))
}

#[test]
fn with_checks_nothing_is_announced_before_they_pass() {
    let (now, mut machine) = (Instant::now(), with(true, Some(health())));
    assert_eq!(machine.handle(now, Input::Start), [Action::Spawn]);
    let probe = [Action::Health(health::Action::Probe)];
    assert_eq!(machine.handle(now, Input::Spawned), probe);
    assert_eq!(machine.handle(now, failed()), [fallen()]);
    let next = now + INTERVAL;
    assert_eq!(machine.deadline(), Some(next));
    assert_eq!(machine.handle(next, Input::Tick), probe);
    assert_eq!(
        machine.handle(next, passed()),
        [
            Action::Health(health::Action::Rise),
            Action::Lease(lease::Action::Grant(TTL, None))
        ]
    );
}

#[test]
fn an_unhealthy_instance_is_withdrawn_and_its_program_goes_on() {
    let (mut now, mut machine) = (Instant::now(), with(true, Some(health())));
    machine.handle(now, Input::Start);
    machine.handle(now, Input::Spawned);
    machine.handle(now, passed());
    machine.handle(now, Input::Lease(lease::Input::Granted(Ok((A, TTL)))));
    machine.handle(now, Input::Lease(lease::Input::Published(A, Ok(()))));
    now += INTERVAL;
    machine.handle(now, Input::Tick);
    let revoke = Action::Lease(lease::Action::Revoke(A));
    assert_eq!(machine.handle(now, failed()), [fallen(), revoke]);
    assert_eq!(
        machine.handle(now, revoked()),
        [Action::Lease(lease::Action::Withdrawn)]
    );
    assert_eq!(machine.deadline(), Some(now + INTERVAL), "only a check");
    assert_eq!(
        machine.handle(now, Input::Signal(Signal::TERM)),
        [
            Action::Stopping(Why::Asked(Signal::TERM)),
            Action::Lease(lease::Action::Withdrawn),
            Action::Pass(Signal::TERM)
        ]
    );
    assert_eq!(machine.handle(now, passed()), [], "too late");
}

/// A program and a store, and the machine between them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each of them is a fact of its own"
)]
struct World {
    now: Instant,
    machine: Lifecycle,
    open: Vec<Action>,
    /// The leases that are alive, and whether keys hang on them.
    store: BTreeMap<LeaseId, bool>,
    granted: i64,
    alive: bool,
    /// Whether the instance is fit to be announced.
    healthy: bool,
    asked: bool,
    left: bool,
    exited: bool,
}

impl World {
    fn new(has_program: bool, has_checks: bool) -> Self {
        let mut world = Self {
            now: Instant::now(),
            machine: with(has_program, has_checks.then(health)),
            open: Vec::new(),
            store: BTreeMap::new(),
            granted: 0,
            alive: false,
            healthy: !has_checks,
            asked: false,
            left: false,
            exited: false,
        };
        world.give(Input::Start);
        world
    }

    fn step(&mut self, step: u8, answer: bool, pause: Duration) {
        self.now += pause;
        match step {
            0 => {
                self.asked |= !self.exited;
                self.give(Input::Signal(Signal::TERM));
            }
            1 if self.alive => {
                (self.alive, self.asked) = (false, true);
                self.give(Input::Ended(Exit::Code(1)));
            }
            2 | 3 => self.give(Input::Tick),
            _ => self.answer(answer),
        }
    }

    /// Hands an input over and looks at every action that comes of it.
    fn give(&mut self, input: Input) {
        for action in self.machine.handle(self.now, input) {
            assert!(!self.exited, "{action:?} after the exit");
            match &action {
                Action::Lease(action) => self.look(action),
                Action::Health(health::Action::Rise) => self.healthy = true,
                Action::Health(health::Action::Fall(_)) => self.healthy = false,
                Action::Health(health::Action::Probe) => {
                    assert!(!self.asked, "a check while stopping");
                }
                Action::NotWithdrawn => self.left = true,
                Action::Pass(Signal::TERM) => {
                    assert!(self.asked, "nobody asked for a stop");
                    assert!(
                        self.left || self.granted == 0,
                        "signalled before the withdrawal"
                    );
                }
                Action::Exit(_) => {
                    assert!(self.asked);
                    self.exited = true;
                }
                Action::Pass(_) | Action::Spawn | Action::Stopping(_) => {}
                Action::AwaitGroup => {}
                Action::Refused => panic!("nobody else is there"),
            }
            self.open.push(action);
        }
    }

    fn look(&mut self, action: &lease::Action) {
        match action {
            lease::Action::Grant(..) | lease::Action::Publish(..) | lease::Action::KeepAlive(_) => {
                assert!(self.healthy && !self.asked, "{action:?}");
            }
            lease::Action::Withdrawn => {
                assert!(!self.has_keys(), "they are still there");
                self.left |= self.asked;
            }
            lease::Action::Revoke(_) | lease::Action::Announced | lease::Action::Lost(_) => {}
            lease::Action::Verify(..) => assert!(self.healthy && !self.asked),
            lease::Action::Conflict | lease::Action::Repaired(_) => panic!("{action:?}"),
        }
    }

    fn has_keys(&self) -> bool {
        self.store.values().any(|has_keys| *has_keys)
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
            Action::Health(health::Action::Probe) if ok => passed(),
            Action::Health(health::Action::Probe) => failed(),
            Action::Lease(action) => match self.reply(&action, ok) {
                Some(input) => Input::Lease(input),
                None => return,
            },
            Action::Pass(Signal::KILL) if self.alive => {
                self.alive = false;
                Input::Ended(Exit::Signal(Signal::KILL))
            }
            Action::AwaitGroup => Input::GroupGone,
            Action::Health(_) | Action::Pass(_) | Action::Stopping(_) => return,
            Action::NotWithdrawn | Action::Refused | Action::Exit(_) => return,
        };
        self.give(input);
    }

    /// The store does what it is told to, or nothing.
    fn reply(&mut self, action: &lease::Action, ok: bool) -> Option<lease::Input> {
        let failed = lease::Failure::Failed;
        let known = |lease: &LeaseId| match (ok, self.store.contains_key(lease)) {
            (true, true) => Ok(()),
            (true, false) => Err(lease::Failure::Lost),
            (false, _) => Err(failed),
        };
        Some(match action {
            lease::Action::Grant(..) if ok => {
                self.granted += 1;
                let lease = LeaseId(self.granted);
                self.store.insert(lease, false);
                lease::Input::Granted(Ok((lease, TTL)))
            }
            lease::Action::Grant(..) => lease::Input::Granted(Err(failed)),
            lease::Action::Publish(lease, _) => {
                let answer = known(lease);
                if answer.is_ok() {
                    for (at, has_keys) in &mut self.store {
                        *has_keys = at == lease;
                    }
                }
                lease::Input::Published(*lease, answer)
            }
            lease::Action::KeepAlive(lease) => {
                lease::Input::KeptAlive(*lease, known(lease).map(|()| TTL))
            }
            lease::Action::Revoke(lease) => {
                let answer = known(lease);
                if ok {
                    self.store.remove(lease);
                }
                lease::Input::Revoked(*lease, answer)
            }
            lease::Action::Verify(lease, publication) => {
                lease::Input::Verified(*lease, publication.dir.clone(), known(lease).map(|()| true))
            }
            lease::Action::Announced | lease::Action::Lost(_) | lease::Action::Withdrawn => {
                return None;
            }
            lease::Action::Conflict | lease::Action::Repaired(_) => return None,
        })
    }

    /// Everybody answers, and the checks go on as they went.
    fn settle(&mut self) {
        for _ in 0..100 {
            let is_probe = matches!(self.open.first(), Some(Action::Health(_)));
            if self.open.is_empty() {
                // Up to the next heartbeat, or the next round.
                self.now = self.machine.deadline().unwrap_or(self.now).max(self.now);
                self.give(Input::Tick);
            } else {
                self.answer(self.healthy || !is_probe);
            }
        }
    }
}

#[test]
fn a_sidecar_gives_up_after_a_ttl_when_its_place_is_taken_and_a_program_goes_on() {
    for has_program in [false, true] {
        let start = Instant::now();
        let (mut now, mut machine) = (start, machine(has_program));
        let mut open = machine.handle(now, Input::Start);
        let mut refused_at = None;
        while now < start + 3 * TTL {
            let input = match open.pop() {
                Some(Action::Spawn) => Input::Spawned,
                Some(Action::Lease(lease::Action::Grant(..))) => {
                    Input::Lease(lease::Input::Granted(Ok((A, TTL))))
                }
                Some(Action::Lease(lease::Action::Publish(..))) => {
                    Input::Lease(lease::Input::Published(A, Err(lease::Failure::Conflict)))
                }
                Some(Action::Lease(lease::Action::KeepAlive(_))) => {
                    Input::Lease(lease::Input::KeptAlive(A, Ok(TTL)))
                }
                Some(Action::Refused) => {
                    refused_at = Some(now - start);
                    break;
                }
                Some(_) => continue,
                None => {
                    now = machine.deadline().unwrap();
                    Input::Tick
                }
            };
            open.extend(machine.handle(now, input));
        }
        assert_eq!(refused_at.is_some(), !has_program);
        assert!(
            refused_at.is_none_or(|after| after >= TTL && after <= TTL + TTL / 2),
            "{refused_at:?}"
        );
    }
}

proptest! {
    /// Whatever answers, fails or hangs, in whatever order: nothing is announced or kept alive but a healthy instance
    /// that nobody has asked to stop, and it is as soon as the store answers; a withdrawal is a fact when it is told;
    /// the program is signalled to stop only after the withdrawal or its deadline; the exit comes once and last, and
    /// a store's failure alone never stops anything.
    #[test]
    fn invariants(
        has_program in any::<bool>(),
        has_checks in any::<bool>(),
        script in proptest::collection::vec((0u8..40, any::<bool>(), 0u64..3000), 1..120),
    ) {
        let mut world = World::new(has_program, has_checks);
        for (step, answer, pause) in script {
            world.step(step, answer, Duration::from_millis(pause));
        }
        world.settle();
        if !world.asked {
            prop_assert_eq!(world.has_keys(), world.healthy);
        }
    }
}
