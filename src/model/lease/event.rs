//! What happens to a lease, and what is to be done about it. Pure.

use std::time::Duration;

use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Publication, Standing};

/// Why a request to the store failed, as far as the lease is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The store does not know the lease (any more).
    Lost,
    /// Another owner, who is alive, has announced the same instance somewhere else.
    Conflict,
    /// Anything else; the lease may well be alive.
    Failed,
}

/// What happens to a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// This shall stand in the store; it replaces what was wanted under the same path.
    Want(Publication),
    /// What was wanted under this path shall not stand in the store any more; it can be wanted again.
    Unwant(Prefix),
    /// Nothing shall stand in the store any more, for good.
    Stop,
    /// The answer to [`Action::Grant`]: the lease and the TTL that the store gave it.
    Granted(Result<(LeaseId, Duration), Failure>),
    /// The answer to [`Action::Publish`].
    Published(LeaseId, Result<(), Failure>),
    /// The answer to [`Action::KeepAlive`]: the TTL from now on.
    KeptAlive(LeaseId, Result<Duration, Failure>),
    /// The answer to [`Action::Verify`]: what stands under this path.
    Verified(LeaseId, Prefix, Result<Standing, Failure>),
    /// The answer to [`Action::Revoke`].
    Revoked(LeaseId, Result<(), Failure>),
    /// The deadline has passed.
    Tick,
}

/// What is to be done about a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the store for a lease, for this very one if it has an id.
    Grant(Duration, Option<LeaseId>),
    /// Make this stand in the store, on this lease.
    Publish(LeaseId, Publication),
    /// Renew the lease.
    KeepAlive(LeaseId),
    /// Look whether this still stands in the store, on this lease.
    Verify(LeaseId, Publication),
    /// Give the lease back, and with it every key that hangs on it.
    Revoke(LeaseId),
    /// Say that what is wanted under this path stands in the store.
    Announced(Prefix),
    /// Say that what stood under this path, and is not wanted any more, is gone; other things still stand.
    Removed(Prefix),
    /// Say that another owner stands under this path, where we want to; we try again with each heartbeat.
    Conflict(Prefix),
    /// Say that hands have deleted or overwritten what was published under this path; it is published again.
    Repaired(Prefix),
    /// Say that the lease is lost and a new one is being asked for.
    Lost(LeaseId),
    /// Say that nothing of ours stands in the store, since nothing is wanted any more.
    Withdrawn,
}
