//! The life of a lease and of what hangs on it: grant → publish → keep-alive → lost → regrant → revoke. Pure.
//!
//! ```text
//!            want                granted
//!   Idle ───────────▶ Granting ──────────▶ Held ──┐ keep-alive every ttl/3, publish what is not yet published
//!                      ▲    │ failed        │ ▲   │
//!                 due  │    ▼               │ └───┘
//!                     Waiting ◀─────────────┘ lost: the store says so, or its TTL is over
//!
//!   nothing wanted any more, or stop: the lease is revoked (tried again until it works), then Idle, or Ended
//! ```
//!
//! An error on the way is not a lost lease, and neither is an answer that takes long (etcd's grpc-proxy answers up to a
//! third of the TTL late). The machine tries the same lease again until its TTL is over, by our own clock and counted from
//! the last heartbeat that the store answered, so that an outage makes no key disappear that would have stayed. It never
//! tries a lost lease again: it asks for a new one, and publishes everything anew on that.
//!
//! When nothing is wanted any more, the machine revokes the lease: a request to publish that is still under way somewhere
//! can then do no harm, and no key of another owner is touched. For the same reason the machine remembers a lease whose TTL
//! ran out without an answer, and revokes it when everything is published on the next lease: the store may still have it,
//! and keys on it.
//!
//! Several publications may hang on one lease. The machine makes them one after the other, new ones before it withdraws old
//! ones. One that fails, or whose place another owner has, holds up none of the others.

mod end;
mod event;
mod state;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub use self::event::{Action, Answer, Failure, Input};
use self::state::{Heartbeat, HeldLease, Later, Sent, State};
use self::wanted::Wanted;
use super::backoff::{Backoff, Dice};
use super::lease_id::LeaseId;
use super::prefix::Prefix;
use super::publication::{Publication, Standing};
use super::state_change::StateValue;

/// Heartbeats per TTL.
const HEARTBEATS: u32 = 3;
/// Each heartbeat comes up to this share of its interval early or late.
const JITTER: f64 = 0.1;
/// How many publications one request asks for: it is one operation each, of which etcd takes 128 at most.
const VERIFIED_AT_ONCE: usize = 50;
/// The delays between tries while the store does not answer.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A request without an answer counts as failed after this long. A store answers sooner, if only with an error; the answer
/// to a request whose job panicked never comes.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The machine; see the module's diagram.
#[derive(Debug)]
pub struct Lease {
    ttl: Duration,
    /// The id of a lease that other processes keep alive too. The machine never revokes it: it ends when nobody renews it.
    shared: Option<LeaseId>,
    wanted: Wanted,
    /// Leases whose TTL ran out without an answer: they may be alive in the store, with keys of ours on them.
    silent: BTreeSet<LeaseId>,
    state: State,
    retry: Backoff,
    dice: Dice,
}

impl Lease {
    /// A machine that will ask for a lease with this TTL; `seed` decides the jitter.
    #[must_use]
    pub fn new(ttl: Duration, seed: u64) -> Self {
        Self {
            ttl,
            shared: None,
            wanted: Wanted::default(),
            silent: BTreeSet::new(),
            state: State::Idle,
            retry: Backoff::new(RETRY.0, RETRY.1.min(ttl / HEARTBEATS)),
            dice: Dice::new(seed),
        }
    }

    /// A machine for the lease with this id, which several processes keep alive together.
    #[must_use]
    pub fn shared(ttl: Duration, seed: u64, id: LeaseId) -> Self {
        Self {
            shared: Some(id),
            ..Self::new(ttl, seed)
        }
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Ended => None,
            State::Granting { sent, .. } => Some(*sent + ANSWER_WITHIN),
            State::Waiting { until } => Some(*until),
            State::Revoking { at, .. } => Some(*at),
            State::Held(held) => Some(held.deadline()),
        }
    }

    /// Whether everything that is wanted is published, as far as the answers say.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        match &self.state {
            State::Held(held) => {
                held.is_at_rest() && held.later.is_empty() && !self.wanted.is_empty()
            }
            State::Idle | State::Granting { .. } | State::Waiting { .. } => false,
            State::Revoking { .. } | State::Ended => false,
        }
    }

    /// Whether the publication that is wanted under this path is published on the lease that is held.
    #[must_use]
    pub fn is_published(&self, dir: &Prefix) -> bool {
        match &self.state {
            State::Held(held) => self.wanted.wants(dir) && held.is_published(dir),
            State::Idle | State::Granting { .. } | State::Waiting { .. } => false,
            State::Revoking { .. } | State::Ended => false,
        }
    }

    /// The id of the lease that is held.
    #[must_use]
    pub fn id(&self) -> Option<LeaseId> {
        match &self.state {
            State::Held(held) => Some(held.lease),
            State::Idle | State::Granting { .. } | State::Waiting { .. } => None,
            State::Revoking { .. } | State::Ended => None,
        }
    }

    /// When the lease that is held ends unless it is renewed.
    #[must_use]
    pub fn expires(&self) -> Option<Instant> {
        match &self.state {
            State::Held(held) => Some(held.lost_at),
            State::Idle | State::Granting { .. } | State::Waiting { .. } => None,
            State::Revoking { .. } | State::Ended => None,
        }
    }

    /// Remembers the state of what is published under this path, unless it had one before: the machine sets it again on
    /// another lease.
    pub fn remember_state(&mut self, dir: &Prefix, state: StateValue) {
        self.wanted.set_first_state(dir, state);
    }

    /// Whether everything is withdrawn for good.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The transition: takes an [`Input`], or an [`Answer`] of the store as it is.
    pub fn handle(&mut self, now: Instant, input: impl Into<Input>) -> Vec<Action> {
        let mut actions = Vec::new();
        match input.into() {
            Input::Want(publication) => self.want(now, publication, &mut actions),
            Input::Unwant(dir) => self.unwant(now, &dir, &mut actions),
            Input::Stop => self.stop(now, &mut actions),
            Input::Answered(answer) => self.answered(now, answer, &mut actions),
            Input::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    fn answered(&mut self, now: Instant, answer: Answer, actions: &mut Vec<Action>) {
        match answer {
            Answer::Granted(answer) => self.granted(now, answer, actions),
            Answer::Published(lease, answer) => self.published(now, lease, answer, actions),
            Answer::KeptAlive(lease, answer) => self.kept_alive(now, lease, answer, actions),
            // After a failure the next heartbeat asks again.
            Answer::Verified(_, Err(_)) => {}
            Answer::Verified(lease, Ok(found)) => self.verified(now, lease, found, actions),
            Answer::Revoked(lease, answer) => self.revoked(now, lease, answer, actions),
        }
    }

    fn want(&mut self, now: Instant, publication: Publication, actions: &mut Vec<Action>) {
        let dir = publication.dir.clone();
        self.wanted.want(publication);
        match &mut self.state {
            State::Idle => self.grant(now, actions),
            State::Held(held) => {
                held.mark_stale(dir);
                self.publish_next(now, actions);
            }
            State::Granting { .. }
            | State::Waiting { .. }
            | State::Revoking { .. }
            | State::Ended => {}
        }
    }

    fn unwant(&mut self, now: Instant, dir: &Prefix, actions: &mut Vec<Action>) {
        if !self.wanted.unwant(dir) {
            return;
        }
        if self.wanted.is_nothing() {
            return self.give_back(now, false, actions);
        }
        if let State::Held(held) = &mut self.state {
            held.mark_stale(dir.clone());
            self.publish_next(now, actions);
        }
    }

    fn stop(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.wanted.clear();
        self.give_back(now, true, actions);
    }

    fn grant(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.state = State::Granting {
            sent: now,
            stopped: false,
        };
        actions.push(Action::Grant(self.ttl, self.shared));
    }

    fn granted(
        &mut self,
        now: Instant,
        answer: Result<(LeaseId, Duration), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let State::Granting { sent, stopped } = self.state else {
            return;
        };
        let unwanted = stopped || self.wanted.is_nothing();
        match (answer, unwanted) {
            (Ok((lease, _)), true) => self.release(now, lease, stopped, actions),
            (Err(_), true) => self.revoke_silent(now, stopped, actions),
            (Err(_), false) => {
                self.state = State::Waiting {
                    until: now + self.retry.failed(self.dice.chance()),
                };
            }
            (Ok((lease, ttl)), false) => {
                self.retry.succeeded();
                self.ttl = ttl;
                self.state = State::Held(HeldLease {
                    lease,
                    heartbeat: Heartbeat::Due(now + self.interval()),
                    // The store began to count at some time after the request went out.
                    lost_at: sent + ttl,
                    unpublished: self.wanted.move_to_new_lease(&self.silent),
                    later: BTreeMap::new(),
                    sent: None,
                });
                self.publish_next(now, actions);
            }
        }
    }

    /// Sends the next publication, if none is under way.
    fn publish_next(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let State::Held(held) = &mut self.state else {
            return;
        };
        let next = held.take_next(&self.wanted);
        if let Some((dir, publication)) = next {
            actions.push(Action::Publish(held.lease, publication));
            // A change that comes while the request is out adds it to the unpublished ones again.
            let until = now + ANSWER_WITHIN;
            held.sent = Some(Sent { dir, until });
        } else {
            self.revoke_silent_if_replaced(actions);
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
        let Some(Sent { dir, .. }) = held.sent.take() else {
            return;
        };
        match answer {
            Ok(()) => self.note_published(dir, actions),
            Err(Failure::Lost) => return self.lost(now, actions),
            Err(Failure::Conflict) => {
                let again = Later::Conflict(now + self.ttl / HEARTBEATS);
                held.postpone(dir.clone(), again);
                actions.push(Action::Conflict(dir));
            }
            Err(Failure::Failed) => {
                let again = Later::Failed(now + self.retry.failed(self.dice.chance()));
                held.postpone(dir, again);
            }
        }
        self.publish_next(now, actions);
    }

    /// Notes that the publication under this path has succeeded; what is wanted there may be something else by now.
    fn note_published(&mut self, dir: Prefix, actions: &mut Vec<Action>) {
        let State::Held(held) = &mut self.state else {
            return;
        };
        self.retry.succeeded();
        held.retry_failed();
        let is_fresh = !held.unpublished.contains(&dir);
        actions.extend(self.wanted.note_published(dir, is_fresh));
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
        let Heartbeat::Sent { first: sent, .. } = held.heartbeat else {
            return;
        };
        match answer {
            Ok(ttl) => {
                self.retry.succeeded();
                self.ttl = ttl;
                held.lost_at = sent + ttl;
                held.heartbeat = Heartbeat::Due(sent + interval);
                held.retry_failed();
                self.verify(actions);
                self.publish_next(now, actions);
            }
            Err(Failure::Lost) => self.lost(now, actions),
            Err(Failure::Failed | Failure::Conflict) => {
                held.heartbeat = Heartbeat::Due(now + self.retry.failed(self.dice.chance()));
            }
        }
    }

    /// Asks, with each heartbeat, what is still there of the publications: somebody may have deleted or overwritten keys.
    fn verify(&self, actions: &mut Vec<Action>) {
        let State::Held(held) = &self.state else {
            return;
        };
        if held.is_at_rest() {
            let standing = self.wanted.all();
            let standing = standing.filter(|p| !held.later.contains_key(&p.dir));
            let standing: Vec<Publication> = standing.cloned().collect();
            let some = standing.chunks(VERIFIED_AT_ONCE);
            actions.extend(some.map(|some| Action::Verify(held.lease, some.to_vec())));
        }
    }

    /// Publishes again what does not stand any more. An answer is void for what has been ordered since the question.
    fn verified(
        &mut self,
        now: Instant,
        lease: LeaseId,
        found: Vec<(Prefix, Standing)>,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.state.held(lease) else {
            return;
        };
        let known = actions.len();
        for (dir, standing) in found {
            if !self.wanted.wants(&dir) || !held.is_published(&dir) {
                continue;
            }
            self.wanted.set_state(&dir, standing.state);
            if !standing.is_whole {
                held.mark_stale(dir.clone());
                actions.push(Action::Repaired(dir));
            }
        }
        if actions.len() > known {
            self.publish_next(now, actions);
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Idle | State::Ended => {}
            State::Granting { sent, .. } if now >= *sent + ANSWER_WITHIN => {
                self.granted(now, Err(Failure::Failed), actions);
            }
            State::Waiting { until } if now >= *until => self.grant(now, actions),
            State::Granting { .. } | State::Waiting { .. } => {}
            State::Revoking { lease, at, stopped } => {
                let (lease, stopped) = (*lease, *stopped);
                if now >= *at {
                    self.revoke(now, lease, stopped, actions);
                }
            }
            State::Held(held) if now >= held.lost_at => {
                if self.shared.is_none() {
                    self.silent.insert(held.lease);
                }
                self.lost(now, actions);
            }
            State::Held(held) => {
                if held.heartbeat_is_due(now, self.ttl / 2) {
                    actions.push(Action::KeepAlive(held.lease));
                }
                if held.sent.as_ref().is_some_and(|sent| now >= sent.until) {
                    let lease = held.lease;
                    self.published(now, lease, Err(Failure::Failed), actions);
                } else if held.retry_due(now) {
                    self.publish_next(now, actions);
                }
            }
        }
    }

    fn lost(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let State::Held(held) = &self.state {
            actions.push(Action::Lost(held.lease));
            self.grant(now, actions);
        }
    }

    /// The time to the next heartbeat.
    fn interval(&mut self) -> Duration {
        (self.ttl / HEARTBEATS).mul_f64(1.0 - JITTER + 2.0 * JITTER * self.dice.chance())
    }
}

#[cfg(test)]
mod tests;
