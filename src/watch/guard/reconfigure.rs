//! Replaces the guards after a config reload: the new ones take over what the previous ones hold. Shell.
//!
//! An operator who edits conf.d does not want servers to go. So instances of a service stay held in each new target that
//! follows the service and has the name, or one of the files, of the target that held them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use tracing::warn;

use super::guards::{Guarded, Guards};
use super::machine::Guard;
use crate::model::guard::Rules;
use crate::model::instance::ServiceName;
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::watch::target::state::TargetState;

impl Guards {
    /// Replaces the targets. Held instances of the services that the new ones follow stay held.
    pub(in crate::watch) fn replace_targets(&mut self, targets: &[TargetState]) {
        let now = Instant::now();
        let mut old: Vec<Guarded> = std::mem::take(&mut self.by_name).into_values().collect();
        let mut new = Vec::new();
        for state in targets {
            let mut successor = Guarded::new(state);
            let mut parents: Vec<&Guarded> = old
                .iter()
                .filter(|one| one.passes_on_to(&successor))
                .collect();
            if successor.guard.rules().is_none() && parents.is_empty() {
                continue;
            }
            parents.sort_by_key(|one| one.name != successor.name);
            successor.inherit(&parents, &self.prefix);
            new.push(successor);
        }
        for one in &mut old {
            let successors: Vec<&Guarded> = new
                .iter()
                .filter(|successor| one.passes_on_to(successor))
                .collect();
            let goes_on = |service: &ServiceName| {
                successors
                    .iter()
                    .any(|successor| successor.guard.holds(service))
            };
            let events = one.guard.end_unfollowed(goes_on);
            one.log_events(&events);
        }
        for successor in &mut new {
            if successor.started {
                let (paths, prefix) = (&successor.paths, &self.prefix);
                let follows = |service: &ServiceName| follows(paths, prefix, service);
                let events = successor.guard.start_with_inherited(now, follows);
                successor.log_events(&events);
            }
        }
        self.remove_stale_records(&old, &new);
        let named = new.into_iter().map(|one| (one.name.clone(), one));
        self.by_name = named.collect();
        self.write_records();
    }

    /// Removes the records of files that no target has any more, and requests that were made before this process started.
    fn remove_stale_records(&self, old: &[Guarded], new: &[Guarded]) {
        let Some(records) = self.records.as_ref().filter(|_| !self.noop) else {
            return;
        };
        if !new.is_empty()
            && let Err(error) = records.make_dir()
        {
            warn!(
                %error, "the state directory cannot be made ({error}): what is held cannot be released by hand; give --state-dir"
            );
        }
        let places: BTreeSet<&Path> = new.iter().map(|one| one.dests[0].as_path()).collect();
        for gone in old {
            if !places.contains(gone.dests[0].as_path()) {
                records.remove(&gone.dests[0]);
            }
        }
        for one in new.iter().filter(|one| !one.started) {
            records.remove_request(&one.dests[0]);
        }
    }
}

impl Guarded {
    fn new(state: &TargetState) -> Self {
        let target = &state.loaded.target;
        let rules: Rules = target.guard.clone();
        let dests = target.outputs.iter().map(|one| one.dest.clone());
        Self {
            guard: Guard::new(rules),
            name: target.name.clone(),
            dests: dests.collect(),
            paths: state.paths.clone(),
            outside: BTreeSet::new(),
            started: false,
            recorded: None,
            events: Vec::new(),
        }
    }

    fn passes_on_to(&self, successor: &Self) -> bool {
        let shares = |dest| successor.dests.contains(dest);
        self.name == successor.name || self.dests.iter().any(shares)
    }

    /// Takes over what these guards know and hold; the first one has the same name, if any has.
    fn inherit(&mut self, parents: &[&Self], prefix: &Prefix) {
        let started = parents.iter().filter(|one| one.started);
        for (at, parent) in started.enumerate() {
            if at == 0 {
                self.guard.continue_counters(&parent.guard);
                self.outside.clone_from(&parent.outside);
            }
            let paths = &self.paths;
            self.guard.inherit(&parent.guard, |one| {
                let dir = keyspace::dir(prefix, one.service.as_str(), one.id.as_str());
                paths.iter().any(|path| path.covers(dir.as_str()))
            });
            self.started = true;
            if parent.dests[0] == self.dests[0] {
                self.recorded.clone_from(&parent.recorded);
            }
        }
    }
}

/// Whether anything of a service is followed.
pub(crate) fn follows(paths: &[Prefix], prefix: &Prefix, service: &ServiceName) -> bool {
    let dir = prefix.join(service.as_str());
    let mut paths = paths.iter();
    paths.any(|path| path.covers(dir.as_str()) || dir.covers(path.as_str()))
}
