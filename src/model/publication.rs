//! What a store is asked to publish, and who gives way to whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::lease_id::LeaseId;
use super::prefix::Prefix;
use super::shared::Shared;
use super::state_change::StateValue;

/// The keys of one instance. A store publishes them in one transaction, in place of those of an earlier announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The directory of the instance, `/services/web/a`.
    pub dir: Prefix,
    /// Names below it (`ip`, `settings/distribution`) and their values.
    pub fields: Shared<BTreeMap<String, Vec<u8>>>,
    /// The [`STATE`](super::state_change::STATE) that an operator had set on the lease before. The store writes it on a new
    /// lease where the instance has no state yet; a state on this lease, or on none, stays as it is.
    pub state: Option<StateValue>,
    /// Which other owners of these keys give way.
    pub claim: Claim,
    /// Our own leases before this one. Where the instance still hangs on one of them, the store carries its state over:
    /// somebody has set it there for this very instance.
    pub predecessors: BTreeSet<LeaseId>,
}

/// What a store does about keys under a publication's directory that hang on the lease of another owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Claim {
    /// Every other owner gives way.
    #[default]
    Whole,
    /// Every other owner gives way once; after the first publication the claim is [`Claim::Alone`].
    TakeOver(Shared<BTreeSet<String>>),
    /// An owner that has published the same values in these fields gives way, since it is this process before a restart;
    /// any other owner is a conflict.
    Restart(Shared<BTreeSet<String>>),
    /// Every other owner came after us and is a conflict: two live processes would otherwise take the place from each
    /// other with every heartbeat. On a new lease the claim is [`Claim::Restart`] again, since the owner of the old lease
    /// may be this process.
    Alone(Shared<BTreeSet<String>>),
    /// Nobody gives way and nobody is a conflict: the store leaves alone what hangs on another lease. A publication that
    /// is taken back has this claim.
    Ours,
}

impl Claim {
    /// The claim after a publication has succeeded.
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

    /// Lets the names of its fields be the same in memory as those of `other`, if they are equal: most instances have equal ones.
    pub fn share_fields(&mut self, other: &Self) {
        if let (Some(fields), Some(others)) = (self.fields_mut(), other.fields()) {
            fields.share_if_equal(others);
        }
    }

    fn fields(&self) -> Option<&Shared<BTreeSet<String>>> {
        match self {
            Self::TakeOver(fields) | Self::Restart(fields) | Self::Alone(fields) => Some(fields),
            Self::Whole | Self::Ours => None,
        }
    }

    fn fields_mut(&mut self) -> Option<&mut Shared<BTreeSet<String>>> {
        match self {
            Self::TakeOver(fields) | Self::Restart(fields) | Self::Alone(fields) => Some(fields),
            Self::Whole | Self::Ours => None,
        }
    }

    /// The claim for a publication on another lease than the one before.
    #[must_use]
    pub fn renewed(self) -> Self {
        match self {
            Self::Alone(fields) => Self::Restart(fields),
            Self::TakeOver(_) | Self::Restart(_) | Self::Whole | Self::Ours => self,
        }
    }
}

impl Publication {
    /// Why an owner on another lease, which has the value `theirs` in `field`, does not give way; `None` if it does.
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

/// What a store finds where something was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether every field of the publication is there and hangs on its lease.
    pub is_whole: bool,
    /// The state that somebody has set on that lease; it ends with the lease.
    pub state: Option<StateValue>,
}
