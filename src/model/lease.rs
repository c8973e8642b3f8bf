//! The life of a lease and of what hangs on it: grant → publish → keep-alive → lost → regrant → revoke. Pure.
//!
//! ```text
//!            want                granted
//!   Idle ───────────▶ Granting ──────────▶ Held ──┐ keep-alive every ttl/3, publish what is not yet published
//!                      ▲    │ failed        │ ▲   │
//!                 due  │    ▼               │ └───┘
//!                     Waiting ◀─────────────┘ lost: the store says so, or no answer for ttl − one beat
//!
//!   stop, from anywhere: a held lease is revoked (tried again until it works), then Withdrawn
//! ```
//!
//! An error on the way is not a lost lease: the same lease is tried again until its time is nearly over, so that a
//! short outage makes no key disappear. A lost lease is never tried again: there is a new grant, and everything is
//! published anew on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::backoff::{Backoff, Dice};
use super::update::{LeaseId, Prefix, Publication};

/// Heartbeats per TTL.
const BEATS: u32 = 3;
/// Each heartbeat comes up to this share of its interval early or late.
const JITTER: f64 = 0.1;
/// The delays between tries while the store does not answer.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Why a request to the store failed, as far as the lease is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The store does not know the lease (any more).
    Lost,
    /// Anything else; the lease may well be alive.
    Failed,
}

/// What happens to a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// This shall stand in the store; it replaces what was wanted under the same path.
    Want(Publication),
    /// Nothing shall stand in the store any more.
    Stop,
    /// The answer to [`Action::Grant`]: the lease and the TTL that the store gave it.
    Granted(Result<(LeaseId, Duration), Failure>),
    /// The answer to [`Action::Publish`].
    Published(LeaseId, Result<(), Failure>),
    /// The answer to [`Action::KeepAlive`]: the TTL from now on.
    KeptAlive(LeaseId, Result<Duration, Failure>),
    /// The answer to [`Action::Revoke`].
    Revoked(LeaseId, Result<(), Failure>),
    /// The deadline has passed.
    Tick,
}

/// What is to be done about a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the store for a lease.
    Grant(Duration),
    /// Make this stand in the store, on this lease.
    Publish(LeaseId, Publication),
    /// Renew the lease.
    KeepAlive(LeaseId),
    /// Give the lease back, and with it every key that hangs on it.
    Revoke(LeaseId),
    /// Say that everything that is wanted stands in the store.
    Announced,
    /// Say that the lease is lost and a new one is being asked for.
    Lost(LeaseId),
    /// Say that nothing of ours stands in the store; the machine has come to its end.
    Withdrawn,
}

/// The machine; see the module's diagram.
#[derive(Debug)]
pub struct Lease {
    ttl: Duration,
    wanted: BTreeMap<Prefix, Publication>,
    state: State,
    retry: Backoff,
    dice: Dice,
}

#[derive(Debug)]
enum State {
    Idle,
    /// `stopped`: what is granted goes straight back.
    Granting {
        stopped: bool,
    },
    Waiting {
        until: Instant,
    },
    Held(Held),
    Revoking {
        lease: LeaseId,
        /// When to try again; `None` while a request is out.
        at: Option<Instant>,
    },
    Withdrawn,
}

impl State {
    /// The held lease, if it is this one: a late answer about an earlier lease means nothing any more.
    fn held(&mut self, lease: LeaseId) -> Option<&mut Held> {
        match self {
            Self::Held(held) if held.lease == lease => Some(held),
            Self::Held(_) | Self::Idle | Self::Granting { .. } => None,
            Self::Waiting { .. } | Self::Revoking { .. } | Self::Withdrawn => None,
        }
    }
}

#[derive(Debug)]
struct Held {
    lease: LeaseId,
    beat: Beat,
    /// Without an answer until then, the lease counts as lost.
    lost_at: Instant,
    /// What does not stand in the store as it is wanted.
    unpublished: BTreeSet<Prefix>,
    publishing: Publishing,
}

#[derive(Debug)]
enum Beat {
    Due(Instant),
    Sent(Instant),
}

#[derive(Debug)]
enum Publishing {
    Ready,
    Sent(Prefix),
    Retry(Instant),
}

impl Lease {
    /// A lease that will be asked for with this TTL; `seed` decides the jitter.
    #[must_use]
    pub fn new(ttl: Duration, seed: u64) -> Self {
        Self {
            ttl,
            wanted: BTreeMap::new(),
            state: State::Idle,
            retry: Backoff::new(RETRY.0, RETRY.1.min(ttl / BEATS)),
            dice: Dice::new(seed),
        }
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Granting { .. } | State::Withdrawn => None,
            State::Waiting { until } => Some(*until),
            State::Revoking { at, .. } => *at,
            State::Held(held) => {
                let beat = match held.beat {
                    Beat::Due(at) => Some(at),
                    Beat::Sent(_) => None,
                };
                let publish = match held.publishing {
                    Publishing::Retry(at) => Some(at),
                    Publishing::Ready | Publishing::Sent(_) => None,
                };
                [beat, publish, Some(held.lost_at)]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    /// Whether everything that is wanted stands in the store, as far as is known.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        match &self.state {
            State::Held(held) => {
                let idle = matches!(held.publishing, Publishing::Ready);
                idle && held.unpublished.is_empty() && !self.wanted.is_empty()
            }
            State::Idle | State::Granting { .. } | State::Waiting { .. } => false,
            State::Revoking { .. } | State::Withdrawn => false,
        }
    }

    /// The transition.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Want(publication) => self.want(publication, &mut actions),
            Input::Stop => self.stop(&mut actions),
            Input::Granted(answer) => self.granted(now, answer, &mut actions),
            Input::Published(lease, answer) => self.published(now, lease, answer, &mut actions),
            Input::KeptAlive(lease, answer) => self.kept_alive(now, lease, answer, &mut actions),
            Input::Revoked(lease, answer) => self.revoked(now, lease, answer, &mut actions),
            Input::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    fn want(&mut self, publication: Publication, actions: &mut Vec<Action>) {
        let dir = publication.dir.clone();
        self.wanted.insert(dir.clone(), publication);
        match &mut self.state {
            State::Idle => self.grant(actions),
            State::Held(held) => {
                held.unpublished.insert(dir);
                self.publish_next(actions);
            }
            State::Granting { .. }
            | State::Waiting { .. }
            | State::Revoking { .. }
            | State::Withdrawn => {}
        }
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        self.wanted.clear();
        match &mut self.state {
            State::Idle | State::Waiting { .. } => self.withdrawn(actions),
            State::Granting { stopped } => *stopped = true,
            State::Held(held) => {
                let lease = held.lease;
                self.revoke(lease, actions);
            }
            State::Revoking { .. } | State::Withdrawn => {}
        }
    }

    fn grant(&mut self, actions: &mut Vec<Action>) {
        self.state = State::Granting { stopped: false };
        actions.push(Action::Grant(self.ttl));
    }

    fn granted(
        &mut self,
        now: Instant,
        answer: Result<(LeaseId, Duration), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let State::Granting { stopped } = self.state else {
            return;
        };
        match (answer, stopped) {
            (Ok((lease, _)), true) => self.revoke(lease, actions),
            (Err(_), true) => self.withdrawn(actions),
            (Err(_), false) => {
                self.state = State::Waiting {
                    until: now + self.retry.failed(self.dice.chance()),
                };
            }
            (Ok((lease, ttl)), false) => {
                self.retry.succeeded();
                self.ttl = ttl;
                self.state = State::Held(Held {
                    lease,
                    beat: Beat::Due(now + self.interval()),
                    lost_at: now + patience(ttl),
                    unpublished: self.wanted.keys().cloned().collect(),
                    publishing: Publishing::Ready,
                });
                self.publish_next(actions);
            }
        }
    }

    /// One publication at a time; the next one when the last one is answered.
    fn publish_next(&mut self, actions: &mut Vec<Action>) {
        let State::Held(held) = &mut self.state else {
            return;
        };
        if !matches!(held.publishing, Publishing::Ready) {
            return;
        }
        if let Some(dir) = held.unpublished.first()
            && let Some(publication) = self.wanted.get(dir)
        {
            actions.push(Action::Publish(held.lease, publication.clone()));
            // Wanted anew while the request is out, it is unpublished again.
            let dir = dir.clone();
            held.unpublished.remove(&dir);
            held.publishing = Publishing::Sent(dir);
        }
    }

    fn published(
        &mut self,
        now: Instant,
        lease: LeaseId,
        answer: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.state.held(lease) else {
            return;
        };
        let Publishing::Sent(dir) = std::mem::replace(&mut held.publishing, Publishing::Ready)
        else {
            return;
        };
        match answer {
            Ok(()) => {
                self.retry.succeeded();
                if held.unpublished.is_empty() {
                    actions.push(Action::Announced);
                }
                self.publish_next(actions);
            }
            Err(Failure::Lost) => self.lost(actions),
            Err(Failure::Failed) => {
                held.unpublished.insert(dir);
                held.publishing = Publishing::Retry(now + self.retry.failed(self.dice.chance()));
            }
        }
    }

    fn kept_alive(
        &mut self,
        now: Instant,
        lease: LeaseId,
        answer: Result<Duration, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let interval = self.interval();
        let Some(held) = self.state.held(lease) else {
            return;
        };
        let Beat::Sent(sent) = held.beat else {
            return;
        };
        match answer {
            Ok(ttl) => {
                self.retry.succeeded();
                self.ttl = ttl;
                // The store began to count at some time after the request went out.
                held.lost_at = sent + patience(ttl);
                held.beat = Beat::Due(sent + interval);
            }
            Err(Failure::Lost) => self.lost(actions),
            Err(Failure::Failed) => {
                held.beat = Beat::Due(now + self.retry.failed(self.dice.chance()));
            }
        }
    }

    fn revoked(
        &mut self,
        now: Instant,
        lease: LeaseId,
        answer: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let at = match &mut self.state {
            State::Revoking { lease: ours, at } if *ours == lease => at,
            State::Revoking { .. } | State::Idle | State::Granting { .. } => return,
            State::Waiting { .. } | State::Held(_) | State::Withdrawn => return,
        };
        match answer {
            Ok(()) | Err(Failure::Lost) => self.withdrawn(actions),
            Err(Failure::Failed) => *at = Some(now + self.retry.failed(self.dice.chance())),
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Idle | State::Granting { .. } | State::Withdrawn => {}
            State::Waiting { until } if now >= *until => self.grant(actions),
            State::Waiting { .. } => {}
            State::Revoking { lease, at } => {
                let (lease, due) = (*lease, at.is_some_and(|at| now >= at));
                if due {
                    self.revoke(lease, actions);
                }
            }
            State::Held(held) if now >= held.lost_at => self.lost(actions),
            State::Held(held) => {
                if matches!(held.beat, Beat::Due(at) if now >= at) {
                    held.beat = Beat::Sent(now);
                    actions.push(Action::KeepAlive(held.lease));
                }
                if matches!(held.publishing, Publishing::Retry(at) if now >= at) {
                    held.publishing = Publishing::Ready;
                    self.publish_next(actions);
                }
            }
        }
    }

    fn lost(&mut self, actions: &mut Vec<Action>) {
        if let State::Held(held) = &self.state {
            actions.push(Action::Lost(held.lease));
            self.grant(actions);
        }
    }

    fn revoke(&mut self, lease: LeaseId, actions: &mut Vec<Action>) {
        self.state = State::Revoking { lease, at: None };
        actions.push(Action::Revoke(lease));
    }

    fn withdrawn(&mut self, actions: &mut Vec<Action>) {
        self.state = State::Withdrawn;
        actions.push(Action::Withdrawn);
    }

    /// The time to the next heartbeat.
    fn interval(&mut self) -> Duration {
        (self.ttl / BEATS).mul_f64(1.0 - JITTER + 2.0 * JITTER * self.dice.chance())
    }
}

/// How long a lease may go unanswered before it counts as lost: one beat less than it lives.
fn patience(ttl: Duration) -> Duration {
    ttl.saturating_sub(ttl / BEATS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(15);
    const A: LeaseId = LeaseId(1);
    const B: LeaseId = LeaseId(2);

    fn publication(name: &str) -> Publication {
        let dir = Prefix::parse("/services/web").unwrap().join(name);
        Publication {
            dir,
            fields: [("ip".to_owned(), b"10.0.0.1".to_vec())].into(),
        }
    }

    /// A machine that holds lease A with one publication announced at `now`.
    fn announced(now: Instant) -> Lease {
        let mut lease = Lease::new(TTL, 1);
        assert_eq!(
            lease.handle(now, Input::Want(publication("a"))),
            [Action::Grant(TTL)]
        );
        let publish = Action::Publish(A, publication("a"));
        assert_eq!(lease.handle(now, Input::Granted(Ok((A, TTL)))), [publish]);
        assert!(!lease.is_announced());
        assert_eq!(
            lease.handle(now, Input::Published(A, Ok(()))),
            [Action::Announced]
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
            assert_eq!(lease.handle(now, Input::KeptAlive(A, Ok(TTL))), []);
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
                    lease.handle(now, Input::KeptAlive(A, Err(Failure::Failed))),
                    []
                );
            } else {
                break (actions, now);
            }
        };
        assert_eq!(lost, [Action::Lost(A), Action::Grant(TTL)]);
        assert_eq!(now - start, patience(TTL), "one beat before its end");
        assert!(beats > 2, "tried again in between");
    }

    #[test]
    fn a_lost_lease_is_granted_anew_and_everything_published_on_it() {
        let now = Instant::now();
        let mut lease = announced(now);
        lease.handle(now, Input::Want(publication("b")));
        lease.handle(now, Input::Published(A, Ok(())));
        lease.handle(lease.deadline().unwrap(), Input::Tick);
        let lost = lease.handle(now, Input::KeptAlive(A, Err(Failure::Lost)));
        assert_eq!(lost, [Action::Lost(A), Action::Grant(TTL)]);
        assert_eq!(
            lease.handle(now, Input::Granted(Ok((B, TTL)))),
            [Action::Publish(B, publication("a"))]
        );
        // A late answer about the old lease changes nothing.
        assert_eq!(
            lease.handle(now, Input::Published(A, Err(Failure::Lost))),
            []
        );
        let next = lease.handle(now, Input::Published(B, Ok(())));
        assert_eq!(next, [Action::Publish(B, publication("b"))]);
        assert_eq!(
            lease.handle(now, Input::Published(B, Ok(()))),
            [Action::Announced]
        );
    }

    #[test]
    fn stopping_revokes_and_tries_again_until_it_works() {
        let now = Instant::now();
        let mut lease = announced(now);
        assert_eq!(lease.handle(now, Input::Stop), [Action::Revoke(A)]);
        assert_eq!(
            lease.handle(now, Input::Revoked(A, Err(Failure::Failed))),
            []
        );
        let again = lease.handle(lease.deadline().unwrap(), Input::Tick);
        assert_eq!(again, [Action::Revoke(A)]);
        assert_eq!(
            lease.handle(now, Input::Revoked(A, Ok(()))),
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
            lease.handle(now, Input::Granted(Ok((A, TTL)))),
            [Action::Revoke(A)]
        );
    }

    /// A store that answers, fails or forgets, as the dice of the test fall.
    #[derive(Debug, Clone, Copy)]
    enum Answer {
        Good,
        Fails,
        Lost,
    }

    fn answers() -> impl Strategy<Value = Vec<(Answer, u64)>> {
        let answer =
            prop_oneof![4 => Just(Answer::Good), 2 => Just(Answer::Fails), 1 => Just(Answer::Lost)];
        proptest::collection::vec((answer, 0u64..3000), 1..80)
    }

    fn reply(answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Good => Ok(()),
            Answer::Fails => Err(Failure::Failed),
            Answer::Lost => Err(Failure::Lost),
        }
    }

    proptest! {
        /// Whatever the store answers: only the lease that was granted last is used, one publication is out at a
        /// time, and after a stop nothing is published and the end comes exactly once.
        #[test]
        fn invariants(answers in answers(), stop_at in 0usize..80, seed in any::<u64>()) {
            let mut now = Instant::now();
            let mut lease = Lease::new(TTL, seed);
            let (mut granted, mut stopped, mut withdrawn) = (0, false, 0);
            let mut open = lease.handle(now, Input::Want(publication("a")));
            open.extend(lease.handle(now, Input::Want(publication("b"))));
            for (step, (answer, millis)) in answers.into_iter().enumerate() {
                if step == stop_at {
                    stopped = true;
                    open.extend(lease.handle(now, Input::Stop));
                }
                let publishing = open.iter().filter(|a| matches!(a, Action::Publish(l, _) if l.0 == granted)).count();
                prop_assert!(publishing <= 1);
                now += Duration::from_millis(millis);
                let input = if open.is_empty() {
                    match lease.deadline() {
                        Some(at) => { now = now.max(at); Input::Tick }
                        None => continue,
                    }
                } else {
                    match open.remove(0) {
                        Action::Grant(_) => Input::Granted(reply(answer).map(|()| { granted += 1; (LeaseId(granted), TTL) })),
                        Action::Publish(l, _) => Input::Published(l, reply(answer)),
                        Action::KeepAlive(l) => Input::KeptAlive(l, reply(answer).map(|()| TTL)),
                        Action::Revoke(l) => Input::Revoked(l, reply(answer)),
                        Action::Announced | Action::Lost(_) => continue,
                        Action::Withdrawn => { withdrawn += 1; prop_assert!(stopped); continue }
                    }
                };
                let actions = lease.handle(now, input);
                for action in &actions {
                    match action {
                        Action::Publish(l, _) => prop_assert!(l.0 == granted && !stopped),
                        Action::KeepAlive(l) | Action::Revoke(l) => prop_assert_eq!(l.0, granted),
                        Action::Grant(_) => prop_assert!(!stopped),
                        Action::Announced | Action::Lost(_) | Action::Withdrawn => {}
                    }
                }
                open.extend(actions);
                prop_assert!(withdrawn <= 1);
            }
        }
    }
}
