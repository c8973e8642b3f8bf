//! Where a lease is in its life. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::wanted::Wanted;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::Publication;

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Granting {
        sent: Instant,
        stopped: bool,
    },
    Waiting {
        until: Instant,
    },
    Held(HeldLease),
    Revoking {
        lease: LeaseId,
        /// When to try again: after a failure, or when the request that is out counts as broken off.
        at: Instant,
        stopped: bool,
    },
    Ended,
}

impl State {
    /// The held lease, if it is this one: a late answer about an earlier lease means nothing any more.
    pub(super) fn held(&mut self, lease: LeaseId) -> Option<&mut HeldLease> {
        match self {
            Self::Held(held) if held.lease == lease => Some(held),
            Self::Held(_) | Self::Idle | Self::Granting { .. } => None,
            Self::Waiting { .. } | Self::Revoking { .. } | Self::Ended => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) lease: LeaseId,
    pub(super) heartbeat: Heartbeat,
    /// The TTL is over then, counted from the last heartbeat that was answered.
    pub(super) lost_at: Instant,
    /// The paths whose publications are to be sent next.
    pub(super) unpublished: BTreeSet<Prefix>,
    /// The paths whose publications have failed and are tried again later.
    pub(super) later: BTreeMap<Prefix, Later>,
    /// The publication that is under way.
    pub(super) sent: Option<Sent>,
}

/// A publication that is under way, and when it counts as broken off.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) dir: Prefix,
    pub(super) until: Instant,
}

impl HeldLease {
    pub(super) fn deadline(&self) -> Instant {
        let heartbeat = match self.heartbeat {
            Heartbeat::Due(at) | Heartbeat::Sent { again_at: at, .. } => at,
        };
        let publish = match &self.sent {
            // What failed earlier comes after the answer.
            Some(sent) => Some(sent.until),
            None => self.later.values().map(Later::at).min(),
        };
        publish
            .into_iter()
            .fold(heartbeat.min(self.lost_at), Instant::min)
    }

    /// Whether a heartbeat is to go out now; the next one follows after `patience` should it not be answered.
    pub(super) fn heartbeat_is_due(&mut self, now: Instant, patience: Duration) -> bool {
        let (first, at) = match self.heartbeat {
            Heartbeat::Due(at) => (now, at),
            Heartbeat::Sent { first, again_at } => (first, again_at),
        };
        let is_due = now >= at;
        if is_due {
            let again_at = now + patience;
            self.heartbeat = Heartbeat::Sent { first, again_at };
        }
        is_due
    }

    /// Whether there is nothing to publish now.
    pub(super) fn is_at_rest(&self) -> bool {
        self.sent.is_none() && self.unpublished.is_empty()
    }

    /// Whether nothing is left to be published under this path.
    pub(super) fn is_published(&self, dir: &Prefix) -> bool {
        let is_sent = self.sent.as_ref().is_some_and(|sent| sent.dir == *dir);
        !is_sent && !self.unpublished.contains(dir) && !self.later.contains_key(dir)
    }

    /// Whether a publication has failed for another reason than another owner.
    pub(super) fn has_failed(&self) -> bool {
        let failed = |later: &Later| matches!(later, Later::Failed(_));
        self.later.values().any(failed)
    }

    /// Notes that what is published under this path is not what is wanted.
    pub(super) fn mark_stale(&mut self, dir: Prefix) {
        self.later.remove(&dir);
        self.unpublished.insert(dir);
    }

    /// Tries a publication again later, unless it is due anyway because it has changed meanwhile.
    pub(super) fn postpone(&mut self, dir: Prefix, later: Later) {
        if !self.unpublished.contains(&dir) {
            self.later.insert(dir, later);
        }
    }

    /// Takes the publication that is sent next: new ones come before withdrawals.
    pub(super) fn take_next(&mut self, wanted: &Wanted) -> Option<(Prefix, Publication)> {
        if self.sent.is_some() {
            return None;
        }
        let mut all = self.unpublished.iter();
        let new = all.clone().find(|dir| wanted.wants(dir));
        let dir = new.or_else(|| all.next())?.clone();
        self.unpublished.remove(&dir);
        let publication = wanted.get(&dir)?.clone();
        Some((dir, publication))
    }

    /// Makes failed publications due at once, since the store answers.
    pub(super) fn retry_failed(&mut self) {
        self.retry_if(|later| matches!(later, Later::Failed(_)));
    }

    /// Makes all postponed publications due at once: another owner may be gone as well.
    pub(super) fn retry_all(&mut self) {
        self.retry_if(|_| true);
    }

    /// Makes publications due whose time has come; returns whether there is anything to send.
    pub(super) fn retry_due(&mut self, now: Instant) -> bool {
        self.retry_if(|later| now >= later.at());
        !self.is_at_rest()
    }

    fn retry_if(&mut self, due: impl Fn(&Later) -> bool) {
        let is_due = |(dir, later): (&Prefix, &Later)| due(later).then(|| dir.clone());
        let due: Vec<Prefix> = self.later.iter().filter_map(is_due).collect();
        for dir in due {
            self.mark_stale(dir);
        }
    }
}

#[derive(Debug)]
pub(super) enum Heartbeat {
    Due(Instant),
    Sent {
        /// When the first heartbeat that is not answered yet went out: an answer may be to that one.
        first: Instant,
        /// When another one goes out, should none of them be answered.
        again_at: Instant,
    },
}

/// When a publication is tried again, and why it has failed.
#[derive(Debug)]
pub(super) enum Later {
    Failed(Instant),
    Conflict(Instant),
}

impl Later {
    fn at(&self) -> Instant {
        match self {
            Self::Failed(at) | Self::Conflict(at) => *at,
        }
    }
}
