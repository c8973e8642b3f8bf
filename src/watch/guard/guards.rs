//! The guards of all targets: hands them the changes of the catalog, lays over it what they hold, and passes on their events.
//! Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::machine::{Change, Event, Guard, Input};
use super::state_file::{Record, Records};
use crate::model::catalog::{Catalog, Changes};
use crate::model::instance::{Instance, InstanceId, ServiceName};
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::system::{bounded, file};
use crate::watch::source::snapshot::SnapshotFile;

/// How often a guard that holds something looks for a request to release it.
pub(super) const RELEASE_POLL: Duration = Duration::from_millis(250);

/// All guards of a process.
pub(crate) struct Guards {
    pub(super) records: Option<Records>,
    /// The guards write no record (`--noop`).
    pub(super) noop: bool,
    /// Where instances live in the store.
    pub(super) prefix: Prefix,
    pub(super) by_name: BTreeMap<String, Guarded>,
    poll_at: Option<Instant>,
}

/// One target under guard.
pub(super) struct Guarded {
    pub(super) guard: Guard,
    pub(super) name: String,
    /// Its files; there is one at least.
    pub(super) dests: Vec<PathBuf>,
    pub(super) paths: Vec<Prefix>,
    /// The instances with an address outside of its networks.
    pub(super) outside: BTreeSet<(ServiceName, InstanceId)>,
    /// Whether the store has sent its whole contents since the guard was made.
    pub(super) started: bool,
    /// What the record says.
    pub(super) recorded: Option<Record>,
    /// The events that [`Guards::take_events`] has not taken yet.
    pub(super) events: Vec<Event>,
}

impl Guards {
    /// Without a state directory the holds are forgotten when the process ends, and nobody can release them by hand.
    pub(crate) fn open(state_dir: Option<PathBuf>, noop: bool, prefix: Prefix) -> Self {
        Self {
            records: state_dir.map(|dir| Records::new(&dir)),
            noop,
            prefix,
            by_name: BTreeMap::new(),
            poll_at: None,
        }
    }

    /// Takes in the whole contents of the store.
    pub(crate) fn take_in_all(&mut self, catalog: &Catalog, snapshot: &SnapshotFile) {
        for one in self.by_name.values_mut() {
            let here = one.admitted_instances(catalog);
            let input = if one.started {
                Input::Reset(here)
            } else {
                let before = one.find_state_before_start(self.records.as_ref(), catalog, snapshot);
                Input::Started(here, before)
            };
            let is_start = !one.started;
            one.started = true;
            one.handle(input);
            if let Some(records) = self.records.as_ref().filter(|_| self.noop && is_start) {
                one.warn_of_holds_elsewhere(records);
            }
        }
        self.write_records();
    }

    /// Takes in what an update has changed in the catalog.
    pub(crate) fn take_in_changes(&mut self, catalog: &Catalog, changes: &Changes) {
        if changes.instances.is_empty() {
            return;
        }
        for one in self.by_name.values_mut() {
            let changes = one.admitted_changes(catalog, changes);
            if !changes.is_empty() {
                one.handle(Input::Changed(changes));
            }
        }
        self.write_records();
    }

    /// The holds that have begun or ended since this was asked last, with the names of their targets.
    pub(crate) fn take_events(&mut self) -> Vec<(String, Event)> {
        let all = self.by_name.iter_mut();
        let taken = all.flat_map(|(name, one)| {
            let events = std::mem::take(&mut one.events);
            events.into_iter().map(|event| (name.clone(), event))
        });
        taken.collect()
    }

    /// When to [`Guards::tick`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let all = self.by_name.values();
        let ticks = all.filter_map(|one| one.guard.deadline());
        ticks.chain(self.poll_at).min()
    }

    /// Does what is due by now, and returns the names of the targets that have to be published because of it.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<String> {
        let looking = self.poll_at.is_some_and(|at| now >= at);
        let (mut changed, mut taken) = (Vec::new(), Vec::new());
        for (name, one) in &mut self.by_name {
            let due = one.guard.deadline().is_some_and(|at| now >= at);
            let mut events = if due {
                one.handle(Input::Tick)
            } else {
                Vec::new()
            };
            let dest = &one.dests[0];
            let records = self.records.as_ref().filter(|_| looking);
            if let Some(request) = records.and_then(|records| records.requested_release(dest)) {
                taken.push(dest.clone());
                events.extend(one.handle(Input::Release(request.service)));
            }
            if !events.is_empty() {
                changed.push(name.clone());
            }
        }
        if looking || !changed.is_empty() {
            self.poll_at = None;
            self.write_records();
        }
        // `sidekick guard release` waits until its request is gone, so the request goes when everything is done.
        for (records, dest) in self.records.iter().cycle().zip(taken) {
            records.remove_request(&dest);
        }
        changed
    }

    /// Whether the files of a target are to be left as they are.
    pub(crate) fn is_frozen(&mut self, name: &str) -> bool {
        let one = self.by_name.get_mut(name);
        let Some(one) = one.filter(|one| one.guard.is_frozen()) else {
            return false;
        };
        if one.has_file(true) {
            return true;
        }
        one.handle(Input::NoFile);
        self.write_records();
        false
    }

    /// The catalog as a target is to see it.
    pub(crate) fn catalog_for(&self, name: &str, catalog: &Arc<Catalog>) -> Arc<Catalog> {
        match self.by_name.get(name) {
            Some(one) if !one.outside.is_empty() || one.guard.held().next().is_some() => {
                Arc::new(catalog.overlaid(one.outside.iter(), one.guard.held()))
            }
            Some(_) | None => Arc::clone(catalog),
        }
    }

    /// The files of a target are as they should be.
    pub(crate) fn record_published(&mut self, name: &str) {
        if let Some(one) = self.by_name.get_mut(name).filter(|_| !self.noop) {
            one.write_record_if_changed(self.records.as_ref(), true);
        }
    }

    /// Writes down what is held. While something is held, sets the time to look for requests to release it.
    pub(super) fn write_records(&mut self) {
        if self.noop {
            return;
        }
        for one in self.by_name.values_mut() {
            one.write_record_if_changed(self.records.as_ref(), false);
        }
        let holds = self.by_name.values().any(Guarded::holds) && self.records.is_some();
        let next = || Instant::now() + RELEASE_POLL;
        self.poll_at = holds.then(|| self.poll_at.unwrap_or_else(next));
    }
}

impl Guarded {
    fn handle(&mut self, input: Input) -> Vec<Event> {
        let before = self.guard.counters();
        let events = self.guard.handle(Instant::now(), input);
        self.log_events(&events);
        self.log_decision(before);
        self.events.extend(events.iter().cloned());
        events
    }

    /// Whether there is a file to keep. `unseen` is the answer for a file that cannot be read. An empty file is not worth
    /// keeping: it was made as a mount point.
    pub(super) fn has_file(&self, unseen: bool) -> bool {
        let is_file = |dest: &PathBuf| match bounded::within(dest, file::read).flatten() {
            Ok(found) => found.is_some_and(|look| !look.content.is_empty()),
            Err(_) => unseen,
        };
        self.dests.iter().any(is_file)
    }

    fn holds(&self) -> bool {
        self.guard.is_frozen() || self.guard.held().next().is_some()
    }

    pub(super) fn concerns(&self, prefix: &Prefix, service: &ServiceName, id: &InstanceId) -> bool {
        let dir = keyspace::dir(prefix, service.as_str(), id.as_str());
        self.paths.iter().any(|path| path.covers(dir.as_str()))
    }

    /// All instances that the target follows, without those with an address outside of its networks.
    fn admitted_instances(&mut self, catalog: &Catalog) -> Vec<Arc<Instance>> {
        let prefix = catalog.prefix();
        let mut own = Vec::new();
        for (service, all) in catalog.services() {
            let dir = prefix.join(service.as_str());
            let has_whole = self.paths.iter().any(|path| path.covers(dir.as_str()));
            let concerns =
                |one: &&Arc<Instance>| has_whole || self.concerns(prefix, &one.service, &one.id);
            own.extend(all.values().filter(concerns).cloned());
        }
        let mut before = std::mem::take(&mut self.outside);
        let admitted = own.into_iter().filter(|one| {
            let known = before.remove(&(one.service.clone(), one.id.clone()));
            self.admits(one, known)
        });
        admitted.collect()
    }

    fn admitted_changes(&mut self, catalog: &Catalog, changes: &Changes) -> Vec<Change> {
        let mut own = Vec::new();
        for change in &changes.instances {
            let (service, id) = (change.service.clone(), change.id.clone());
            if !self.concerns(catalog.prefix(), &service, &id) {
                continue;
            }
            let known = self.outside.remove(&(service.clone(), id.clone()));
            let found = catalog
                .services()
                .get(&service)
                .and_then(|all| all.get(&id));
            let now = found.filter(|one| self.admits(one, known)).cloned();
            own.push(Change { service, id, now });
        }
        own
    }
}
