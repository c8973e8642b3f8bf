use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::check::{At, Check, Checks, Thresholds};
use crate::model::lease::Failure;
use crate::model::lease_id::LeaseId;
use crate::model::os::ProbeResult;
use crate::model::publication::{Claim, Publication, Standing};

const TTL: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(2);
const A: LeaseId = LeaseId(1);
const OTHERS: LeaseId = LeaseId(77);

fn dir(name: &str) -> Prefix {
    Prefix::parse("/services/web").unwrap().join(name)
}

fn at(name: &str, ip: u8) -> Entry {
    let ip = [10, 0, 0, ip];
    Entry {
        publication: Publication {
            dir: dir(name),
            fields: [("ip".to_owned(), ip.to_vec())].into(),
            state: None,
            claim: Claim::default(),
            predecessors: std::collections::BTreeSet::new(),
        },
        shared: None,
        checks: None,
        announced: (ip, 80).into(),
    }
}

fn entry(name: &str) -> Entry {
    at(name, 1)
}

fn checked(entry: Entry, fall: u32) -> Entry {
    let thresholds = Thresholds {
        interval: INTERVAL,
        rise: 1,
        fall,
    };
    let checks = Some(Checks {
        list: vec![Check::Tcp(At::default())],
        timeout: Duration::from_secs(1),
        thresholds,
    });
    Entry { checks, ..entry }
}

fn instances(entries: &[Entry]) -> InstanceSet {
    InstanceSet::new(entries.to_vec(), TTL, 1)
}

fn on(action: lease::Action) -> Action {
    Action::Lease(Holder::Common, action)
}

fn store(answer: lease::Answer) -> Input {
    Input::Lease(Holder::Common, answer)
}

fn published() -> Input {
    store(lease::Answer::Published(A, Ok(())))
}

fn publish(entry: &Entry) -> Action {
    on(lease::Action::Publish(A, entry.publication.clone()))
}

fn is_announced(name: &str) -> Action {
    on(lease::Action::Announced(dir(name)))
}

/// A machine whose instances, none with checks, are announced.
fn announced(now: Instant, entries: &[Entry]) -> InstanceSet {
    let mut machine = instances(entries);
    machine.handle(now, Input::Start);
    let mut last = machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    for _ in entries {
        last = machine.handle(now, published());
    }
    assert_eq!(last.last(), Some(&Action::Settled));
    machine
}

/// The round of the only check that is asked for.
fn round(actions: &[Action]) -> ProbeRound {
    let rounds = actions.iter().filter_map(|action| match action {
        Action::Probe(round) => Some(round.clone()),
        _ => None,
    });
    let rounds: Vec<ProbeRound> = rounds.collect();
    let [round] = &rounds[..] else {
        panic!("{actions:?}");
    };
    round.clone()
}

fn passed(round: &ProbeRound) -> Input {
    Input::Probed(round.clone(), ProbeResult::Passed)
}

fn failed(round: &ProbeRound) -> Input {
    Input::Probed(round.clone(), ProbeResult::Failed("why".to_owned()))
}

fn fallen(name: &str) -> Action {
    Action::Fall(dir(name), "why".to_owned())
}

#[test]
fn with_checks_nothing_is_announced_before_they_pass() {
    let (now, mut machine) = (Instant::now(), instances(&[checked(entry("a"), 1)]));
    let first = round(&machine.handle(now, Input::Start));
    assert_eq!(machine.handle(now, failed(&first)), [fallen("a")]);
    let next = now + INTERVAL;
    assert_eq!(machine.deadline(), Some(next));
    let second = round(&machine.handle(next, Input::Tick));
    let grant = on(lease::Action::Grant(TTL, None));
    let risen = [Action::Rise(dir("a")), grant];
    assert_eq!(machine.handle(next, passed(&second)), risen);
}

#[test]
fn an_unhealthy_instance_is_withdrawn_and_the_others_stay() {
    let now = Instant::now();
    let mut machine = instances(&[checked(entry("a"), 1), entry("b")]);
    let first = round(&machine.handle(now, Input::Start));
    machine.handle(now, passed(&first));
    machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    machine.handle(now, published());
    assert_eq!(
        machine.handle(now, published()),
        [is_announced("b"), Action::Settled]
    );
    let next = now + INTERVAL;
    let second = round(&machine.handle(next, Input::Tick));
    let fall = machine.handle(next, failed(&second));
    let [fell, Action::Lease(_, lease::Action::Publish(A, nothing))] = &fall[..] else {
        panic!("{fall:?}");
    };
    assert_eq!((fell, nothing.fields.len()), (&fallen("a"), 0));
    let gone = [on(lease::Action::Removed(dir("a"))), Action::Gone(dir("a"))];
    assert_eq!(machine.handle(next, published()), gone);
}

#[test]
fn the_set_is_settled_when_who_can_stand_does() {
    let now = Instant::now();
    let mut machine = instances(&[checked(entry("a"), 1), entry("b")]);
    let first = round(&machine.handle(now, Input::Start));
    machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    assert_eq!(
        machine.handle(now, published()),
        [is_announced("b")],
        "not yet"
    );
    let fall = machine.handle(now, failed(&first));
    assert_eq!(fall, [fallen("a"), Action::Settled]);
}

#[test]
fn what_stays_is_not_touched_and_what_is_new_comes_before_what_goes() {
    let now = Instant::now();
    let mut machine = announced(now, &[entry("a"), entry("b")]);
    let same = Input::Replace(vec![entry("a"), entry("b")]);
    assert_eq!(machine.handle(now, same), [Action::Settled]);
    let next = Input::Replace(vec![entry("b"), entry("c")]);
    assert_eq!(machine.handle(now, next), [publish(&entry("c"))]);
    let removal = machine.handle(now, published());
    assert_eq!(removal[0], is_announced("c"));
    assert!(removal.contains(&Action::Settled), "{removal:?}");
    let gone = machine.handle(now, published());
    assert_eq!(gone[1], Action::Gone(dir("a")));
}

#[test]
fn what_changes_is_published_on_the_lease_it_hangs_on() {
    let now = Instant::now();
    let mut machine = announced(now, &[entry("a"), entry("b")]);
    let moved = at("a", 2);
    let next = Input::Replace(vec![moved.clone(), entry("b")]);
    assert_eq!(machine.handle(now, next), [publish(&moved)]);
    assert_eq!(
        machine.handle(now, published()),
        [is_announced("a"), Action::Settled]
    );
}

#[test]
fn checks_that_are_the_same_keep_their_verdict_and_forget_the_old_address() {
    let now = Instant::now();
    let mut machine = instances(&[checked(entry("a"), 2)]);
    let first = round(&machine.handle(now, Input::Start));
    machine.handle(now, passed(&first));
    machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    machine.handle(now, published());
    let next = now + INTERVAL;
    let second = round(&machine.handle(next, Input::Tick));
    assert_eq!(machine.handle(next, failed(&second)), [], "one of two");
    let next = next + INTERVAL;
    let late = round(&machine.handle(next, Input::Tick));
    let moved = checked(at("a", 2), 2);
    let there = machine.handle(next, Input::Replace(vec![moved.clone()]));
    assert!(there.contains(&publish(&moved)), "{there:?}");
    let there = round(&there);
    assert_eq!(
        machine.handle(next, failed(&late)),
        [],
        "of the old address"
    );
    assert_eq!(machine.handle(next, failed(&there)), [], "the first");
}

#[test]
fn new_checks_do_not_withdraw_before_they_have_failed() {
    let now = Instant::now();
    let mut machine = announced(now, &[entry("a")]);
    let next = machine.handle(now, Input::Replace(vec![checked(entry("a"), 1)]));
    let first = round(&next);
    let revoke = on(lease::Action::Revoke(A));
    let fall = machine.handle(now, failed(&first));
    assert!(fall.contains(&revoke), "{fall:?}");
    // Without checks again, it is announced again.
    machine.handle(now, store(lease::Answer::Revoked(A, Ok(()))));
    let back = machine.handle(now, Input::Replace(vec![entry("a")]));
    assert_eq!(back, [on(lease::Action::Grant(TTL, None))]);
}

#[test]
fn a_shared_instance_has_a_lease_of_its_own() {
    let now = Instant::now();
    let shared = Entry {
        shared: Some(OTHERS),
        ..entry("a")
    };
    let holder = || Holder::Shared(dir("a"));
    let mut machine = announced(now, &[entry("a"), entry("b")]);
    let grant = Action::Lease(holder(), lease::Action::Grant(TTL, Some(OTHERS)));
    let next = Input::Replace(vec![shared.clone(), entry("b")]);
    let next = machine.handle(now, next);
    assert!(
        matches!(&next[..], [Action::Lease(Holder::Common, lease::Action::Publish(A, p)), last] if p.fields.is_empty() && *last == grant),
        "{next:?}"
    );
    let granted = lease::Answer::Granted(Ok((OTHERS, TTL)));
    machine.handle(now, Input::Lease(holder(), granted));
    let there = || Input::Lease(holder(), lease::Answer::Published(OTHERS, Ok(())));
    let announced = Action::Lease(holder(), lease::Action::Announced(dir("a")));
    let settled = [announced, Action::Settled];
    assert_eq!(machine.handle(now, there()), settled);
    let left = machine.handle(now, published());
    let again = lease::Action::Publish(OTHERS, shared.publication.clone());
    let removed = on(lease::Action::Removed(dir("a")));
    assert_eq!(
        left,
        [removed, Action::Lease(holder(), again)],
        "in any case"
    );
    let stop = machine.handle(now, Input::Stop);
    assert!(stop.contains(&on(lease::Action::Revoke(A))), "{stop:?}");
    assert!(!stop.contains(&Action::Withdrawn));
    let end = machine.handle(now, store(lease::Answer::Revoked(A, Ok(()))));
    assert_eq!(end.last(), Some(&Action::Withdrawn));
}

/// A machine whose instance `name` hangs on the shared lease beside `b`, which hangs on the process's own.
fn sharing(now: Instant, name: &str) -> (InstanceSet, Entry, Holder) {
    let shared = Entry {
        shared: Some(OTHERS),
        ..entry(name)
    };
    let holder = Holder::Shared(dir(name));
    let mut machine = announced(now, &[entry(name), entry("b")]);
    machine.handle(now, Input::Replace(vec![shared.clone(), entry("b")]));
    let granted = lease::Answer::Granted(Ok((OTHERS, TTL)));
    machine.handle(now, Input::Lease(holder.clone(), granted));
    let there = lease::Answer::Published(OTHERS, Ok(()));
    machine.handle(now, Input::Lease(holder.clone(), there));
    (machine, shared, holder)
}

#[test]
fn an_instance_that_goes_is_not_published_anew_when_it_leaves_the_common_lease() {
    let now = Instant::now();
    // Its withdrawal from the common lease has no answer yet when both are removed. The answer comes as soon as `b` is.
    let (mut machine, shared, holder) = sharing(now, "c");
    machine.handle(now, store(lease::Answer::Published(A, Err(Failure::Lost))));
    machine.handle(now, store(lease::Answer::Granted(Err(Failure::Failed))));
    let gone = machine.handle(now, Input::Replace(Vec::new()));
    assert!(gone.contains(&on(lease::Action::Withdrawn)), "{gone:?}");
    let again = lease::Action::Publish(OTHERS, shared.publication);
    assert!(!gone.contains(&Action::Lease(holder, again)), "{gone:?}");
}

#[test]
fn a_shared_lease_that_is_lost_during_the_drain_is_left_to_the_others() {
    let now = Instant::now();
    let (mut machine, _, holder) = sharing(now, "a");
    machine.handle(now, published());
    let there = lease::Answer::Published(OTHERS, Ok(()));
    machine.handle(now, Input::Lease(holder.clone(), there));
    machine.handle(now, Input::Drain);
    let lost = machine.handle(now + TTL, Input::Tick);
    let lost_ours = Action::Lease(holder.clone(), lease::Action::Lost(OTHERS));
    assert!(lost.contains(&lost_ours), "{lost:?}");
    let granted = lease::Answer::Granted(Ok((OTHERS, TTL)));
    let next = machine.handle(now + TTL, Input::Lease(holder.clone(), granted));
    let withdrawn = Action::Lease(holder, lease::Action::Withdrawn);
    assert_eq!(next.first(), Some(&withdrawn), "{next:?}");
}

#[test]
fn a_conflict_of_one_of_several_stops_nobody() {
    let mut now = Instant::now();
    let mut machine = instances(&[entry("a"), entry("b")]);
    machine.handle(now, Input::Start);
    machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    let conflict = || store(lease::Answer::Published(A, Err(Failure::Conflict)));
    let next = machine.handle(now, conflict());
    assert_eq!(
        next,
        [on(lease::Action::Conflict(dir("a"))), publish(&entry("b"))]
    );
    assert_eq!(
        machine.handle(now, published()),
        [is_announced("b"), Action::Settled]
    );
    for _ in 0..20 {
        now = machine.deadline().unwrap();
        for action in machine.handle(now, Input::Tick) {
            let answer = match action {
                Action::Lease(_, lease::Action::KeepAlive(_)) => {
                    store(lease::Answer::KeptAlive(A, Ok(TTL)))
                }
                Action::Lease(_, lease::Action::Publish(..)) => conflict(),
                other => panic!("{other:?}"),
            };
            let then = machine.handle(now, answer);
            assert!(!then.contains(&Action::Refused(dir("a"))));
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Good,
    Fails,
    /// It is done, and nobody hears of it.
    DoneSilently,
    /// It is not done, and nobody hears of it.
    Lost,
}

/// A store and checks whose answers may be lost, in virtual time.
struct World {
    now: Instant,
    machine: InstanceSet,
    open: Vec<Action>,
    /// What stands on each lease that lives.
    store: BTreeMap<LeaseId, BTreeSet<Prefix>>,
    granted: i64,
    withdrawn: bool,
}

impl World {
    fn new(entries: &[Entry]) -> Self {
        let mut world = Self {
            now: Instant::now(),
            machine: instances(entries),
            open: Vec::new(),
            store: BTreeMap::new(),
            granted: 0,
            withdrawn: false,
        };
        world.give(Input::Start);
        world
    }

    fn give(&mut self, input: Input) {
        for action in self.machine.handle(self.now, input) {
            self.withdrawn |= action == Action::Withdrawn;
            self.open.push(action);
        }
    }

    /// What was asked for first is answered, or time passes to the next deadline.
    fn answer(&mut self, answer: Answer) {
        if self.open.is_empty() {
            let due = self.machine.deadline().expect("it goes on for ever");
            self.now = self.now.max(due);
            return self.give(Input::Tick);
        }
        let input = match self.open.remove(0) {
            Action::Probe(round) if answer == Answer::Good => passed(&round),
            Action::Probe(round) if answer == Answer::Fails => failed(&round),
            Action::Lease(holder, action) => match self.reply(action, answer) {
                Some(input) => Input::Lease(holder, input),
                None => return,
            },
            _ => return,
        };
        self.give(input);
    }

    fn reply(&mut self, action: lease::Action, answer: Answer) -> Option<lease::Answer> {
        let is_done = matches!(answer, Answer::Good | Answer::DoneSilently);
        let known = |store: &BTreeMap<_, _>, lease| match (is_done, store.contains_key(lease)) {
            (true, true) => Ok(()),
            (true, false) => Err(Failure::Lost),
            (false, _) => Err(Failure::Failed),
        };
        let input = match action {
            lease::Action::Grant(_, id) if is_done => {
                self.granted += 1;
                let lease = id.unwrap_or(LeaseId(self.granted));
                self.store.entry(lease).or_default();
                lease::Answer::Granted(Ok((lease, TTL)))
            }
            lease::Action::Grant(..) => lease::Answer::Granted(Err(Failure::Failed)),
            lease::Action::Publish(lease, publication) => {
                let known = known(&self.store, &lease);
                if known.is_ok() {
                    let dir = publication.dir;
                    for dirs in self.store.values_mut() {
                        dirs.remove(&dir);
                    }
                    if !publication.fields.is_empty() {
                        self.store.entry(lease).or_default().insert(dir);
                    }
                }
                lease::Answer::Published(lease, known)
            }
            lease::Action::KeepAlive(lease) => {
                lease::Answer::KeptAlive(lease, known(&self.store, &lease).map(|()| TTL))
            }
            lease::Action::Verify(lease, publications) => {
                let stands = |publication: Publication| {
                    let standing = Standing {
                        is_whole: self.store[&lease].contains(&publication.dir),
                        state: None,
                    };
                    (publication.dir, standing)
                };
                let found = known(&self.store, &lease)
                    .map(|()| publications.into_iter().map(stands).collect());
                lease::Answer::Verified(lease, found)
            }
            lease::Action::Revoke(lease) => {
                let known = known(&self.store, &lease);
                if is_done {
                    self.store.remove(&lease);
                }
                lease::Answer::Revoked(lease, known)
            }
            lease::Action::Announced(_) | lease::Action::Removed(_) => return None,
            lease::Action::Repaired(_) | lease::Action::Conflict(_) => return None,
            lease::Action::Lost(_) | lease::Action::Withdrawn => return None,
        };
        let is_heard = matches!(answer, Answer::Good | Answer::Fails);
        is_heard.then_some(input)
    }
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        4 => Just(Answer::Good),
        1 => Just(Answer::Fails),
        1 => Just(Answer::DoneSilently),
        2 => Just(Answer::Lost)
    ];
    proptest::collection::vec(answer, 0..100)
}

proptest! {
    /// Whichever answers of the store and of checks are lost: there is always a deadline, and as soon as answers come
    /// again, every instance stands; and after a stop none of ours does.
    #[test]
    fn lost_answers_hold_nothing_up(answers in answers(), late in answers()) {
        let shared = Entry { shared: Some(OTHERS), ..entry("s") };
        let entries = [entry("a"), checked(entry("b"), 1), shared];
        let mut world = World::new(&entries);
        for answer in answers {
            world.answer(answer);
        }
        for _ in 0..200 {
            world.answer(Answer::Good);
        }
        let stands: BTreeSet<Prefix> = world.store.values().flatten().cloned().collect();
        prop_assert_eq!(stands, ["a", "b", "s"].map(dir).into());
        world.give(Input::Stop);
        for answer in late {
            if !world.withdrawn {
                world.answer(answer);
            }
        }
        for _ in 0..50 {
            if !world.withdrawn {
                world.answer(Answer::Good);
            }
        }
        prop_assert!(world.withdrawn);
    }
}

#[test]
fn a_set_that_is_still_to_come_may_be_empty() {
    let now = Instant::now();
    let mut machine = instances(&[]);
    machine.expect_more();
    assert_eq!(machine.handle(now, Input::Start), []);
    let empty = machine.handle(now, Input::Replace(Vec::new()));
    assert_eq!(empty, [Action::Settled]);

    let mut machine = instances(&[]);
    machine.expect_more();
    machine.handle(now, Input::Start);
    machine.handle(now, Input::Replace(vec![entry("a")]));
    let granted = machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
    assert_eq!(granted, [publish(&entry("a"))]);
    let last = machine.handle(now, published());
    assert_eq!(last, [is_announced("a"), Action::Settled]);
}

/// Others may come, so that a place that is taken ends nothing.
#[test]
fn the_only_instance_of_a_set_that_goes_on_is_not_refused() {
    for expects_more in [false, true] {
        let mut now = Instant::now();
        let mut machine = instances(&[entry("a")]);
        if expects_more {
            machine.expect_more();
        }
        machine.handle(now, Input::Start);
        machine.handle(now, Input::Replace(vec![entry("a")]));
        machine.handle(now, store(lease::Answer::Granted(Ok((A, TTL)))));
        let conflict = || store(lease::Answer::Published(A, Err(Failure::Conflict)));
        let mut told = machine.handle(now, conflict());
        for _ in 0..20 {
            now = machine.deadline().unwrap();
            for action in machine.handle(now, Input::Tick) {
                let answer = match action {
                    Action::Lease(_, lease::Action::KeepAlive(_)) => {
                        store(lease::Answer::KeptAlive(A, Ok(TTL)))
                    }
                    Action::Lease(_, lease::Action::Publish(..)) => conflict(),
                    other => {
                        told.push(other);
                        continue;
                    }
                };
                told.extend(machine.handle(now, answer));
            }
        }
        let is_refused = told.contains(&Action::Refused(dir("a")));
        assert_eq!(is_refused, !expects_more, "{told:?}");
    }
}
