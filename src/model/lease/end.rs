//! How a lease ends: the machine revokes it when nothing is wanted any more, and so each lease that ran out without an
//! answer. Pure.

use std::time::Instant;

use super::{ANSWER_WITHIN, Action, Failure, Lease, State};
use crate::model::lease_id::LeaseId;

impl Lease {
    /// Revokes the lease that is held, since nothing is wanted any more.
    pub(super) fn give_back(&mut self, now: Instant, stop: bool, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Idle | State::Waiting { .. } => self.revoke_silent(now, stop, actions),
            // What is granted goes straight back.
            State::Granting { stopped, .. } => *stopped |= stop,
            State::Held(held) => {
                let lease = held.lease;
                self.release(now, lease, stop, actions);
            }
            State::Revoking { stopped, .. } => *stopped |= stop,
            State::Ended => {}
        }
    }

    /// Revokes the silent leases once everything is published on their successor: what still hangs on them is not wanted, or
    /// in our own way.
    pub(super) fn revoke_silent_if_replaced(&self, actions: &mut Vec<Action>) {
        if let State::Held(held) = &self.state
            && held.is_at_rest()
            && !held.has_failed()
        {
            actions.extend(self.silent.iter().copied().map(Action::Revoke));
        }
    }

    pub(super) fn revoked(
        &mut self,
        now: Instant,
        lease: LeaseId,
        answer: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let (at, stopped) = match &mut self.state {
            State::Revoking {
                lease: ours,
                at,
                stopped,
            } if *ours == lease => (at, *stopped),
            State::Held(_) => return self.silent_revoked(now, lease, answer, actions),
            State::Revoking { .. } | State::Idle | State::Granting { .. } => return,
            State::Waiting { .. } | State::Ended => return,
        };
        match answer {
            Ok(()) | Err(Failure::Lost) => {
                self.retry.succeeded();
                self.revoke_silent(now, stopped, actions);
            }
            Err(Failure::Failed | Failure::Conflict) => {
                *at = now + self.retry.failed(self.dice.chance());
            }
        }
    }

    /// The answer to the revoke of a silent lease while its successor is held; if it failed, the next heartbeat tries again.
    fn silent_revoked(
        &mut self,
        now: Instant,
        lease: LeaseId,
        answer: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        match answer {
            Ok(()) | Err(Failure::Lost) => {}
            Err(Failure::Failed | Failure::Conflict) => return,
        }
        if let State::Held(held) = &mut self.state
            && self.silent.remove(&lease)
        {
            // What stood in our way may have been ourselves.
            held.retry_all();
            self.publish_next(now, actions);
        }
    }

    /// Revokes the lease, unless other processes keep it alive too.
    pub(super) fn release(
        &mut self,
        now: Instant,
        lease: LeaseId,
        stopped: bool,
        actions: &mut Vec<Action>,
    ) {
        if self.shared.is_some() {
            self.revoke_silent(now, stopped, actions);
        } else {
            self.revoke(now, lease, stopped, actions);
        }
    }

    pub(super) fn revoke(
        &mut self,
        now: Instant,
        lease: LeaseId,
        stopped: bool,
        actions: &mut Vec<Action>,
    ) {
        self.state = State::Revoking {
            lease,
            at: now + ANSWER_WITHIN,
            stopped,
        };
        actions.push(Action::Revoke(lease));
    }

    /// Revokes the next silent lease, after the current one; when none is left, everything is withdrawn.
    pub(super) fn revoke_silent(&mut self, now: Instant, stopped: bool, actions: &mut Vec<Action>) {
        if let Some(lease) = self.silent.pop_first() {
            return self.revoke(now, lease, stopped, actions);
        }
        actions.push(Action::Withdrawn);
        self.wanted.forget_gone();
        match stopped {
            true => self.state = State::Ended,
            false if self.wanted.is_empty() => self.state = State::Idle,
            // Wanted again while it was taken back.
            false => self.grant(now, actions),
        }
    }
}
