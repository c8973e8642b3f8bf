//! What happens to the instances of a process, and what is to be done about them. Pure.

use super::Entry;
use crate::model::lease;
use crate::model::os::ProbeResult;
use crate::model::prefix::Prefix;
use crate::model::state_change::StateChange;
use crate::model::update::Revision;
use crate::model::watcher_entry::Marks;

/// Whose lease it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::register) enum Holder {
    /// The process's own lease.
    Common,
    /// The lease that all owners of this shared instance keep alive together.
    Shared(Prefix),
}

/// One round of checks of an instance: its result counts only if no later round has begun since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::register) struct ProbeRound {
    /// The instance.
    pub(in crate::register) dir: Prefix,
    pub(super) number: u64,
}

/// What happens to the instances.
#[derive(Debug)]
pub(in crate::register) enum Input {
    /// Begin.
    Start,
    /// A round of checks is over.
    Probed(ProbeRound, ProbeResult),
    /// The store's answer to [`Action::Lease`], for the lease of this holder.
    Lease(Holder, lease::Answer),
    /// The instances are these from now on.
    Replace(Vec<Entry>),
    /// Mark the published instances, so that proxies send nothing new to them. From here on no other instance is published.
    Drain,
    /// The answer to [`Action::Mark`]: the revision since which the instance is marked; `None` if it is not.
    Marked(Prefix, Option<Revision>),
    /// Withdraw them all, for good.
    Stop,
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::register) enum Action {
    /// Run all checks of an instance once.
    Probe(ProbeRound),
    /// Report that an instance is healthy.
    Rise(Prefix),
    /// Report that an instance is unhealthy, and why.
    Fall(Prefix, String),
    /// Do this about a lease.
    Lease(Holder, lease::Action),
    /// Report that an instance is not in the store any more.
    Gone(Prefix),
    /// Report that the set is in force: every instance that can be published is. It comes once, and once for each new set.
    Settled,
    /// Report that the only instance has another owner, who does not go.
    Refused(Prefix),
    /// Mark this instance as one that is about to go.
    Mark(StateChange),
    /// Report, after [`Input::Drain`], which instances are marked.
    Drained(Marks),
    /// Report, after [`Input::Stop`], that nothing is published any more.
    Withdrawn,
}
