//! What happens to the instances of a process, and what is to be done about them. Pure.

use super::Entry;
use crate::model::lease;
use crate::model::os::ProbeResult;
use crate::model::prefix::Prefix;
use crate::model::state_change::StateChange;
use crate::model::update::Revision;
use crate::model::watchers::Marks;

/// Which lease is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::register) enum Holder {
    /// The one of the process.
    Common,
    /// The one that all owners of this shared instance keep alive.
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
    /// The store answered.
    Lease(Holder, lease::Input),
    /// From now on it is these.
    Replace(Vec<Entry>),
    /// Mark those that stand: nothing new is to be sent to them. From here on nobody else is announced.
    Drain,
    /// The answer to [`Action::Mark`]: the revision since which it is so, unless it is not.
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
    /// Say that an instance is healthy.
    Rise(Prefix),
    /// Say that it is not, and why.
    Fall(Prefix, String),
    /// Do this about a lease.
    Lease(Holder, lease::Action),
    /// Say that an instance does not stand in the store any more.
    Gone(Prefix),
    /// Say that the set is in force: who can stand in the store does. It comes once, and once for each new set.
    Settled,
    /// Say that the only instance has another owner, who does not go.
    Refused(Prefix),
    /// Mark this instance as one that is about to go.
    Mark(StateChange),
    /// After [`Input::Drain`]: these are marked.
    Drained(Marks),
    /// After [`Input::Stop`]: nothing stands in the store any more.
    Withdrawn,
}
