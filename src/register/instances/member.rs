//! One instance of a process: what it is, and how far it has come. Pure.

use std::net::SocketAddr;
use std::time::Instant;

use super::Holder;
use crate::model::check::Checks;
use crate::model::lease_id::LeaseId;
use crate::model::publication::Publication;
use crate::register::health::Health;

/// One instance as it is to be announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::register) struct Entry {
    /// Its keys.
    pub(in crate::register) publication: Publication,
    /// The lease that all owners of a shared id keep alive together.
    pub(in crate::register) shared: Option<LeaseId>,
    /// The checks that it has to pass before it is announced, and while it is.
    pub(in crate::register) checks: Option<Checks>,
    /// The announced address; checks without an address of their own go there.
    pub(in crate::register) announced: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) entry: Entry,
    /// `None` without checks: the instance then counts as healthy.
    pub(super) health: Option<Health>,
    /// The number of its last round of checks: an answer to an earlier one does not count.
    pub(super) round: u64,
    pub(super) stage: Stage,
    /// Whether it has become shared, and is being withdrawn from the common lease.
    pub(super) leaves_common: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Its checks have neither passed nor failed yet.
    Unknown,
    /// They fail.
    Unfit,
    /// It is to be published.
    Wanted {
        stands: bool,
        /// Since when another owner has had its place.
        conflict: Option<Instant>,
    },
}

/// What is new about an instance.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) publication: bool,
    pub(super) holder: bool,
    /// The checks, or where they go.
    pub(super) checks: bool,
}

impl Member {
    pub(super) fn new(entry: Entry) -> Self {
        Self {
            health: health(&entry),
            entry,
            round: 0,
            stage: Stage::Unknown,
            leaves_common: false,
        }
    }

    /// Takes over a new configuration. An instance that is published stays so until its new checks fail.
    pub(super) fn change(&mut self, entry: Entry) -> Changed {
        let old = std::mem::replace(&mut self.entry, entry);
        let new = &self.entry;
        let mut checks = old.checks != new.checks;
        if checks {
            self.health = health(new);
            if matches!(self.stage, Stage::Unfit) {
                self.stage = Stage::Unknown;
            }
        } else if let Some(health) = &mut self.health
            && old.announced != new.announced
        {
            health.forget_failures();
            checks = true;
        }
        Changed {
            publication: old.publication != new.publication,
            holder: old.shared != new.shared,
            checks,
        }
    }

    pub(super) fn holder(&self) -> Holder {
        match self.entry.shared {
            Some(_) => Holder::Shared(self.entry.publication.dir.clone()),
            None => Holder::Common,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.health.as_ref().and_then(Health::deadline)
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.stage, Stage::Wanted { .. })
    }

    /// Whether it is published, or cannot be: it is unhealthy, or another owner has its place.
    pub(super) fn is_settled(&self) -> bool {
        match self.stage {
            Stage::Unknown => false,
            Stage::Unfit => true,
            Stage::Wanted { stands, conflict } => stands || conflict.is_some(),
        }
    }
}

fn health(entry: &Entry) -> Option<Health> {
    let checks = entry.checks.as_ref();
    checks.map(|checks| Health::new(checks.thresholds, checks.round_limit()))
}
