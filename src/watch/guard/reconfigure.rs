//! Replaces the guards after a config reload, and hands what the old ones hold to the new ones. Shell.
//!
//! An operator who edits or renames a file of conf.d does not want servers to vanish from the proxy. So a service stays
//! held by every new target that follows it and has the name of the old target, or a file in common with it. (The file
//! of conf.d names the target, so a renamed file can only be recognised by what it publishes.)

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use tracing::warn;

use super::guards::{Guarded, Guards, covers};
use super::machine::Guard;
use crate::model::guard::Rules;
use crate::model::instance::ServiceName;
use crate::model::prefix::Prefix;
use crate::watch::target::state::TargetState;

impl Guards {
    /// Replaces the guards by those of `targets`. What the old guards hold of what these follow stays held.
    pub(in crate::watch) fn replace_targets(&mut self, targets: &[TargetState]) {
        let now = Instant::now();
        let mut old: Vec<Guarded> = std::mem::take(&mut self.by_name).into_values().collect();
        let mut new = self.successors(&old, targets);
        for one in &mut old {
            one.end_unfollowed(&new);
        }
        for one in new.iter_mut().filter(|one| one.started) {
            let (paths, prefix) = (&one.paths, &self.prefix);
            let follows = |service: &ServiceName| follows(paths, prefix, service);
            let events = one.guard.start_with_inherited(now, follows);
            one.log_events(&events);
        }
        self.remove_stale_records(&old, &new);
        let named = new.into_iter().map(|one| (one.name.clone(), one));
        self.by_name = named.collect();
        self.write_records();
    }

    /// The guards of `targets`, with what they take over. A target without limits gets a guard only if there is
    /// something to take over, which its guard then ends.
    fn successors(&self, old: &[Guarded], targets: &[TargetState]) -> Vec<Guarded> {
        let mut new = Vec::new();
        for state in targets {
            let mut successor = Guarded::new(state);
            let passes_on = |one: &&Guarded| one.passes_on_to(&successor);
            let mut predecessors: Vec<&Guarded> = old.iter().filter(passes_on).collect();
            if successor.guard.rules().is_none() && predecessors.is_empty() {
                continue;
            }
            predecessors.sort_by_key(|one| one.name != successor.name);
            successor.inherit(&predecessors, &self.prefix);
            new.push(successor);
        }
        new
    }

    /// Removes the records of files that no target has any more, and requests that were meant for an earlier process.
    fn remove_stale_records(&self, old: &[Guarded], new: &[Guarded]) {
        let Some(records) = self.records.as_ref().filter(|_| !self.noop) else {
            return;
        };
        if !new.is_empty()
            && let Err(error) = records.make_dir()
        {
            warn!(
                "the state directory cannot be made ({error}): what is held cannot be released by hand; give --state-dir"
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
    /// A guard that knows nothing yet.
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
        }
    }

    /// Whether `successor` takes over from this guard: it has the same name, or a file in common.
    fn passes_on_to(&self, successor: &Self) -> bool {
        let shares = |dest| successor.dests.contains(dest);
        self.name == successor.name || self.dests.iter().any(shares)
    }

    /// Ends and logs the holds that none of its successors in `new` has taken over.
    fn end_unfollowed(&mut self, new: &[Self]) {
        let successors: Vec<&Self> = new.iter().filter(|one| self.passes_on_to(one)).collect();
        let goes_on = |service: &ServiceName| successors.iter().any(|one| one.guard.holds(service));
        let events = self.guard.end_unfollowed(goes_on);
        self.log_events(&events);
    }

    /// Takes over what the guards in `predecessors` know and hold. The first one is the closest: its counters go on.
    fn inherit(&mut self, predecessors: &[&Self], prefix: &Prefix) {
        let started = predecessors.iter().filter(|one| one.started);
        for (at, predecessor) in started.enumerate() {
            if at == 0 {
                self.guard.continue_counters(&predecessor.guard);
                self.outside.clone_from(&predecessor.outside);
            }
            let paths = &self.paths;
            self.guard.inherit(&predecessor.guard, |one| {
                covers(paths, prefix, &one.service, &one.id)
            });
            self.started = true;
            if predecessor.dests[0] == self.dests[0] {
                self.recorded.clone_from(&predecessor.recorded);
            }
        }
    }
}

/// Whether `paths` cover anything of a service. `prefix` is where instances live in the store.
pub(crate) fn follows(paths: &[Prefix], prefix: &Prefix, service: &ServiceName) -> bool {
    let dir = prefix.join(service.as_str());
    let mut paths = paths.iter();
    paths.any(|path| path.covers(dir.as_str()) || dir.covers(path.as_str()))
}
