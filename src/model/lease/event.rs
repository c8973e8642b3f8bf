//! The events of a lease machine: its inputs, the store's answers among them, and its actions. Pure.

use std::time::Duration;

use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Publication, Standing};

/// Why a request to the store failed, as far as the lease is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The store does not have the lease any more.
    Lost,
    /// Another owner, who is alive, has announced the same instance somewhere else.
    Conflict,
    /// Anything else; the lease may well be alive.
    Failed,
}

/// What happens to a lease: an order, an answer of the store, or a deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Publish this from now on; it replaces what was wanted under the same path.
    Want(Publication),
    /// Withdraw what was wanted under this path; it can be wanted again.
    Unwant(Prefix),
    /// Withdraw everything, for good.
    Stop,
    /// The store has answered a request.
    Answered(Answer),
    /// The deadline has passed.
    Tick,
}

impl From<Answer> for Input {
    fn from(answer: Answer) -> Self {
        Self::Answered(answer)
    }
}

/// The store's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The answer to [`Action::Grant`]: the lease and the TTL that the store gave it.
    Granted(Result<(LeaseId, Duration), Failure>),
    /// The answer to [`Action::Publish`].
    Published(LeaseId, Result<(), Failure>),
    /// The answer to [`Action::KeepAlive`]: the TTL from now on.
    KeptAlive(LeaseId, Result<Duration, Failure>),
    /// The answer to [`Action::Verify`]: what stands under each of these paths.
    Verified(LeaseId, Result<Vec<(Prefix, Standing)>, Failure>),
    /// The answer to [`Action::Revoke`].
    Revoked(LeaseId, Result<(), Failure>),
}

/// What is to be done about a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the store for a lease, for this very one if it has an id.
    Grant(Duration, Option<LeaseId>),
    /// Publish this on this lease.
    Publish(LeaseId, Publication),
    /// Renew the lease.
    KeepAlive(LeaseId),
    /// Ask the store, with one request, what is still there of these publications on this lease.
    Verify(LeaseId, Vec<Publication>),
    /// End the lease, and with it every key that hangs on it.
    Revoke(LeaseId),
    /// Report that what is wanted under this path is published.
    Announced(Prefix),
    /// Report that what is no longer wanted under this path is withdrawn; other publications stay.
    Removed(Prefix),
    /// Report that another owner has this path; the machine tries again every third of the TTL.
    Conflict(Prefix),
    /// Report that somebody has deleted or overwritten keys under this path; the machine publishes them again.
    Repaired(Prefix),
    /// Report that the lease is lost; the machine asks for a new one.
    Lost(LeaseId),
    /// Report that everything is withdrawn, since nothing is wanted any more.
    Withdrawn,
}
