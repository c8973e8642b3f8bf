//! Finds what a guard can know of the time before its start: the live file, its record, and the snapshot of the store. Shell.

use std::sync::Arc;

use super::guards::Guarded;
use super::machine::{BeforeStart, ShownCounts};
use super::reconfigure::follows;
use super::state_file::{HoldRecord, Records};
use crate::model::catalog::Catalog;
use crate::model::instance::{Instance, ServiceName};
use crate::model::prefix::Prefix;
use crate::model::update::{Snapshot, Update};
use crate::watch::source::snapshot::SnapshotFile;

impl Guarded {
    /// The state before the start; `catalog` is the state of the store now.
    pub(crate) fn find_state_before_start(
        &mut self,
        records: Option<&Records>,
        catalog: &Catalog,
        snapshot: &SnapshotFile,
    ) -> BeforeStart {
        if !self.has_file(false) {
            return BeforeStart::NoFile;
        }
        self.recorded = records.and_then(|records| records.read(&self.dests[0]));
        let recorded = self.recorded.as_ref();
        let Some(shown) = recorded.and_then(|record| record.shown.as_ref()) else {
            return BeforeStart::File(None, Vec::new());
        };
        let known = |(name, count): (&String, &usize)| Some((name.parse().ok()?, *count));
        let mut shown: ShownCounts = shown.iter().filter_map(known).collect();
        // The record may be of another configuration.
        shown.retain(|service, _| follows(&self.paths, catalog.prefix(), service));
        let is_missing = |service: &&ServiceName| {
            let found = catalog.services().get(*service);
            found.is_none_or(|all| all.is_empty())
        };
        let missing: Vec<&ServiceName> = shown.keys().filter(is_missing).collect();
        let last = self.last_known(&missing, catalog.prefix(), snapshot);
        BeforeStart::File(Some(shown), last)
    }

    /// The last known instances of these services: those that were held, and those of the snapshot.
    fn last_known(
        &self,
        missing: &[&ServiceName],
        prefix: &Prefix,
        snapshot: &SnapshotFile,
    ) -> Vec<Arc<Instance>> {
        if missing.is_empty() {
            return Vec::new();
        }
        let of_missing = |path: &&Prefix| {
            let path = std::slice::from_ref(*path);
            missing.iter().any(|service| follows(path, prefix, service))
        };
        let paths: Vec<Prefix> = self.paths.iter().filter(of_missing).cloned().collect();
        let mut catalog = Catalog::new(prefix.clone());
        if let Some((saved, _)) = snapshot.read(&paths) {
            let revision = saved.revision;
            for (path, entries) in paths.iter().zip(saved.entries) {
                catalog.apply(path, Update::Reset(Snapshot { revision, entries }));
            }
        }
        let served = catalog.services().values().flat_map(|all| all.values());
        let held = self.recorded.iter().flat_map(|record| &record.held);
        let all = held
            .flat_map(HoldRecord::decode_instances)
            .chain(served.cloned());
        let is_own = |one: &Arc<Instance>| {
            self.guard.rules().admits(one.ip) && self.concerns(prefix, &one.service, &one.id)
        };
        all.filter(is_own).collect()
    }
}
