use proptest::prelude::*;

use super::*;
use crate::model::publication::Claim;
use crate::model::shared::Shared;

const TTL: Duration = Duration::from_secs(15);
const A: LeaseId = LeaseId(1);
const B: LeaseId = LeaseId(2);

fn publication(name: &str) -> Publication {
    let dir = Prefix::parse("/services/web").unwrap().join(name);
    Publication {
        dir,
        fields: [("ip".to_owned(), b"10.0.0.1".to_vec())].into(),
        state: None,
        claim: Claim::default(),
        predecessors: std::collections::BTreeSet::new(),
    }
}

fn standing(is_whole: bool) -> Standing {
    Standing {
        is_whole,
        state: None,
    }
}

fn is_announced(name: &str) -> Action {
    Action::Announced(publication(name).dir)
}

/// A machine that holds lease A with one publication announced at `now`.
fn announced(now: Instant) -> Lease {
    let mut lease = Lease::new(TTL, 1);
    assert_eq!(
        lease.handle(now, Input::Want(publication("a"))),
        [Action::Grant(TTL, None)]
    );
    let publish = Action::Publish(A, publication("a"));
    assert_eq!(lease.handle(now, Answer::Granted(Ok((A, TTL)))), [publish]);
    assert!(!lease.is_announced());
    assert_eq!(
        lease.handle(now, Answer::Published(A, Ok(()))),
        [is_announced("a")]
    );
    assert!(lease.is_announced());
    lease
}

#[test]
fn heartbeats_come_every_third_of_the_ttl() {
    let mut now = Instant::now();
    let mut lease = announced(now);
    for _ in 0..50 {
        let next = lease.deadline().unwrap();
        let interval = next - now;
        assert!(
            (Duration::from_millis(4500)..=Duration::from_millis(5500)).contains(&interval),
            "{interval:?}"
        );
        now = next;
        assert_eq!(lease.handle(now, Input::Tick), [Action::KeepAlive(A)]);
        let looks = [Action::Verify(A, vec![publication("a")])];
        assert_eq!(lease.handle(now, Answer::KeptAlive(A, Ok(TTL))), looks);
    }
}

#[test]
fn an_error_keeps_the_lease_and_silence_loses_it() {
    let start = Instant::now();
    let (mut lease, mut beats) = (announced(start), 0);
    let (lost, now) = loop {
        let now = lease.deadline().unwrap();
        let actions = lease.handle(now, Input::Tick);
        if actions == [Action::KeepAlive(A)] {
            beats += 1;
            assert_eq!(
                lease.handle(now, Answer::KeptAlive(A, Err(Failure::Failed))),
                []
            );
        } else {
            break (actions, now);
        }
    };
    assert_eq!(lost, [Action::Lost(A), Action::Grant(TTL, None)]);
    assert_eq!(now - start, TTL, "when its TTL is over");
    assert!(beats > 2, "tried again in between");
}

#[test]
fn a_lost_lease_is_granted_anew_and_everything_published_on_it() {
    let now = Instant::now();
    let mut lease = announced(now);
    lease.handle(now, Input::Want(publication("b")));
    lease.handle(now, Answer::Published(A, Ok(())));
    lease.handle(lease.deadline().unwrap(), Input::Tick);
    let lost = lease.handle(now, Answer::KeptAlive(A, Err(Failure::Lost)));
    assert_eq!(lost, [Action::Lost(A), Action::Grant(TTL, None)]);
    assert_eq!(
        lease.handle(now, Answer::Granted(Ok((B, TTL)))),
        [Action::Publish(B, publication("a"))]
    );
    // A late answer about the old lease changes nothing.
    assert_eq!(
        lease.handle(now, Answer::Published(A, Err(Failure::Lost))),
        []
    );
    let next = lease.handle(now, Answer::Published(B, Ok(())));
    assert_eq!(
        next,
        [is_announced("a"), Action::Publish(B, publication("b"))]
    );
    assert_eq!(
        lease.handle(now, Answer::Published(B, Ok(()))),
        [is_announced("b")]
    );
}

#[test]
fn stopping_revokes_and_tries_again_until_it_works() {
    let now = Instant::now();
    let mut lease = announced(now);
    assert_eq!(lease.handle(now, Input::Stop), [Action::Revoke(A)]);
    assert_eq!(
        lease.handle(now, Answer::Revoked(A, Err(Failure::Failed))),
        []
    );
    let again = lease.handle(lease.deadline().unwrap(), Input::Tick);
    assert_eq!(again, [Action::Revoke(A)]);
    assert_eq!(
        lease.handle(now, Answer::Revoked(A, Ok(()))),
        [Action::Withdrawn]
    );
}

#[test]
fn stopping_before_the_grant_came_gives_it_straight_back() {
    let now = Instant::now();
    let mut lease = Lease::new(TTL, 1);
    lease.handle(now, Input::Want(publication("a")));
    assert_eq!(lease.handle(now, Input::Stop), []);
    assert_eq!(
        lease.handle(now, Answer::Granted(Ok((A, TTL)))),
        [Action::Revoke(A)]
    );
}

#[test]
fn what_is_wanted_no_longer_is_taken_back_until_it_works_and_can_be_wanted_again() {
    let now = Instant::now();
    let mut lease = announced(now);
    let unwant = || Input::Unwant(publication("a").dir);
    assert_eq!(lease.handle(now, unwant()), [Action::Revoke(A)]);
    assert_eq!(lease.handle(now, unwant()), []);
    let failed = Answer::Revoked(A, Err(Failure::Failed));
    assert_eq!(lease.handle(now, failed), []);
    let again = lease.handle(lease.deadline().unwrap(), Input::Tick);
    assert_eq!(again, [Action::Revoke(A)]);
    let done = lease.handle(now, Answer::Revoked(A, Ok(())));
    assert_eq!(done, [Action::Withdrawn]);
    assert_eq!(lease.deadline(), None, "no heartbeat");
    let want = Input::Want(publication("a"));
    assert_eq!(lease.handle(now, want), [Action::Grant(TTL, None)]);
}

#[test]
fn wanted_again_while_it_is_taken_back() {
    let now = Instant::now();
    let mut lease = announced(now);
    lease.handle(now, Input::Unwant(publication("a").dir));
    assert_eq!(lease.handle(now, Input::Want(publication("a"))), []);
    assert_eq!(
        lease.handle(now, Answer::Revoked(A, Ok(()))),
        [Action::Withdrawn, Action::Grant(TTL, None)]
    );
}

#[test]
fn what_others_hang_beside_is_taken_back_without_them() {
    let now = Instant::now();
    let mut lease = announced(now);
    lease.handle(now, Input::Want(publication("b")));
    lease.handle(now, Answer::Published(A, Ok(())));
    let dir = publication("b").dir;
    let nothing = Publication {
        dir: dir.clone(),
        fields: Shared::default(),
        state: None,
        claim: Claim::Ours,
        predecessors: std::collections::BTreeSet::new(),
    };
    assert_eq!(
        lease.handle(now, Input::Unwant(dir.clone())),
        [Action::Publish(A, nothing)]
    );
    assert_eq!(
        lease.handle(now, Answer::Published(A, Ok(()))),
        [Action::Removed(dir)]
    );
    assert!(lease.is_announced(), "the other one");
}

#[test]
fn what_is_new_stands_before_what_is_old_is_taken_back() {
    let now = Instant::now();
    let mut lease = announced(now);
    lease.handle(now, Input::Want(publication("c")));
    // While that is under way:
    assert_eq!(lease.handle(now, Input::Unwant(publication("a").dir)), []);
    assert_eq!(lease.handle(now, Input::Want(publication("b"))), []);
    assert_eq!(
        lease.handle(now, Answer::Published(A, Ok(()))),
        [is_announced("c"), Action::Publish(A, publication("b"))]
    );
    let removal = lease.handle(now, Answer::Published(A, Ok(())));
    assert!(
        matches!(&removal[..], [announced, Action::Publish(A, p)] if *announced == is_announced("b") && p.fields.is_empty()),
        "{removal:?}"
    );
}

#[test]
fn one_that_cannot_be_published_holds_up_none_of_the_others() {
    for failure in [Failure::Conflict, Failure::Failed] {
        let now = Instant::now();
        let mut lease = Lease::new(TTL, 1);
        for name in ["a", "b", "c"] {
            lease.handle(now, Input::Want(publication(name)));
        }
        lease.handle(now, Answer::Granted(Ok((A, TTL))));
        let next = lease.handle(now, Answer::Published(A, Err(failure)));
        let (b, c) = (publication("b"), publication("c"));
        assert!(next.contains(&Action::Publish(A, b)), "{next:?}");
        // A failure is tried again as soon as the store answers; another owner is waited for.
        let next = lease.handle(now, Answer::Published(A, Ok(())));
        let a_first = failure == Failure::Failed;
        let second = if a_first { publication("a") } else { c.clone() };
        assert_eq!(next, [is_announced("b"), Action::Publish(A, second)]);
        if a_first {
            let next = lease.handle(now, Answer::Published(A, Err(failure)));
            assert_eq!(next, [Action::Publish(A, c)]);
        }
        assert_eq!(
            lease.handle(now, Answer::Published(A, Ok(())))[0],
            is_announced("c")
        );
        assert!(!lease.is_announced());
    }
}

#[test]
fn a_silent_lease_that_stands_in_our_own_way_is_given_back() {
    let now = Instant::now();
    let mut lease = announced(now);
    lease.handle(now, Input::Want(publication("b")));
    lease.handle(now, Answer::Published(A, Ok(())));
    let silent = now + TTL;
    lease.handle(silent, Input::Tick);
    lease.handle(silent, Answer::Granted(Ok((B, TTL))));
    // The address has changed in the meantime: the keys on the old lease are in conflict with those on the new one.
    let conflict = lease.handle(silent, Answer::Published(B, Err(Failure::Conflict)));
    let on_successor = |name| Publication {
        predecessors: [A].into(),
        ..publication(name)
    };
    let (a, b) = (on_successor("a"), on_successor("b"));
    assert_eq!(
        conflict,
        [Action::Conflict(a.dir.clone()), Action::Publish(B, b)]
    );
    assert_eq!(
        lease.handle(silent, Answer::Published(B, Ok(()))),
        [is_announced("b"), Action::Revoke(A)]
    );
    let again = lease.handle(silent, Answer::Revoked(A, Ok(())));
    assert_eq!(again, [Action::Publish(B, a)]);
    assert_eq!(
        lease.handle(silent, Answer::Published(B, Ok(()))),
        [is_announced("a")]
    );
}

#[test]
fn a_request_that_is_never_answered_is_made_again() {
    let start = Instant::now();
    let ours = || publication("a");
    let wanted = || {
        let mut lease = Lease::new(TTL, 1);
        lease.handle(start, Input::Want(ours()));
        lease
    };
    let publishing = || {
        let mut lease = wanted();
        lease.handle(start, Answer::Granted(Ok((A, TTL))));
        lease
    };
    let stopping = || {
        let mut lease = announced(start);
        lease.handle(start, Input::Stop);
        lease
    };
    let beating = || {
        let mut lease = announced(start);
        let due = lease.deadline().unwrap();
        lease.handle(due, Input::Tick);
        lease
    };
    for (mut lease, order) in [
        (wanted(), Action::Grant(TTL, None)),
        (publishing(), Action::Publish(A, ours())),
        (beating(), Action::KeepAlive(A)),
        (stopping(), Action::Revoke(A)),
    ] {
        // Heartbeats are answered, but for those that are the matter of the row.
        let mut made = Vec::new();
        let mut now = start;
        while !made.contains(&order) && now < start + 2 * ANSWER_WITHIN {
            now = lease.deadline().expect("it goes on");
            made = lease.handle(now, Input::Tick);
            if order != Action::KeepAlive(A) && made.contains(&Action::KeepAlive(A)) {
                lease.handle(now, Answer::KeptAlive(A, Ok(TTL)));
            }
        }
        assert!(
            made.contains(&order),
            "{order:?} is not made again: {lease:?}"
        );
    }
}

#[test]
fn an_answer_that_takes_long_loses_no_lease() {
    let mut now = Instant::now();
    let mut lease = announced(now);
    for _ in 0..20 {
        now = lease.deadline().unwrap();
        assert_eq!(lease.handle(now, Input::Tick), [Action::KeepAlive(A)]);
        // A third of the TTL and a bit: so does a grpc-proxy.
        now += TTL / 3 + Duration::from_millis(700);
        assert!(lease.deadline().unwrap() > now);
        let looks = [Action::Verify(A, vec![publication("a")])];
        assert_eq!(lease.handle(now, Answer::KeptAlive(A, Ok(TTL))), looks);
    }
}

#[test]
fn an_answer_counts_from_the_first_heartbeat_that_it_may_be_the_answer_to() {
    let mut lease = announced(Instant::now());
    let first = lease.deadline().unwrap();
    lease.handle(first, Input::Tick);
    let second = lease.deadline().unwrap();
    assert_eq!(lease.handle(second, Input::Tick), [Action::KeepAlive(A)]);
    lease.handle(second, Answer::KeptAlive(A, Ok(TTL)));
    let lost = loop {
        let now = lease.deadline().unwrap();
        if lease.handle(now, Input::Tick).contains(&Action::Lost(A)) {
            break now;
        }
    };
    assert_eq!(lost, first + TTL);
}

#[test]
fn a_lease_that_fell_silent_is_given_back_too() {
    let now = Instant::now();
    let mut lease = announced(now);
    let silent = now + TTL;
    assert_eq!(
        lease.handle(silent, Input::Tick),
        [Action::Lost(A), Action::Grant(TTL, None)]
    );
    lease.handle(silent, Answer::Granted(Err(Failure::Failed)));
    let unwant = Input::Unwant(publication("a").dir);
    assert_eq!(lease.handle(silent, unwant), [Action::Revoke(A)]);
    // The store has never heard of an end: its keys are still there until it answers this.
    assert_eq!(
        lease.handle(silent, Answer::Revoked(A, Ok(()))),
        [Action::Withdrawn]
    );
}

#[test]
fn what_hands_have_deleted_is_published_again_with_the_next_heartbeat() {
    let now = Instant::now();
    let mut lease = announced(now);
    let at = lease.deadline().unwrap();
    assert_eq!(lease.handle(at, Input::Tick), [Action::KeepAlive(A)]);
    let ours = publication("a");
    assert_eq!(
        lease.handle(at, Answer::KeptAlive(A, Ok(TTL))),
        [Action::Verify(A, vec![ours.clone()])]
    );
    let verified = |answer: Result<Standing, Failure>| {
        let dir = publication("a").dir;
        Answer::Verified(A, answer.map(|standing| vec![(dir, standing)]))
    };
    assert_eq!(lease.handle(at, verified(Ok(standing(true)))), []);
    assert_eq!(lease.handle(at, verified(Err(Failure::Failed))), []);
    assert_eq!(
        lease.handle(at, verified(Ok(standing(false)))),
        [Action::Repaired(ours.dir.clone()), Action::Publish(A, ours)]
    );
}

#[test]
fn whatever_hands_have_deleted_of_many_is_published_again_at_once() {
    let now = Instant::now();
    let mut lease = announced(now);
    for n in 1..120 {
        lease.handle(now, Input::Want(publication(&format!("a{n}"))));
        lease.handle(now, Answer::Published(A, Ok(())));
    }
    let at = lease.deadline().unwrap();
    lease.handle(at, Input::Tick);
    let looks = lease.handle(at, Answer::KeptAlive(A, Ok(TTL)));
    let sizes: Vec<usize> = looks.iter().map(looked_at).map(|all| all.len()).collect();
    assert_eq!(sizes, [50, 50, 20]);
    let mut actions = Vec::new();
    for look in &looks {
        let gone = looked_at(look)
            .into_iter()
            .map(|dir| (dir, standing(false)));
        actions.extend(lease.handle(at, Answer::Verified(A, Ok(gone.collect()))));
    }
    let repaired = actions
        .iter()
        .filter(|action| matches!(action, Action::Repaired(_)));
    assert_eq!(repaired.count(), 120);
    // One after the other, as always.
    let published = |actions: &[Action]| {
        let publishes = |action: &&Action| matches!(action, Action::Publish(..));
        actions.iter().filter(publishes).count()
    };
    assert_eq!(published(&actions), 1);
    for _ in 1..120 {
        assert_eq!(
            published(&lease.handle(at, Answer::Published(A, Ok(())))),
            1
        );
    }
    assert_eq!(
        published(&lease.handle(at, Answer::Published(A, Ok(())))),
        0
    );
    assert!(lease.is_announced());
}

/// The paths that an action asks for.
fn looked_at(action: &Action) -> Vec<Prefix> {
    let Action::Verify(_, publications) = action else {
        return Vec::new();
    };
    publications.iter().map(|one| one.dir.clone()).collect()
}

#[test]
fn a_conflict_is_tried_again_and_keeps_the_lease() {
    let now = Instant::now();
    let mut lease = Lease::new(TTL, 1);
    lease.handle(now, Input::Want(publication("a")));
    lease.handle(now, Answer::Granted(Ok((A, TTL))));
    assert_eq!(
        lease.handle(now, Answer::Published(A, Err(Failure::Conflict))),
        [Action::Conflict(publication("a").dir)]
    );
    assert!(!lease.is_announced());
    let again = now + TTL / 3;
    let actions = lease.handle(again, Input::Tick);
    assert!(
        actions.contains(&Action::Publish(A, publication("a"))),
        "{actions:?}"
    );
}

#[test]
fn a_taken_place_is_kept_as_any_other() {
    let fields = Shared::from(BTreeSet::from(["ip".to_owned()]));
    let (now, mut lease) = (Instant::now(), Lease::new(TTL, 1));
    let mut ours = publication("a");
    ours.claim = Claim::TakeOver(fields.clone());
    lease.handle(now, Input::Want(ours.clone()));
    let published = lease.handle(now, Answer::Granted(Ok((A, TTL))));
    assert_eq!(published, [Action::Publish(A, ours.clone())]);
    lease.handle(now, Answer::Published(A, Ok(())));
    let again = lease.handle(
        now,
        Answer::Verified(A, Ok(vec![(ours.dir.clone(), standing(false))])),
    );
    ours.claim = Claim::Alone(fields);
    assert!(again.contains(&Action::Publish(A, ours)), "{again:?}");
}

#[test]
fn a_shared_lease_is_never_given_back() {
    let now = Instant::now();
    let mut lease = Lease::shared(TTL, 1, B);
    assert_eq!(
        lease.handle(now, Input::Want(publication("a"))),
        [Action::Grant(TTL, Some(B))]
    );
    lease.handle(now, Answer::Granted(Ok((B, TTL))));
    lease.handle(now, Answer::Published(B, Ok(())));
    assert_eq!(lease.handle(now, Input::Stop), [Action::Withdrawn]);
    assert_eq!(lease.deadline(), None);
}

/// What the store of the test does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Good,
    Fails,
    /// The store carries out the request, and its answer is lost.
    DoneSilently,
    Forgets,
    /// The job of the request panics: the store never gets it, and no answer comes.
    Never,
}

/// A step of a script: an order, or the next answer.
#[derive(Debug, Clone, Copy)]
enum Step {
    Want(&'static str),
    Unwant(&'static str),
    /// Somebody deletes it by hand.
    Hand(&'static str),
    Stop,
    Answer(Behaviour),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let answer = prop_oneof![
        8 => Just(Behaviour::Good),
        3 => Just(Behaviour::Fails),
        2 => Just(Behaviour::DoneSilently),
        1 => Just(Behaviour::Forgets),
        1 => Just(Behaviour::Never)
    ];
    let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let step = prop_oneof![
        20 => answer.prop_map(Step::Answer),
        3 => name().prop_map(Step::Want),
        3 => name().prop_map(Step::Unwant),
        1 => name().prop_map(Step::Hand),
        1 => Just(Step::Stop)
    ];
    proptest::collection::vec((step, 0u64..3000), 1..100)
}

/// A store, the requests that are under way to it, and the machine that makes them.
struct World {
    now: Instant,
    lease: Lease,
    open: Vec<Action>,
    /// What stands on each lease that is alive.
    store: BTreeMap<LeaseId, BTreeSet<Prefix>>,
    granted: i64,
    wanted: BTreeSet<Prefix>,
    stopped: bool,
    withdrawn: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            lease: Lease::new(TTL, seed),
            open: Vec::new(),
            store: BTreeMap::new(),
            granted: 0,
            wanted: BTreeSet::new(),
            stopped: false,
            withdrawn: true,
        }
    }

    fn step(&mut self, step: Step, pause: Duration) {
        self.now += pause;
        match step {
            Step::Want(name) => {
                let publication = publication(name);
                if !self.stopped {
                    self.wanted.insert(publication.dir.clone());
                }
                self.give(Input::Want(publication));
            }
            Step::Unwant(name) => {
                let dir = publication(name).dir;
                self.wanted.remove(&dir);
                self.give(Input::Unwant(dir));
            }
            Step::Hand(name) => {
                let dir = publication(name).dir;
                for dirs in self.store.values_mut() {
                    dirs.remove(&dir);
                }
            }
            Step::Stop => {
                self.stopped = true;
                self.wanted.clear();
                self.give(Input::Stop);
            }
            Step::Answer(answer) => self.answer(answer),
        }
    }

    /// Hands an input over and looks at every action that comes of it.
    fn give(&mut self, input: impl Into<Input>) {
        for action in self.lease.handle(self.now, input) {
            match &action {
                Action::Publish(lease, publication) => {
                    assert_eq!(lease.0, self.granted, "not the last lease");
                    let wanted = self.wanted.contains(&publication.dir);
                    assert_eq!(wanted, !publication.fields.is_empty());
                    let under_way =
                        |open: &Action| matches!(open, Action::Publish(l, _) if l == lease);
                    assert!(!self.open.iter().any(under_way), "two at a time");
                }
                Action::KeepAlive(lease) => assert_eq!(lease.0, self.granted),
                Action::Revoke(_) | Action::Withdrawn => {
                    assert!(self.wanted.is_empty() || !self.withdrawn);
                }
                Action::Grant(..) => assert!(!self.stopped),
                Action::Verify(lease, _) => assert_eq!(lease.0, self.granted),
                Action::Repaired(dir) => assert!(self.wanted.contains(dir)),
                Action::Announced(dir) => assert!(self.wanted.contains(dir)),
                Action::Removed(dir) => assert!(!self.wanted.contains(dir)),
                Action::Lost(_) => assert!(!self.stopped),
                Action::Conflict(_) => panic!("nobody else is there"),
            }
            self.withdrawn = matches!(action, Action::Withdrawn);
            self.open.push(action);
        }
    }

    /// The store takes the next request, or time passes until the machine makes one.
    fn answer(&mut self, behaviour: Behaviour) {
        if self.open.is_empty() {
            if let Some(at) = self.lease.deadline() {
                self.now = self.now.max(at);
                self.give(Input::Tick);
            }
            return;
        }
        let action = self.open.remove(0);
        if behaviour == Behaviour::Never {
            return;
        }
        let answer = match action {
            Action::Grant(..) => {
                self.granted += 1;
                let lease = LeaseId(self.granted);
                let reply = self.reply(lease, behaviour, |store| {
                    store.insert(lease, BTreeSet::new());
                });
                Answer::Granted(match reply {
                    Ok(()) => Ok((lease, TTL)),
                    Err(failure) => Err(failure),
                })
            }
            Action::Publish(lease, publication) => {
                let reply = self.reply(lease, behaviour, |store| {
                    if publication.claim == Claim::Ours {
                        store
                            .get_mut(&lease)
                            .map(|dirs| dirs.remove(&publication.dir));
                    } else if store.contains_key(&lease) {
                        for dirs in store.values_mut() {
                            dirs.remove(&publication.dir);
                        }
                    }
                    if let (Some(dirs), false) =
                        (store.get_mut(&lease), publication.fields.is_empty())
                    {
                        dirs.insert(publication.dir.clone());
                    }
                });
                Answer::Published(lease, reply)
            }
            Action::KeepAlive(lease) => {
                let reply = self.reply(lease, behaviour, |_| {});
                Answer::KeptAlive(lease, reply.map(|()| TTL))
            }
            Action::Revoke(lease) => {
                let reply = self.reply(lease, behaviour, |store| drop(store.remove(&lease)));
                Answer::Revoked(lease, reply)
            }
            Action::Verify(lease, publications) => {
                let reply = self.reply(lease, behaviour, |_| {});
                let dirs = self.store.get(&lease);
                let found = publications.into_iter().map(|publication| {
                    let stands = dirs.is_some_and(|dirs| dirs.contains(&publication.dir));
                    (publication.dir, standing(stands))
                });
                Answer::Verified(lease, reply.map(|()| found.collect()))
            }
            Action::Announced(_) | Action::Lost(_) | Action::Withdrawn => return,
            Action::Removed(_) | Action::Conflict(_) | Action::Repaired(_) => return,
        };
        self.give(answer);
    }

    fn reply(
        &mut self,
        lease: LeaseId,
        behaviour: Behaviour,
        request: impl FnOnce(&mut BTreeMap<LeaseId, BTreeSet<Prefix>>),
    ) -> Result<(), Failure> {
        match behaviour {
            Behaviour::Good | Behaviour::DoneSilently => request(&mut self.store),
            Behaviour::Fails | Behaviour::Never => return Err(Failure::Failed),
            Behaviour::Forgets => drop(self.store.remove(&lease)),
        }
        match behaviour {
            Behaviour::Good if self.store.contains_key(&lease) => Ok(()),
            Behaviour::Good | Behaviour::Forgets => Err(Failure::Lost),
            Behaviour::Fails | Behaviour::DoneSilently | Behaviour::Never => Err(Failure::Failed),
        }
    }

    /// What stands in the store.
    fn standing(&self) -> BTreeSet<Prefix> {
        self.store.values().flatten().cloned().collect()
    }
}

proptest! {
    /// Whatever the store answers: only the lease that was granted last is published on, one publication is out at a
    /// time, nothing is published that is not wanted; and when the store answers again, exactly what is wanted
    /// stands in it.
    #[test]
    fn invariants(steps in steps(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        for (step, millis) in steps {
            world.step(step, Duration::from_millis(millis));
        }
        for _ in 0..200 {
            world.answer(Behaviour::Good);
        }
        prop_assert_eq!(world.standing(), world.wanted);
    }
}
