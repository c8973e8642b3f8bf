//! Where a lease is in its life. Pure.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::model::update::{LeaseId, Prefix};

#[derive(Debug)]
pub(super) enum State {
    Idle,
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
        stopped: bool,
    },
    Ended,
}

impl State {
    /// The held lease, if it is this one: a late answer about an earlier lease means nothing any more.
    pub(super) fn held(&mut self, lease: LeaseId) -> Option<&mut Held> {
        match self {
            Self::Held(held) if held.lease == lease => Some(held),
            Self::Held(_) | Self::Idle | Self::Granting { .. } => None,
            Self::Waiting { .. } | Self::Revoking { .. } | Self::Ended => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) lease: LeaseId,
    pub(super) beat: Beat,
    /// Without an answer until then, the lease counts as lost.
    pub(super) lost_at: Instant,
    /// What does not stand in the store as it is wanted.
    pub(super) unpublished: BTreeSet<Prefix>,
    pub(super) publishing: Publishing,
}

#[derive(Debug)]
pub(super) enum Beat {
    Due(Instant),
    Sent(Instant),
}

#[derive(Debug)]
pub(super) enum Publishing {
    Ready,
    Sent(Prefix),
    Retry(Instant),
}
