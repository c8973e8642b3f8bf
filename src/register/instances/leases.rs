//! The leases of a process: one that holds its instances, and one for each shared id. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Holder;
use crate::model::lease::{Action, Input, Lease};
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::state_change::StateValue;

#[derive(Debug)]
pub(super) struct Leases {
    common: Lease,
    shared: BTreeMap<Prefix, Lease>,
    ttl: Duration,
    seed: u64,
}

impl Leases {
    pub(super) fn new(ttl: Duration, seed: u64) -> Self {
        Self {
            common: Lease::new(ttl, seed),
            shared: BTreeMap::new(),
            ttl,
            seed,
        }
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all().filter_map(Lease::deadline).min()
    }

    pub(super) fn are_ended(&self) -> bool {
        self.all().all(Lease::is_ended)
    }

    fn all(&self) -> impl Iterator<Item = &Lease> {
        self.shared.values().chain([&self.common])
    }

    /// All of them, by name.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let shared = self.shared.keys().cloned().map(Holder::Shared);
        shared.chain([Holder::Common]).collect()
    }

    /// The id of the process's own lease, if it is held.
    pub(super) fn common(&self) -> Option<LeaseId> {
        self.common.id()
    }

    /// When the first of them ends unless it is renewed.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.all().filter_map(Lease::expires).min()
    }

    /// Whether the instance at this path is published on this lease, as far as the answers say.
    pub(super) fn has_published(&self, holder: &Holder, dir: &Prefix) -> bool {
        let lease = match holder {
            Holder::Common => Some(&self.common),
            Holder::Shared(dir) => self.shared.get(dir),
        };
        lease.is_some_and(|lease| lease.is_published(dir))
    }

    /// Remembers the state of an instance on the process's own lease, so that it stays on another lease.
    pub(super) fn remember_state(&mut self, dir: &Prefix, state: StateValue) {
        self.common.remember_state(dir, state);
    }

    /// Begins to keep the lease of a shared instance alive, with the other processes that do.
    pub(super) fn share(&mut self, dir: &Prefix, id: LeaseId) {
        let (ttl, seed) = (self.ttl, self.seed ^ id.0.unsigned_abs());
        let lease = || Lease::shared(ttl, seed, id);
        self.shared.entry(dir.clone()).or_insert_with(lease);
    }

    /// Leaves that lease to the others.
    pub(super) fn stop_sharing(&mut self, dir: &Prefix) {
        self.shared.remove(dir);
    }

    /// Hands an input to the lease of this holder.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        holder: &Holder,
        input: impl Into<Input>,
    ) -> Vec<Action> {
        let lease = match holder {
            Holder::Common => Some(&mut self.common),
            Holder::Shared(dir) => self.shared.get_mut(dir),
        };
        // A late answer may be about an instance that is not ours any more.
        lease.map_or_else(Vec::new, |lease| lease.handle(now, input))
    }
}
