use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::model::ending::{COMMAND_DEAD_WITHIN, GROUP_DEAD_WITHIN, Left};
use crate::model::lease;
use crate::model::lease_id::LeaseId;
use crate::model::publication::{Claim, Publication, Standing};
use crate::model::state_change::{By, StateChange, StateValue};
use crate::model::update::Revision;
use crate::register::instances::{Entry, Holder};

mod world;

const TTL: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(5);
const A: LeaseId = LeaseId(1);
/// The revision of every mark.
const SINCE: Revision = Revision(7);

fn dir() -> Prefix {
    Prefix::parse("/services/web/a").unwrap()
}

fn machine(has_program: bool) -> Lifecycle {
    with_drain(has_program, DRAIN)
}

fn with_drain(has_program: bool, drain: Duration) -> Lifecycle {
    let entry = Entry {
        publication: Publication {
            dir: dir(),
            fields: [("ip".to_owned(), b"10.0.0.1".to_vec())].into(),
            state: None,
            claim: Claim::default(),
            predecessors: std::collections::BTreeSet::new(),
        },
        shared: None,
        checks: None,
        announced: SocketAddr::from(([10, 0, 0, 1], 80)),
    };
    let instances = InstanceSet::new(vec![entry], TTL, 1);
    Lifecycle::new(has_program, Stop::within(GRACE), drain, instances)
}

/// What is done about the lease.
fn on(action: lease::Action) -> Action {
    Action::Lease(Holder::Common, action)
}

/// What the store answers.
fn store(answer: lease::Answer) -> Input {
    Input::Lease(Holder::Common, answer)
}

/// What is said of a withdrawal, and what comes next.
fn withdrawn<const N: usize>(next: [Action; N]) -> Vec<Action> {
    let gone = Action::Gone(dir());
    let said = [on(lease::Action::Withdrawn), gone];
    said.into_iter().chain(next).collect()
}

/// Brings a machine to where its instance is announced.
fn announced(now: Instant, has_program: bool) -> Lifecycle {
    announce(now, has_program, machine(has_program))
}

fn announce(now: Instant, has_program: bool, mut machine: Lifecycle) -> Lifecycle {
    machine.handle(now, Input::Start);
    if has_program {
        machine.handle(now, Input::Spawned);
    }
    machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    let actions = machine.handle(now, store(lease::Answer::Published(A, Ok(()))));
    let settled = Action::Settled;
    assert_eq!(actions, [on(lease::Action::Announced(dir())), settled]);
    machine
}

fn mark() -> Action {
    Action::Mark(StateChange {
        dir: dir(),
        state: Some(StateValue::new("drain")),
        by: By::Owner(A),
    })
}

fn marked(since: Option<Revision>) -> Input {
    Input::Marked(dir(), since)
}

/// Stops a machine, and brings it to where its instance is being withdrawn.
fn leaving(now: Instant, machine: &mut Lifecycle, signal: Signal) {
    machine.handle(now, Input::Signal(signal));
    assert_eq!(
        machine.handle(now, marked(None)),
        [on(lease::Action::Revoke(A))]
    );
}

fn revoked() -> Input {
    store(lease::Answer::Revoked(A, Ok(())))
}

#[test]
fn nothing_is_announced_before_the_program_runs() {
    let (now, mut machine) = (Instant::now(), machine(true));
    assert_eq!(machine.handle(now, Input::Start), [Action::Spawn]);
    assert_eq!(
        machine.handle(now, Input::Spawned),
        [on(lease::Action::Grant(TTL, None))]
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
fn a_stop_marks_then_waits_for_watchers_then_withdraws_then_signals_then_waits() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    assert_eq!(
        machine.handle(now, Input::Signal(Signal::TERM)),
        [Action::Stopping(Why::Asked(Signal::TERM)), mark()]
    );
    let marks = Marks::from([(dir(), SINCE)]);
    assert_eq!(
        machine.handle(now, marked(Some(SINCE))),
        [Action::AwaitWatchers(marks, DRAIN)]
    );
    assert_eq!(
        machine.handle(now, Input::Waited),
        [on(lease::Action::Revoke(A))]
    );
    assert_eq!(
        machine.handle(now, revoked()),
        withdrawn([Action::Pass(Signal::TERM)])
    );
    assert_eq!(machine.deadline(), Some(now + GRACE));
    assert_eq!(
        machine.handle(now + GRACE, Input::Tick),
        [Action::SignalGroup(Signal::KILL)]
    );
    let killed = Exit::Signal(Signal::KILL);
    assert_eq!(
        machine.handle(now, Input::Ended(killed)),
        [Action::AwaitGroup]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), [Action::Exit(137)]);
}

#[test]
fn watchers_that_do_not_answer_hold_a_stop_up_for_the_drain_only() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Signal(Signal::TERM));
    // What the mark takes is a part of it.
    let later = now + MARK_WITHIN / 2;
    let asked = machine.handle(later, marked(Some(SINCE)));
    let marks = Marks::from([(dir(), SINCE)]);
    assert_eq!(
        asked,
        [Action::AwaitWatchers(
            marks,
            DRAIN.checked_sub(MARK_WITHIN / 2).unwrap()
        )]
    );
    let over = now + DRAIN;
    let revoke = machine.handle(over, Input::Tick);
    assert!(revoke.contains(&on(lease::Action::Revoke(A))), "{revoke:?}");
    assert_eq!(machine.handle(over, Input::Waited), []);
}

#[test]
fn without_a_drain_the_instance_is_marked_and_withdrawn() {
    let now = Instant::now();
    let mut machine = announce(now, true, with_drain(true, Duration::ZERO));
    let marks = machine.handle(now, Input::Signal(Signal::TERM));
    assert_eq!(marks[1], mark());
    assert_eq!(
        machine.handle(now, marked(Some(SINCE))),
        [on(lease::Action::Revoke(A))]
    );
}

#[test]
fn a_program_that_ends_while_watchers_are_waited_for_ends_the_waiting() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Signal(Signal::TERM));
    machine.handle(now, marked(Some(SINCE)));
    assert_eq!(
        machine.handle(now, Input::Ended(Exit::Code(0))),
        [Action::AwaitGroup, on(lease::Action::Revoke(A))]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), []);
    assert_eq!(machine.handle(now, revoked()), withdrawn([Action::Exit(0)]));
}

#[test]
fn one_that_does_not_stand_is_neither_marked_nor_waited_for() {
    let now = Instant::now();
    let mut machine = machine(true);
    machine.handle(now, Input::Start);
    machine.handle(now, Input::Spawned);
    machine.handle(
        now,
        store(lease::Answer::Granted(Err(lease::Failure::Failed))),
    );
    let stop = machine.handle(now, Input::Signal(Signal::TERM));
    assert!(!stop.contains(&mark()), "{stop:?}");
    assert!(stop.contains(&Action::Pass(Signal::TERM)), "{stop:?}");
}

#[test]
fn a_store_that_does_not_answer_holds_a_stop_up_for_its_bound_only() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Signal(Signal::INT));
    let unmarked = now + MARK_WITHIN;
    assert_eq!(machine.deadline(), Some(unmarked));
    machine.handle(unmarked, Input::Tick);
    let until = unmarked + WITHDRAW_WITHIN;
    assert_eq!(machine.deadline(), Some(until));
    assert_eq!(
        machine.handle(until, Input::Tick),
        [Action::NotWithdrawn, Action::Pass(Signal::INT)]
    );
    // The withdrawal goes on behind it.
    assert_eq!(machine.handle(until, revoked()), withdrawn([]));
}

#[test]
fn a_second_request_to_stop_waits_for_no_watcher_and_a_third_not_for_the_store() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Signal(Signal::TERM));
    machine.handle(now, marked(Some(SINCE)));
    assert_eq!(
        machine.handle(now, Input::Signal(Signal::TERM)),
        [on(lease::Action::Revoke(A))]
    );
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
            on(lease::Action::Revoke(A))
        ]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), []);
    assert_eq!(machine.handle(now, revoked()), withdrawn([Action::Exit(3)]));
}

#[test]
fn what_a_program_leaves_behind_is_asked_to_end_and_killed_after_the_grace() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    machine.handle(now, Input::Ended(Exit::Code(3)));
    assert_eq!(
        machine.handle(now, revoked()),
        withdrawn([Action::SignalGroup(Signal::TERM)])
    );
    let usr1 = Signal(10);
    assert_eq!(
        machine.handle(now, Input::Signal(usr1)),
        [Action::SignalGroup(usr1)]
    );
    let over = now + GRACE;
    assert_eq!(machine.deadline(), Some(over));
    assert_eq!(
        machine.handle(over, Input::Tick),
        [Action::SignalGroup(Signal::KILL)]
    );
    // What even that does not end, nobody waits for.
    let late = over + GROUP_DEAD_WITHIN;
    assert_eq!(machine.deadline(), Some(late));
    let given_up = [Action::LeaveBehind(Left::Group), Action::Exit(3)];
    assert_eq!(machine.handle(late, Input::Tick), given_up);
}

#[test]
fn a_program_that_a_kill_does_not_end_is_left_behind() {
    let now = Instant::now();
    let mut machine = announced(now, true);
    leaving(now, &mut machine, Signal::TERM);
    machine.handle(now, revoked());
    let over = now + GRACE;
    let kill = [Action::SignalGroup(Signal::KILL)];
    assert_eq!(machine.handle(over, Input::Tick), kill);
    let late = over + COMMAND_DEAD_WITHIN;
    assert_eq!(machine.deadline(), Some(late));
    let given_up = [Action::LeaveBehind(Left::Command), Action::Exit(137)];
    assert_eq!(machine.handle(late, Input::Tick), given_up);
}

#[test]
fn a_group_that_has_heard_a_term_is_not_told_twice_and_has_one_grace() {
    let ended = |signal, whole_group| {
        let now = Instant::now();
        let mut machine = announced(now, true);
        machine.stop.whole_group = whole_group;
        leaving(now, &mut machine, signal);
        machine.handle(now, revoked());
        let later = now + GRACE / 2;
        let actions = machine.handle(later, Input::Ended(Exit::Code(0)));
        assert_eq!(machine.deadline(), Some(now + GRACE));
        assert_eq!(machine.handle(later, Input::GroupGone), [Action::Exit(0)]);
        actions
    };
    let told = [Action::AwaitGroup, Action::SignalGroup(Signal::TERM)];
    assert_eq!(ended(Signal::TERM, true), [Action::AwaitGroup]);
    assert_eq!(ended(Signal::INT, true), told);
    // The command alone has heard it.
    assert_eq!(ended(Signal::TERM, false), told);
}

#[test]
fn the_chosen_signal_drains_withdraws_and_is_what_the_program_gets() {
    for asked in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let now = Instant::now();
        let mut machine = announced(now, true);
        machine.stop.signal = Some(Signal::QUIT);
        assert_eq!(
            machine.handle(now, Input::Signal(asked)),
            [Action::Stopping(Why::Asked(asked)), mark()]
        );
        machine.handle(now, marked(None));
        assert_eq!(
            machine.handle(now, revoked()),
            withdrawn([Action::Pass(Signal::QUIT)])
        );
        // Somebody is in a hurry.
        assert_eq!(
            machine.handle(now, Input::Signal(Signal::TERM)),
            [Action::Pass(Signal::TERM)]
        );
    }
    let now = Instant::now();
    let mut machine = announced(now, true);
    let passed = machine.handle(now, Input::Signal(Signal::QUIT));
    assert_eq!(passed, [Action::Pass(Signal::QUIT)]);
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
    leaving(now, &mut machine, Signal::TERM);
    assert_eq!(machine.handle(now, revoked()), withdrawn([Action::Exit(0)]));
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
        [Action::AwaitGroup, Action::SignalGroup(Signal::TERM)]
    );
    assert_eq!(machine.handle(now, Input::GroupGone), [Action::Exit(0)]);
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
                Some(Action::Lease(_, lease::Action::Grant(..))) => {
                    store(lease::Answer::Granted(Ok((A, TTL))))
                }
                Some(Action::Lease(_, lease::Action::Publish(..))) => {
                    store(lease::Answer::Published(A, Err(lease::Failure::Conflict)))
                }
                Some(Action::Lease(_, lease::Action::KeepAlive(_))) => {
                    store(lease::Answer::KeptAlive(A, Ok(TTL)))
                }
                Some(Action::Refused(_)) => {
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
    /// Whatever comes of the mark, of the watchers and of the withdrawal, in whatever order, or nothing at all: the program
    /// hears of the stop once, in time, and after the withdrawal or its deadline.
    #[test]
    fn a_stop_comes_to_the_program_in_time(script in proptest::collection::vec((0u8..6, 0u64..4000), 0..12)) {
        let start = Instant::now();
        let (mut now, mut machine) = (start, announced(start, true));
        let mut open = machine.handle(now, Input::Signal(Signal::TERM));
        let bound = start + MARK_WITHIN.max(DRAIN) + WITHDRAW_WITHIN;
        let (mut script, mut told, mut gone) = (script.into_iter(), None, false);
        while told.is_none() {
            let (step, pause) = script.next().unwrap_or((5, 60_000));
            let next = now + Duration::from_millis(pause);
            let due = machine.deadline().unwrap();
            let is_due = due <= next;
            now = due.min(next).max(now);
            let asked = |wanted: fn(&Action) -> bool| open.iter().any(wanted);
            let revoking = asked(|a| matches!(a, Action::Lease(_, lease::Action::Revoke(_))));
            let input = match step {
                _ if is_due => Input::Tick,
                0 => marked(Some(SINCE)),
                1 => marked(None),
                2 if asked(|a| matches!(a, Action::AwaitWatchers(..))) => Input::Waited,
                3 if revoking => { gone = true; revoked() }
                4 => store(lease::Answer::KeptAlive(A, Err(lease::Failure::Failed))),
                _ => Input::Tick,
            };
            let actions = machine.handle(now, input);
            if actions.contains(&Action::Pass(Signal::TERM)) {
                told = Some(now);
                prop_assert!(gone || actions.contains(&Action::NotWithdrawn));
            }
            open.extend(actions);
        }
        prop_assert!(told.unwrap() <= bound);
    }
}
