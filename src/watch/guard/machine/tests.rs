//! The guard in virtual time: tables, and properties against a catalog that is folded beside it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::guard::{OnEmpty, Percent};
use crate::model::instance::State;
use crate::model::keyspace;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn instance(service: &str, id: &str, state: &str) -> Arc<Instance> {
    let mut fields = vec![("ip", "10.0.0.1"), ("port", "80")];
    if state != "up" {
        fields.push(("state", state));
    }
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name, value.as_bytes()));
    Arc::new(keyspace::decode(service, id, fields).unwrap().unwrap())
}

fn here(service: &str, ids: &str) -> Vec<Arc<Instance>> {
    let ids = ids.split(' ').filter(|id| !id.is_empty());
    ids.map(|id| instance(service, id, "up")).collect()
}

fn puts(service: &str, ids: &str) -> Vec<Change> {
    let change = |one: Arc<Instance>| Change {
        service: one.service.clone(),
        id: one.id.clone(),
        now: Some(one),
    };
    here(service, ids).into_iter().map(change).collect()
}

fn gone(service: &str, ids: &str) -> Vec<Change> {
    let mut changes = puts(service, ids);
    for change in &mut changes {
        change.now = None;
    }
    changes
}

fn held(guard: &Guard) -> String {
    let ids: Vec<&str> = guard.held().map(|one| one.id.as_str()).collect();
    ids.join(" ")
}

/// A guard that has seen these instances of `web`.
fn guard(rules: Rules, ids: &str) -> (Guard, Instant) {
    let (mut guard, now) = (Guard::new(rules), Instant::now());
    guard.handle(now, Input::Started(here("web", ids), BeforeStart::NoFile));
    (guard, now)
}

#[test]
fn what_is_held_of_what_is_lost() {
    let services = Rules::of_services;
    let limits = |min_instances, max_drop| Rules {
        min_instances,
        max_drop: Percent(max_drop),
        on_empty: OnEmpty::Render,
        ..services()
    };
    for (rules, before, lost, want) in [
        (services(), "a", "a", "a"),
        (services(), "a b", "a", ""),
        (services(), "a b", "a b", "a b"),
        (services(), "a b c", "a", ""),
        (services(), "a b c", "a b", "a b"),
        (services(), "a b c d", "a b", ""),
        (services(), "a b c d", "a b c", "a b c"),
        (limits(0, 100), "a b", "a b", ""),
        (limits(0, 0), "a b c d", "a", "a"),
        (limits(2, 100), "a b c", "a", ""),
        (limits(2, 100), "a b c", "a b", "a b"),
        (limits(0, 50), "a b", "a b", "a b"),
        (Rules::none(), "a b c", "a b c", ""),
    ] {
        let (mut guard, now) = guard(rules.clone(), before);
        guard.handle(now, Input::Changed(gone("web", lost)));
        assert_eq!(held(&guard), want, "{rules:?}: {lost} of {before}");
        let (mut again, now) = self::guard(rules.clone(), before);
        let left = here("web", before)
            .into_iter()
            .filter(|one| !lost.contains(one.id.as_str()));
        again.handle(now, Input::Reset(left.collect()));
        assert_eq!(held(&again), want, "a reset is the same: {rules:?}");
    }
}

#[test]
fn losses_count_together_within_the_window_only() {
    for (pause, want) in [(s(29), "a b c"), (s(30), "")] {
        let (mut guard, now) = guard(Rules::of_services(), "a b c d");
        guard.handle(now, Input::Changed(gone("web", "a b")));
        guard.handle(now + pause, Input::Changed(gone("web", "c")));
        assert_eq!(held(&guard), want, "{pause:?}");
    }
}

#[test]
fn each_service_is_judged_on_its_own() {
    let (mut guard, now) = guard(Rules::of_services(), "a b c d e f g h");
    guard.handle(now, Input::Changed(puts("db", "x y z")));
    let events = guard.handle(now, Input::Changed(gone("db", "x y z")));
    assert_eq!(held(&guard), "x y z");
    assert!(matches!(
        &events[..],
        [Event::Held {
            why: HoldReason::Empty,
            left: 0,
            ..
        }]
    ));
    let web: ServiceName = "web".parse().unwrap();
    assert_eq!((guard.shown()[&web], guard.deadline()), (8, None));
}

#[test]
fn a_hold_ends_with_its_time_with_a_return_or_by_hand() {
    let lose = || {
        let (mut guard, now) = guard(Rules::of_services(), "a b c");
        guard.handle(now, Input::Changed(gone("web", "a b")));
        assert_eq!(guard.deadline(), Some(now + s(60)));
        (guard, now)
    };
    let (mut guard, now) = lose();
    assert_eq!(guard.handle(now + s(59), Input::Tick), []);
    let over = guard.handle(now + s(60), Input::Tick);
    assert!(
        matches!(&over[..], [Event::Freed { end: EndReason::Over, lost, .. }] if lost.len() == 2)
    );
    assert_eq!((held(&guard).as_str(), guard.deadline()), ("", None));

    let (mut guard, now) = lose();
    assert_eq!(guard.handle(now, Input::Changed(puts("web", "a"))), []);
    assert_eq!(held(&guard), "b");
    let back = guard.handle(now, Input::Changed(puts("web", "b")));
    assert!(
        matches!(&back[..], [Event::Freed { end: EndReason::Returned, lost, .. }] if lost.is_empty())
    );

    let (mut guard, now) = lose();
    let hand = guard.handle(now, Input::Release(None));
    assert!(matches!(
        &hand[..],
        [Event::Freed {
            end: EndReason::ByHand,
            ..
        }]
    ));
    assert_eq!((held(&guard).as_str(), guard.counters().by_hand), ("", 1));
    assert_eq!(guard.handle(now, Input::Release(None)), []);
}

#[test]
fn one_service_is_released_and_the_others_are_not() {
    let (mut guard, now) = guard(Rules::of_services(), "a");
    guard.handle(now, Input::Changed(puts("db", "x")));
    guard.handle(now, Input::Reset(Vec::new()));
    assert_eq!(held(&guard), "x a");
    let db = || Input::Release(Some("db".parse().unwrap()));
    assert_eq!(guard.handle(now, db()).len(), 1);
    assert_eq!((held(&guard).as_str(), guard.counters().by_hand), ("a", 1));
    assert_eq!(guard.handle(now, db()), []);
    assert_eq!(held(&guard), "a");
}

#[test]
fn the_last_one_that_is_lost_is_held_until_one_returns_and_then_for_a_hold() {
    let (mut guard, now) = guard(Rules::of_services(), "a b c");
    guard.handle(now, Input::Changed(gone("web", "a b")));
    let all = guard.handle(now + s(10), Input::Changed(gone("web", "c")));
    assert!(matches!(
        &all[..],
        [Event::Held {
            why: HoldReason::Empty,
            ..
        }]
    ));
    assert_eq!((guard.deadline(), guard.counters().holds), (None, 1));
    guard.handle(now + s(10_000), Input::Tick);
    assert_eq!((held(&guard).as_str(), guard.counters().held), ("a b c", 3));
    guard.handle(now + s(20_000), Input::Changed(puts("web", "b")));
    assert_eq!(held(&guard), "a c");
    assert_eq!(guard.deadline(), Some(now + s(20_060)));
    guard.handle(now + s(20_060), Input::Tick);
    assert_eq!(held(&guard), "");
}

#[test]
fn the_reason_of_a_hold_is_that_of_the_present() {
    let (mut guard, now) = guard(Rules::of_services(), "a b c d");
    let mut why_after = |changes| {
        guard.handle(now, Input::Changed(changes));
        guard.status().first().map(|status| status.why)
    };
    assert_eq!(
        why_after(gone("web", "a b c d")),
        Some(Some(HoldReason::Empty))
    );
    assert_eq!(why_after(puts("web", "a")), Some(Some(HoldReason::Drop)));
    assert_eq!(why_after(puts("web", "b")), Some(None));
    assert_eq!(why_after(gone("web", "a b")), Some(Some(HoldReason::Empty)));
    assert_eq!(why_after(puts("web", "a b c d")), None);
}

#[test]
fn a_clean_stop_of_the_last_one_ends_nothing_that_is_held_and_is_not_held() {
    let (mut guard, now) = guard(Rules::of_services(), "a b c");
    let drain = |id| Change {
        now: Some(instance("web", id, "drain")),
        ..puts("web", id).remove(0)
    };
    guard.handle(now, Input::Changed(gone("web", "a")));
    guard.handle(now, Input::Changed(vec![drain("b"), drain("c")]));
    guard.handle(now, Input::Changed(gone("web", "b c")));
    assert_eq!(held(&guard), "", "a was within the limit, b and c said so");
}

#[test]
fn what_the_file_shows_and_the_store_lacks_after_a_start_freezes_it() {
    let shown = |pairs: &[(&str, usize)]| {
        let pairs = pairs
            .iter()
            .map(|(name, count)| (name.parse().unwrap(), *count));
        BeforeStart::File(Some(pairs.collect()), Vec::new())
    };
    for (before, here_now, want) in [
        (BeforeStart::NoFile, "", false),
        (BeforeStart::File(None, Vec::new()), "", true),
        (BeforeStart::File(None, Vec::new()), "a", false),
        (shown(&[]), "", false),
        (shown(&[("web", 3)]), "", true),
        (shown(&[("web", 3)]), "a", false),
        (shown(&[("web", 3), ("db", 1)]), "a b c", true),
        (shown(&[("web", 3), ("db", 0)]), "a b c", false),
    ] {
        let mut guard = Guard::new(Rules::of_services());
        let said = format!("{before:?} {here_now}");
        let events = guard.handle(
            Instant::now(),
            Input::Started(here("web", here_now), before),
        );
        assert_eq!(
            (guard.is_frozen(), events.len()),
            (want, usize::from(want)),
            "{said}"
        );
        assert_eq!(
            guard.handle(Instant::now(), Input::Release(None)).len(),
            usize::from(want)
        );
        assert!(!guard.is_frozen());
    }
}

#[test]
fn a_frozen_file_follows_again_when_enough_returned_or_after_a_hold() {
    let mut guard = Guard::new(Rules::of_services());
    let now = Instant::now();
    let before = BeforeStart::File(Some([("web".parse().unwrap(), 4)].into()), Vec::new());
    guard.handle(now, Input::Started(Vec::new(), before));
    guard.handle(now + s(9), Input::Changed(puts("web", "a")));
    assert_eq!(
        (guard.is_frozen(), guard.deadline()),
        (true, Some(now + s(69)))
    );
    guard.handle(now + s(10), Input::Changed(gone("web", "a")));
    assert_eq!((guard.is_frozen(), guard.deadline()), (true, None));
    guard.handle(now + s(11), Input::Changed(puts("web", "a")));
    let back = guard.handle(now + s(12), Input::Changed(puts("web", "b")));
    assert!(back.contains(&Event::Thawed(EndReason::Returned)));
}

#[test]
fn what_was_there_before_the_start_is_held_for_a_service_that_is_empty() {
    let drained = vec![instance("db", "x", "drain")];
    let cut = [here("db", "x y"), vec![instance("db", "z", "maint")]].concat();
    for (last, held_then, is_frozen) in [
        (Vec::new(), "", true),
        (here("web", "a"), "", true),
        (drained, "", false),
        (cut, "x y", false),
    ] {
        let (mut guard, now) = (Guard::new(Rules::of_services()), Instant::now());
        let shown = [("web".parse().unwrap(), 2), ("db".parse().unwrap(), 3)];
        let before = BeforeStart::File(Some(shown.into()), last);
        let said = format!("{before:?}");
        guard.handle(now, Input::Started(here("web", "b"), before));
        assert_eq!(
            (held(&guard).as_str(), guard.is_frozen()),
            (held_then, is_frozen),
            "{said}"
        );
        let holds = guard.counters().holds;
        assert_eq!(
            holds,
            u64::from(is_frozen || !held_then.is_empty()),
            "{said}"
        );
        guard.handle(now + s(1), Input::Changed(puts("db", "y")));
        guard.handle(now + s(61), Input::Tick);
        assert_eq!(
            (held(&guard).as_str(), guard.is_frozen()),
            ("", false),
            "{said}"
        );
    }
}

#[test]
fn an_heir_goes_on_with_what_it_follows() {
    let (mut old, now) = (Guard::new(Rules::of_services()), Instant::now());
    let both = [here("web", "a b c d"), here("db", "x")].concat();
    old.handle(now, Input::Started(both, BeforeStart::NoFile));
    let lost = [gone("web", "a b c"), gone("db", "x")].concat();
    old.handle(now, Input::Changed(lost));
    assert_eq!(held(&old), "x a b c");
    let web = |one: &Instance| one.service.as_str() == "web";
    let is_web = |service: &ServiceName| service.as_str() == "web";

    // What is followed is held on to, for no longer than before.
    let mut successor = Guard::new(Rules::of_services());
    successor.inherit(&old, web);
    successor.continue_counters(&old);
    assert_eq!(successor.start_with_inherited(now + s(1), is_web), []);
    assert_eq!(
        (held(&successor).as_str(), successor.deadline()),
        ("a b c", Some(now + s(60)))
    );
    assert_eq!(successor.counters(), old.counters());
    // What was there before is lost if it is not there after.
    let events = successor.handle(now + s(2), Input::Reset(here("web", "e")));
    assert_eq!((events, held(&successor).as_str()), (Vec::new(), "a b c d"));
    // Of two previous guards, the longer hold counts, and who is there is not held.
    let mut two = Guard::new(Rules::of_services());
    two.inherit(&old, web);
    two.inherit(&guard(Rules::of_services(), "b e").0, web);
    assert_eq!((held(&two).as_str(), two.shown()["web"]), ("a c", 5));
    // What nobody follows is given up; other limits hold nothing.
    let given_up = old.end_unfollowed(|service| successor.holds(service));
    assert!(
        matches!(&given_up[..], [Event::Freed { service, end: EndReason::Unfollowed, .. }] if service.as_str() == "db"),
        "{given_up:?}"
    );
    let mut none = Guard::new(Rules::none());
    none.inherit(&old, web);
    let ended = none.start_with_inherited(now, is_web);
    assert!(
        matches!(
            &ended[..],
            [Event::Freed {
                end: EndReason::Rules,
                ..
            }]
        ),
        "{ended:?}"
    );
    assert_eq!(held(&none), "");
}

#[test]
fn an_heir_goes_on_to_be_frozen_for_what_it_follows() {
    let (mut old, now) = (Guard::new(Rules::of_services()), Instant::now());
    let before = BeforeStart::File(Some([("web".parse().unwrap(), 4)].into()), Vec::new());
    old.handle(now, Input::Started(Vec::new(), before));
    for (follows, want) in [
        (true, vec![]),
        (false, vec![Event::Thawed(EndReason::Rules)]),
    ] {
        let mut successor = Guard::new(Rules::of_services());
        successor.inherit(&old, |_| follows);
        assert_eq!(successor.start_with_inherited(now, |_| follows), want);
        assert_eq!(successor.is_frozen(), follows);
    }
    // Without a file there is nothing to keep.
    let gone = old.handle(now, Input::NoFile);
    assert_eq!(
        (gone, old.is_frozen()),
        (vec![Event::Thawed(EndReason::NoFile)], false)
    );
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, bool),
    Gone(Vec<usize>),
    Reset(Vec<usize>),
    Release,
    Wait(u64),
}

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || proptest::collection::vec(0..IDS.len(), 1..5);
    let step = prop_oneof![
        4 => (0..IDS.len(), proptest::bool::weighted(0.2)).prop_map(|(id, drains)| Step::Put(id, drains)),
        4 => some().prop_map(Step::Gone),
        1 => some().prop_map(Step::Reset),
        1 => Just(Step::Release),
        3 => (0u64..50).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

fn rules() -> impl Strategy<Value = Rules> {
    let on_empty = prop_oneof![Just(OnEmpty::Hold), Just(OnEmpty::Render)];
    (on_empty, 0usize..4, 0u8..=100).prop_map(|(on_empty, min_instances, max_drop)| Rules {
        on_empty,
        min_instances,
        max_drop: Percent(max_drop),
        ..Rules::none()
    })
}

/// A catalog of one service beside the guard, and what each absent instance was when it went.
#[derive(Default)]
struct Model {
    here: BTreeMap<InstanceId, Arc<Instance>>,
    clean: BTreeSet<InstanceId>,
    lost: BTreeMap<InstanceId, Instant>,
    not_empty_since: Option<Instant>,
}

impl Model {
    fn put(&mut self, one: Arc<Instance>) {
        self.clean.remove(&one.id);
        self.lost.remove(&one.id);
        self.here.insert(one.id.clone(), one);
    }

    fn gone(&mut self, id: &InstanceId, now: Instant) {
        match self.here.remove(id) {
            Some(one) if one.state == State::Up => drop(self.lost.insert(id.clone(), now)),
            Some(one) => drop(self.clean.insert(one.id.clone())),
            None => {}
        }
    }

    fn note(&mut self, now: Instant) {
        let since = self.not_empty_since.unwrap_or(now);
        self.not_empty_since = (!self.here.is_empty()).then_some(since);
    }
}

proptest! {
    #[test]
    fn properties(rules in rules(), script in steps()) {
        let (mut guard, mut now) = (Guard::new(rules.clone()), Instant::now());
        guard.handle(now, Input::Started(Vec::new(), BeforeStart::NoFile));
        let (mut model, mut held_since) = (Model::default(), BTreeMap::new());
        for step in script {
            // Time passes as a loop sees it: it wakes at every deadline.
            if let Step::Wait(seconds) = step {
                let end = now + s(seconds);
                while let Some(at) = guard.deadline().filter(|at| *at <= end) {
                    now = at.max(now);
                    guard.handle(now, Input::Tick);
                    prop_assert!(guard.deadline().is_none_or(|next| next > at), "a deadline that stands still");
                }
                now = end;
            } else {
                let held_before: BTreeSet<InstanceId> = guard.held().map(|one| one.id.clone()).collect();
                let input = match &step {
                    Step::Put(id, drains) => {
                        let one = instance("web", IDS[*id], if *drains { "drain" } else { "up" });
                        model.put(Arc::clone(&one));
                        Input::Changed(vec![Change { service: one.service.clone(), id: one.id.clone(), now: Some(one) }])
                    }
                    Step::Gone(ids) => {
                        let changes: Vec<Change> = ids.iter().flat_map(|id| gone("web", IDS[*id])).collect();
                        for change in &changes {
                            model.gone(&change.id, now);
                        }
                        Input::Changed(changes)
                    }
                    Step::Reset(ids) => {
                        let left: BTreeSet<&str> = ids.iter().map(|id| IDS[*id]).collect();
                        let all: Vec<Arc<Instance>> = model.here.values().cloned().collect();
                        for one in all.iter().filter(|one| !left.contains(one.id.as_str())) {
                            model.gone(&one.id, now);
                        }
                        Input::Reset(model.here.values().cloned().collect())
                    }
                    Step::Release => Input::Release(None),
                    Step::Wait(_) => continue,
                };
                let events = guard.handle(now, input);
                if matches!(step, Step::Release) {
                    prop_assert_eq!(guard.held().count(), 0, "a release leaves nothing");
                }
                // Within the limit nothing is held.
                let recent = model.lost.values().filter(|at| now - **at < rules.window).count();
                let left = model.here.len();
                let exceeds = rules.max_drop.is_exceeded_by(recent, left + recent)
                    || left < rules.min_instances
                    || (left == 0 && rules.on_empty == OnEmpty::Hold);
                if !exceeds && held_before.is_empty() {
                    prop_assert_eq!(guard.held().count(), 0, "{:?}", events);
                }
            }
            model.note(now);
            held_since.retain(|id, _| guard.held().any(|one| one.id == *id));
            for one in guard.held() {
                prop_assert!(!model.here.contains_key(&one.id), "shown twice");
                prop_assert!(!model.clean.contains(&one.id), "a clean stop is held");
                prop_assert_eq!(one.state, State::Up);
                // Nothing is held longer than `hold`, but for what nothing is left of, and what the first return begins.
                let held = *held_since.entry(one.id.clone()).or_insert(now);
                let since = match rules.on_empty {
                    OnEmpty::Hold => held.max(model.not_empty_since.unwrap_or(now)),
                    OnEmpty::Render => held,
                };
                prop_assert!(now <= since + rules.hold, "held for too long");
            }
            let waits = guard.status().iter().any(|status| status.until.is_none());
            prop_assert!(!waits || (model.here.is_empty() && rules.on_empty == OnEmpty::Hold));
            let shown = guard.shown().values().sum::<usize>();
            prop_assert_eq!(shown, model.here.len() + guard.held().count());
        }
    }
}
