//! The state of an instance, and who changes it. Pure.

use super::lease_id::LeaseId;
use super::prefix::Prefix;

/// The field below an instance's directory that operators set besides its owner. It hangs on the owner's lease, so that
/// it ends with the instance.
pub const STATE: &str = "state";

/// A change of the state of an instance that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The directory of the instance.
    pub dir: Prefix,
    /// The new state; `None` removes the state.
    pub state: Option<Vec<u8>>,
    /// Who changes the state.
    pub by: By,
}

/// Who changes a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner of the instance, which hangs on this lease. Nothing changes where it hangs on another lease, and a state
    /// that is already set stays.
    Owner(LeaseId),
    /// An operator: the new state replaces whatever state is set.
    Hand,
}
