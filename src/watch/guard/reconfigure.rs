//! The guards of another configuration, and what becomes of the previous ones. Shell.
//!
//! Nobody who moves a line in a file wants servers to go. So what is held of a service goes on being held wherever the
//! service is followed by a target of the same name, or with a file in common.

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
    /// These are the targets from now on. What is held of what they follow goes on being held.
    pub(in crate::watch) fn replace_targets(&mut self, targets: &[TargetState]) {
        let now = Instant::now();
        let mut old: Vec<Guarded> = std::mem::take(&mut self.by_name).into_values().collect();
        let mut new = Vec::new();
        for state in targets {
            let mut heir = Guarded::new(state);
            let mut parents: Vec<&Guarded> =
                old.iter().filter(|one| one.passes_on_to(&heir)).collect();
            if heir.guard.rules().is_none() && parents.is_empty() {
                continue;
            }
            parents.sort_by_key(|one| one.name != heir.name);
            heir.inherit(&parents, &self.prefix);
            new.push(heir);
        }
        for one in &mut old {
            let heirs: Vec<&Guarded> = new.iter().filter(|heir| one.passes_on_to(heir)).collect();
            let goes_on =
                |service: &ServiceName| heirs.iter().any(|heir| heir.guard.holds(service));
            let events = one.guard.end_unfollowed(goes_on);
            one.log_events(&events);
        }
        for heir in &mut new {
            if heir.started {
                let (paths, prefix) = (&heir.paths, &self.prefix);
                let follows = |service: &ServiceName| follows(paths, prefix, service);
                let events = heir.guard.start_with_inherited(now, follows);
                heir.log_events(&events);
            }
        }
        self.remove_stale_records(&old, &new);
        let named = new.into_iter().map(|one| (one.name.clone(), one));
        self.by_name = named.collect();
        self.write_records();
    }

    /// Takes away the records of files that are nobody's any more, and wishes of which nobody here knows.
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

    fn passes_on_to(&self, heir: &Self) -> bool {
        let shares = |dest| heir.dests.contains(dest);
        self.name == heir.name || self.dests.iter().any(shares)
    }

    /// Goes on where these have stopped; the first one is the closest.
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
