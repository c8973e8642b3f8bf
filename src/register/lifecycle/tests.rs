use proptest::prelude::*;

use super::*;
use crate::model::update::{LeaseId, Prefix};

const TTL: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(10);
const A: LeaseId = LeaseId(1);

fn machine(has_program: bool) -> Lifecycle {
    let publication = Publication {
        dir: Prefix::parse("/services/web/a").unwrap(),
        fields: [("ip".to_owned(), b"10.0.0.1".to_vec())].into(),
    };
    Lifecycle::new(publication, has_program, GRACE, Lease::new(TTL, 1))
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
        [Action::Lease(lease::Action::Grant(TTL))]
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

proptest! {
    /// Whatever answers, fails or hangs, in whatever order: the program is signalled to stop only after the
    /// withdrawal or its deadline, the exit comes once and last, and a store's failure alone never stops anything.
    #[test]
    fn invariants(has_program in any::<bool>(), script in proptest::collection::vec((0u8..8, any::<bool>(), 0u64..3000), 1..80)) {
        let mut now = Instant::now();
        let mut machine = machine(has_program);
        let mut open = machine.handle(now, Input::Start);
        let (mut granted, mut alive, mut asked, mut left, mut exited) = (0, false, false, false, false);
        for (step, answer, pause) in script {
            now += Duration::from_millis(pause);
            let failure = |ok: bool| if ok { Ok(()) } else { Err(lease::Failure::Failed) };
            let input = match step {
                0 if !exited => { asked = true; Input::Signal(Signal::TERM) }
                1 if alive => { alive = false; asked = true; Input::Ended(Exit::Code(1)) }
                2 | 3 => Input::Tick,
                _ => {
                    if open.is_empty() { continue }
                    match open.remove(0) {
                        Action::Spawn => { alive = true; Input::Spawned }
                        Action::Lease(lease::Action::Grant(_)) => Input::Lease(lease::Input::Granted(failure(answer).map(|()| { granted += 1; (LeaseId(granted), TTL) }))),
                        Action::Lease(lease::Action::Publish(l, _)) => Input::Lease(lease::Input::Published(l, failure(answer))),
                        Action::Lease(lease::Action::KeepAlive(l)) => Input::Lease(lease::Input::KeptAlive(l, failure(answer).map(|()| TTL))),
                        Action::Lease(lease::Action::Revoke(l)) => Input::Lease(lease::Input::Revoked(l, failure(answer))),
                        Action::Pass(Signal::KILL) if alive => { alive = false; Input::Ended(Exit::Signal(Signal::KILL)) }
                        Action::AwaitGroup => Input::GroupGone,
                        _ => continue,
                    }
                }
            };
            let actions = machine.handle(now, input);
            for action in &actions {
                prop_assert!(!exited, "{action:?} after the exit");
                match action {
                    Action::Lease(lease::Action::Withdrawn) | Action::NotWithdrawn => left = true,
                    Action::Pass(Signal::TERM) => prop_assert!(asked && (left || granted == 0), "signalled before the withdrawal"),
                    Action::Exit(_) => { prop_assert!(asked); exited = true }
                    Action::Pass(_) | Action::Spawn | Action::AwaitGroup | Action::Stopping(_) | Action::Lease(_) => {}
                }
            }
            open.extend(actions);
        }
    }
}
