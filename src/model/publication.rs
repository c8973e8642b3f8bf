//! What a store is asked to publish, and who gives way to whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::lease_id::LeaseId;
use super::prefix::Prefix;

/// Keys that are to stand together under one path, and nothing else from an earlier announcement with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The directory of the instance, `/services/web/a`.
    pub dir: Prefix,
    /// Names below it (`ip`, `settings/distribution`) and their values.
    pub fields: BTreeMap<String, Vec<u8>>,
    /// The [`STATE`](super::state_change::STATE) to put on a new lease, where none stands: what a hand had set on the one before. What stands on
    /// this lease already, or on none, is left as it is, whatever this says.
    pub state: Option<Vec<u8>>,
    /// Who has to give way.
    pub claim: Claim,
    /// Our own leases before this one. Where one of them still holds the instance, its state is carried over: somebody has
    /// set it there for this very instance.
    pub predecessors: BTreeSet<LeaseId>,
}

/// What is to become of keys under a publication's directory that hang on somebody else's lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Claim {
    /// Whoever it is gives way.
    #[default]
    Whole,
    /// Whoever it is gives way once; from then on [`Claim::Alone`].
    TakeOver(BTreeSet<String>),
    /// An owner with the same values in these fields gives way, since it is ourselves before a restart; another one is
    /// a conflict.
    Restart(BTreeSet<String>),
    /// Whoever else is there came after us, and is a conflict: two who are alive would take the place from each other
    /// with every heartbeat. For a new lease it is [`Claim::Restart`] again, since on the old one it may be ourselves.
    Alone(BTreeSet<String>),
    /// Nobody gives way, and nobody is in conflict: what hangs on another lease is left alone. So is taken back what was
    /// published.
    Ours,
}

impl Claim {
    /// The claim of those who have published.
    #[must_use]
    pub fn published(self) -> Self {
        match self {
            Self::TakeOver(fields) | Self::Restart(fields) | Self::Alone(fields) => {
                Self::Alone(fields)
            }
            Self::Whole => Self::Whole,
            Self::Ours => Self::Ours,
        }
    }

    /// The claim on another lease than before.
    #[must_use]
    pub fn renewed(self) -> Self {
        match self {
            Self::Alone(fields) => Self::Restart(fields),
            Self::TakeOver(_) | Self::Restart(_) | Self::Whole | Self::Ours => self,
        }
    }
}

impl Publication {
    /// Why an owner on another lease, with this value in this field, does not give way; `None` if it does.
    #[must_use]
    pub fn conflict(&self, field: &str, theirs: &[u8]) -> Option<String> {
        let same = match &self.claim {
            Claim::Restart(same) => same,
            Claim::Alone(_) => {
                let dir = &self.dir;
                return Some(format!(
                    "{dir} is announced by another owner, who came later"
                ));
            }
            Claim::Whole | Claim::TakeOver(_) | Claim::Ours => return None,
        };
        let ours = self.fields.get(field)?;
        if !same.contains(field) || ours == theirs {
            return None;
        }
        let shown = |value| {
            String::from_utf8_lossy(value)
                .escape_debug()
                .collect::<String>()
        };
        Some(format!(
            "{} is announced by another owner, with {field} {} (ours is {})",
            self.dir,
            shown(theirs),
            shown(ours)
        ))
    }

    /// The full key of a field.
    #[must_use]
    pub fn key(&self, field: &str) -> String {
        format!("{}/{field}", self.dir.as_str())
    }
}

/// What is found where something was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether all its fields are there, on its lease.
    pub is_whole: bool,
    /// The state that was set on its lease, and dies with it.
    pub state: Option<Vec<u8>>,
}
