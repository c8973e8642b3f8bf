//! The state of an instance, and who changes it. Pure.

use super::lease_id::LeaseId;
use super::prefix::Prefix;

/// The field below a publication's directory that others than its owner set, too: on the owner's lease, so that it goes
/// with what it is about.
pub const STATE: &str = "state";

/// A change of the state of something that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The directory of the instance.
    pub dir: Prefix,
    /// The state; `None` takes it away.
    pub state: Option<Vec<u8>>,
    /// Who wants it.
    pub by: By,
}

/// Who changes a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner of what stands on this lease: nothing happens unless it does, and a state that is there stays.
    Owner(LeaseId),
    /// Somebody else, who means it, whatever the state is.
    Hand,
}
