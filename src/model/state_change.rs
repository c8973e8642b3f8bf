//! The state of an instance, and who changes it. Pure.

use super::lease_id::LeaseId;
use super::prefix::Prefix;
use super::times::StateSince;

/// The field below an instance's directory that operators set besides its owner. It hangs on the owner's lease, so that
/// it ends with the instance.
pub const STATE: &str = "state";

/// A state as it stands in the store, with the field [`STATE_SINCE`](super::times::STATE_SINCE) beside it. Stores carry both and
/// look into neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateValue {
    /// The state.
    pub state: Vec<u8>,
    /// Since when it is so, if that is known.
    pub since: Option<Vec<u8>>,
}

impl StateValue {
    /// A state, and nobody knows since when.
    #[must_use]
    pub fn new(state: &str) -> Self {
        Self {
            state: state.into(),
            since: None,
        }
    }

    /// The same with the time since which it is so.
    #[must_use]
    pub fn since(self, since: StateSince) -> Self {
        Self {
            since: Some(since.to_string().into_bytes()),
            ..self
        }
    }
}

/// A change of the state of an instance that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The directory of the instance.
    pub dir: Prefix,
    /// The new state; `None` removes the state.
    pub state: Option<StateValue>,
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
