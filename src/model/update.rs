//! What following a prefix yields: snapshots and changes, each at a revision. Pure.

use std::fmt;

use super::key::{Entries, Key, Value};

/// A position in the history of a store; later is greater, until the store is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything under a prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The revision at which the store held all of these entries.
    pub revision: Revision,
    /// The keys and values.
    pub entries: Entries,
}

/// One key that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(Key, Value),
    /// The key is gone: deleted, withdrawn or expired.
    Delete(Key),
}

/// What following a prefix yields. A consumer never has to know why the store sends a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Everything under the prefix; the consumer forgets what it knew of it.
    Reset(Snapshot),
    /// Changes in the order in which they happened. A store never splits a transaction over two updates.
    Changed {
        /// The revision after the last of them.
        revision: Revision,
        /// What changed.
        changes: Vec<Change>,
    },
}

impl Update {
    /// The revision this update leads to.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Reset(snapshot) => snapshot.revision,
            Self::Changed { revision, .. } => *revision,
        }
    }
}
