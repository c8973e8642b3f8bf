use proptest::prelude::*;

use super::*;
use crate::model::catalog::Catalog;
use crate::model::key::{Key, Value};
use crate::model::update::{Change, Update};

fn path(text: &str) -> Prefix {
    Prefix::parse(text).unwrap()
}

/// Two targets in one scope, `web` and `db`, whose first publishes went well at revision 1.
fn served(now: Instant) -> AppliedRevisions {
    let (web, db) = ([path("/services/web")], [path("/services/db")]);
    let mut machine = AppliedRevisions::new(&[path("/services")], &[&web, &db], 1);
    machine.store_updated(now, 0, Revision(1), UpdateKind::Ordinary, |_| true);
    for target in [0, 1] {
        machine.publish_started(target);
        machine.publish_ended(now, target, true);
    }
    assert_eq!(written(&mut machine, now), Some([1, 1]));
    machine
}

/// The revisions of `web` and `db` that are written at this time, if a write is due.
fn written(machine: &mut AppliedRevisions, now: Instant) -> Option<[u64; 2]> {
    let applied = machine.take_due_entry(now)?.applied;
    let of = |name: &str| applied[&path("/services").join(name)].0;
    Some(["web", "db"].map(of))
}

fn drain(machine: &mut AppliedRevisions, now: Instant, revision: u64) {
    machine.store_updated(now, 0, Revision(revision), UpdateKind::Drain, |t| t == 0);
}

#[test]
fn nothing_is_written_before_the_store_has_sent_every_scope() {
    let now = Instant::now();
    let targets = [path("/a"), path("/b")];
    let mut machine = AppliedRevisions::new(&targets, &[&targets], 1);
    machine.store_updated(now, 0, Revision(3), UpdateKind::Ordinary, |_| true);
    assert_eq!(
        (machine.write_at(), machine.take_due_entry(now)),
        (None, None)
    );
    machine.store_updated(now, 1, Revision(4), UpdateKind::Ordinary, |_| true);
    let applied = machine.take_due_entry(now).unwrap().applied;
    assert!(applied.values().all(|revision| *revision == Revision(0)));
    machine.publish_started(0);
    machine.publish_ended(now, 0, true);
    // Each path has the revision of its own scope: the other one may have more to tell.
    let applied: Vec<u64> = machine
        .take_due_entry(now)
        .unwrap()
        .applied
        .into_values()
        .map(|r| r.0)
        .collect();
    assert_eq!(applied, [3, 4]);
}

#[test]
fn a_drain_is_written_as_soon_as_it_is_in_use() {
    let now = Instant::now();
    let mut machine = served(now);
    drain(&mut machine, now, 2);
    machine.publish_started(0);
    assert_eq!(
        written(&mut machine, now),
        Some([1, 2]),
        "whom it does not concern"
    );
    machine.publish_ended(now, 0, true);
    assert_eq!(written(&mut machine, now), Some([2, 2]));
    assert_eq!(machine.write_at(), None);
}

#[test]
fn a_drain_is_written_at_once_also_after_a_config_reload() {
    let now = Instant::now();
    let (scopes, web, db) = (
        [path("/services")],
        [path("/services/web")],
        [path("/services/db")],
    );
    // Before its publish has begun, and while it is under way.
    for has_begun in [false, true] {
        let mut machine = served(now);
        drain(&mut machine, now, 2);
        if has_begun {
            machine.publish_started(0);
        }
        machine.replace(&scopes, &[&web, &db], true);
        machine.publish_started(0);
        machine.publish_started(1);
        machine.publish_ended(now, 1, true);
        machine.publish_ended(now, 0, true);
        assert_eq!(written(&mut machine, now), Some([2, 2]), "{has_begun}");
    }
}

#[test]
fn a_drain_whose_publish_fails_is_not_written_until_one_succeeds() {
    let now = Instant::now();
    let mut machine = served(now);
    drain(&mut machine, now, 2);
    machine.publish_started(0);
    machine.publish_ended(now, 0, false);
    machine.store_updated(now, 0, Revision(3), UpdateKind::Ordinary, |t| t == 1);
    assert_eq!(written(&mut machine, now), Some([1, 2]));
    machine.publish_started(0);
    machine.publish_ended(now, 0, true);
    assert_eq!(written(&mut machine, now), Some([3, 2]));
}

#[test]
fn a_drain_that_comes_during_a_publish_is_not_in_it() {
    let now = Instant::now();
    let mut machine = served(now);
    machine.store_updated(now, 0, Revision(2), UpdateKind::Ordinary, |t| t == 0);
    machine.publish_started(0);
    drain(&mut machine, now, 3);
    machine.publish_ended(now, 0, true);
    assert_eq!(written(&mut machine, now), Some([2, 3]));
    machine.publish_started(0);
    machine.publish_ended(now, 0, true);
    assert_eq!(written(&mut machine, now), Some([3, 3]));
}

#[test]
fn a_revision_that_is_counted_after_its_drain_is_a_part_of_it() {
    let now = Instant::now();
    let mut machine = served(now);
    drain(&mut machine, now, 2);
    machine.publish_started(0);
    machine.publish_ended(now, 0, true);
    assert_eq!(written(&mut machine, now), Some([2, 2]));
    machine.store_updated(now, 0, Revision(1000), UpdateKind::Nothing, |_| false);
    assert_eq!(written(&mut machine, now), Some([1000, 1000]));
}

#[test]
fn what_nobody_waits_for_is_gathered() {
    let now = Instant::now();
    let mut machine = served(now);
    for revision in 2..50 {
        machine.store_updated(now, 0, Revision(revision), UpdateKind::Ordinary, |t| t == 0);
        machine.publish_started(0);
        machine.publish_ended(now, 0, true);
    }
    let at = machine.write_at().unwrap();
    assert!(at >= now + GATHER && at <= now + GATHER * 2);
    assert_eq!(written(&mut machine, now), None);
    assert_eq!(written(&mut machine, at), Some([49, 49]));
    assert_eq!(machine.write_at(), None);
}

/// A count, when it is due.
fn count(machine: &mut AppliedRevisions, old_workers: usize) -> Instant {
    let Count::At(at) = machine.count else {
        panic!("nothing is to be counted");
    };
    assert!(machine.deadline().is_some_and(|due| due <= at));
    let number = machine.begin_due_count(at).unwrap();
    machine.count_ended(at, number, old_workers);
    at
}

#[test]
fn old_workers_are_counted_after_a_publish_and_until_there_are_none() {
    let now = Instant::now();
    let mut machine = served(now);
    assert_eq!(machine.begin_due_count(now), None);
    // None: nothing to say, and nothing to look at until the next publish.
    assert_eq!(count(&mut machine, 0), now + COUNT);
    assert_eq!(machine.deadline(), None);
    machine.publish_started(0);
    machine.publish_ended(now, 0, true);
    count(&mut machine, 3);
    let said = machine.write_at().unwrap();
    assert!(said >= now + GATHER, "with what else there is to say");
    // As many as before, and others for a moment: that is no news.
    for old_workers in [3, 4, 3] {
        count(&mut machine, old_workers);
    }
    let one = machine.take_due_entry(said).unwrap();
    assert_eq!(one.old_workers, 3);
    count(&mut machine, 2);
    count(&mut machine, 3);
    let again = machine.write_at().unwrap();
    assert_eq!(machine.take_due_entry(again), None);
    let gone = count(&mut machine, 0);
    assert_eq!(machine.deadline(), machine.write_at());
    let last = machine.write_at().unwrap();
    assert!(last >= gone + GATHER);
    assert_eq!(machine.take_due_entry(last).unwrap().old_workers, 0);
    assert_eq!(machine.deadline(), None);
}

#[test]
fn one_count_at_a_time_and_another_one_after_what_has_come_meanwhile() {
    let now = Instant::now();
    let mut machine = served(now);
    let number = machine.begin_due_count(now + COUNT).unwrap();
    machine.publish_started(0);
    machine.publish_ended(now + COUNT, 0, true);
    assert_eq!(machine.begin_due_count(now + COUNT * 2), None);
    machine.count_ended(now + COUNT * 2, number, 0);
    assert_eq!(machine.deadline(), Some(now + COUNT * 3));
}

#[test]
fn a_count_that_never_comes_is_made_again_and_a_late_one_is_none() {
    let start = Instant::now();
    let mut machine = served(start);
    let lost = machine.begin_due_count(start + COUNT).unwrap();
    let due = machine.deadline().expect("it is not waited for for ever");
    assert_eq!(due, start + COUNT + COUNT_WITHIN);
    assert_eq!(
        machine.begin_due_count(start + COUNT_WITHIN),
        None,
        "it has its time"
    );
    let again = machine.begin_due_count(due).unwrap();
    machine.count_ended(due, lost, 7);
    assert_eq!(machine.old_workers, 0);
    assert_eq!(
        machine.deadline(),
        Some(due + COUNT_WITHIN),
        "one is under way"
    );
    machine.count_ended(due, again, 2);
    assert_eq!(
        (machine.old_workers, machine.begin_due_count(due)),
        (2, None)
    );
    // Also between two counts.
    machine.count_ended(due, lost, 7);
    assert_eq!(machine.old_workers, 2);
}

/// A proxy under load has a few old workers after each reload, and they go. That is no write of its own.
#[test]
fn workers_that_go_soon_are_no_reason_to_write() {
    let start = Instant::now();
    let mut machine = served(start);
    let mut writes = 0;
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        if second % 3 == 0 {
            machine.store_updated(now, 0, Revision(second + 2), UpdateKind::Ordinary, |_| true);
            machine.publish_started(0);
            machine.publish_ended(now, 0, true);
        }
        if let Some(number) = machine.begin_due_count(now) {
            machine.count_ended(now, number, usize::from(second % 2 == 0));
        }
        writes += usize::from(machine.take_due_entry(now).is_some());
    }
    assert!(writes <= 10, "{writes}");
}

#[test]
fn entries_of_watchers_lead_to_no_write() {
    let now = Instant::now();
    let mut machine = served(now);
    machine.store_updated(now, 0, Revision(2), UpdateKind::Own, |_| true);
    assert_eq!(machine.write_at(), None);
}

#[test]
fn other_targets_begin_anew_and_equal_ones_go_on() {
    let now = Instant::now();
    let mut machine = served(now);
    let (web, api) = ([path("/services/web")], [path("/services/api")]);
    machine.replace(&[path("/services")], &[&api, &web], true);
    let applied = machine.applied();
    assert_eq!(applied[&web[0]], Revision(1));
    assert_eq!(applied[&api[0]], Revision(0));
    machine.replace(&[path("/services")], &[&web], false);
    assert_eq!(machine.applied()[&web[0]], Revision(0));
    assert_eq!(machine.write_at(), None);
}

#[test]
fn a_state_that_comes_or_goes_is_a_drain_unless_its_instance_goes_with_it() {
    let all = path("/");
    let mut catalog = Catalog::new(path("/services"));
    let mut weigh = |changes: Vec<(&str, Option<&str>)>| {
        let change = |(key, value): (&str, Option<&str>)| match value {
            Some(value) => Change::Put(Key::from(key), Value::from(value.as_bytes())),
            None => Change::Delete(Key::from(key)),
        };
        let changes = changes.into_iter().map(change).collect();
        let revision = Revision(1);
        let changes = catalog.apply(&all, Update::Changed { revision, changes });
        UpdateKind::from_changes(&changes, catalog.tree())
    };
    let (ip, state) = ("/services/web/a/ip", "/services/web/a/state");
    assert_eq!(weigh(vec![(ip, Some("10.0.0.1"))]), UpdateKind::Ordinary);
    assert_eq!(weigh(vec![(ip, Some("10.0.0.1"))]), UpdateKind::Nothing);
    assert_eq!(weigh(vec![(state, Some("drain"))]), UpdateKind::Drain);
    assert_eq!(weigh(vec![(state, None)]), UpdateKind::Drain);
    weigh(vec![(state, Some("drain"))]);
    assert_eq!(weigh(vec![(ip, None), (state, None)]), UpdateKind::Ordinary);
    let own = "/sidekick/watchers/a/applied";
    assert_eq!(weigh(vec![(own, Some("1 /"))]), UpdateKind::Own);
}

proptest! {
    /// Whether counts end in time, late or never: the known number is that of the last count that ended in time; only
    /// one count is under way at a time; and when counts end in time again, their number is written.
    #[test]
    fn counts_that_never_come_stop_nothing(
        script in proptest::collection::vec((0u8..6, 0usize..3, 0u64..400_000), 1..80),
    ) {
        let mut now = Instant::now();
        let mut machine = served(now);
        let (mut under_way, mut lost, mut known) = (None, Vec::new(), 0);
        for (step, found, pause) in script {
            now += Duration::from_millis(pause);
            match step {
                0 => { machine.publish_started(0); machine.publish_ended(now, 0, true); }
                1 | 2 => if let Some((number, _)) = under_way.take() {
                    machine.count_ended(now, number, found);
                    known = found;
                },
                3 => if let Some(number) = lost.pop() {
                    machine.count_ended(now, number, found + 10);
                },
                _ => {}
            }
            if let Some(number) = machine.begin_due_count(now)
                && let Some((old, since)) = under_way.replace((number, now))
            {
                prop_assert!(now >= since + COUNT_WITHIN, "two at a time");
                lost.push(old);
            }
            prop_assert_eq!(machine.old_workers, known);
            prop_assert!(under_way.is_none() || machine.deadline().is_some(), "waited for for ever");
            machine.take_due_entry(now);
        }
        machine.publish_started(0);
        machine.publish_ended(now, 0, true);
        for _ in 0..5 {
            let Some(at) = machine.deadline() else { break };
            now = now.max(at);
            if let Some(number) = machine.begin_due_count(now) {
                machine.count_ended(now, number, 5);
            }
            machine.take_due_entry(now);
        }
        now += GATHER * 2;
        machine.take_due_entry(now);
        prop_assert_eq!(machine.written.map(|entry| entry.old_workers), Some(5));
    }

    /// The revision that is written of a path has been heard, and it covers no change of the path that came during the
    /// last good publish or after it. When everything has been published, the last revisions are written.
    #[test]
    fn no_revision_is_written_that_is_not_in_use(
        script in proptest::collection::vec((0u8..5, 0usize..2, any::<bool>(), 0u64..5000), 1..80),
    ) {
        let mut now = Instant::now();
        let mut machine = served(now);
        let mut revision = 1;
        // The last change of each target, the one its publish was made from, and the one that is in use.
        let (mut last, mut under_way, mut live) = ([1; 2], [None::<u64>; 2], [1; 2]);
        for (step, target, flag, pause) in script {
            now += Duration::from_millis(pause);
            match step {
                0 | 1 => {
                    revision += 1;
                    last[target] = revision;
                    let weight = if flag { UpdateKind::Drain } else { UpdateKind::Ordinary };
                    machine.store_updated(now, 0, Revision(revision), weight, |t| t == target);
                }
                2 => {
                    revision += 1;
                    machine.store_updated(now, 0, Revision(revision), UpdateKind::Nothing, |_| false);
                }
                3 if under_way[target].is_none() => {
                    under_way[target] = Some(last[target]);
                    machine.publish_started(target);
                }
                _ => if let Some(from) = under_way[target].take() {
                    if flag { live[target] = from; }
                    machine.publish_ended(now, target, flag);
                },
            }
            if let Some(said) = written(&mut machine, now) {
                for target in [0, 1] {
                    prop_assert!(said[target] <= revision);
                    let missing = last[target] > live[target];
                    prop_assert!(!missing || said[target] < last[target], "{said:?} {last:?} {live:?}");
                }
            }
        }
        for target in [0, 1] {
            machine.publish_started(target);
            machine.publish_ended(now, target, true);
        }
        let all = machine.applied().into_values().all(|applied| applied == Revision(revision));
        prop_assert!(all);
    }
}
