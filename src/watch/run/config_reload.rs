//! The config reload: reads conf.d again, and replaces the targets that have changed. Shell.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};

use super::Shell;
use super::handover::OutgoingTarget;
use super::store_events::count_files;
use crate::config::{BadTarget, Problem, WatchOptions};
use crate::model::catalog::Catalog;
use crate::system::file_watch::Watched;
use crate::watch::conf::load::{
    Configuration, Loaded, directories, format_hint, links, load, log_warnings,
};
use crate::watch::source::subscriptions::Subscriptions;
use crate::watch::target::state::{TargetState, paths};

/// The configuration: where it lies, how it is read, and what was wrong with it.
pub(super) struct Conf {
    pub(super) dir: PathBuf,
    pub(super) options: WatchOptions,
    pub(super) watched: Watched,
    /// The new configuration follows other paths than the one in force, and waits until the store answers.
    pub(super) waits_for_store: bool,
    /// The problems that made the configuration as a whole unusable when it was read last.
    pub(super) problems: Vec<Problem>,
    /// The targets with problems when it was read last. The others run without them.
    pub(super) bad: Vec<BadTarget>,
    /// The warnings of the last read, which the log has already.
    warned: Vec<Problem>,
}

impl Conf {
    /// Begins to watch the files of conf.d and the templates, unless there is only a single pass.
    pub(super) fn new(dir: PathBuf, options: WatchOptions) -> Self {
        let mut watched = Watched::new("the files of conf.d and templates");
        if !options.once {
            watched.follow(directories(&dir), links(&dir));
        }
        Self {
            dir,
            options,
            watched,
            waits_for_store: false,
            problems: Vec::new(),
            bad: Vec::new(),
            warned: Vec::new(),
        }
    }

    /// Logs the warnings that the last read did not have. Each edit of any file reads the whole configuration again, so
    /// most warnings come again.
    pub(super) fn log_new_warnings(&mut self, warnings: Vec<Problem>) {
        log_warnings(&warnings, &self.warned);
        self.warned = warnings;
    }

    /// Logs the problems of bad targets that have changed since the last read. `targets` are those in force.
    pub(super) fn report_bad(&mut self, bad: Vec<BadTarget>, targets: &[TargetState]) {
        for one in bad.iter().filter(|one| !self.bad.contains(one)) {
            for problem in &one.problems {
                error!(
                    target = one.name,
                    error = %problem,
                    "{}: {problem}{}",
                    one.name,
                    format_hint(problem)
                );
            }
            let then = if self.options.once {
                "this target has failed"
            } else if targets.iter().any(|state| is_from_file_of(state, one)) {
                "this target stays as it was until its mistake is corrected"
            } else {
                "this target is left out until its mistake is corrected"
            };
            error!(
                target = one.name,
                "{}: {then}; the others are kept", one.name
            );
        }
        self.bad = bad;
    }

    /// Logs once that what was wrong at the last read is right.
    fn report_mended(&self, new: &Configuration) {
        if !self.problems.is_empty() {
            info!("the configuration is right again");
        }
        for one in &self.bad {
            let is_good = |good: &Loaded| good.target.file == one.file;
            if new.good.iter().any(is_good) {
                info!(
                    target = one.name,
                    "{}: its configuration is right again", one.name
                );
            }
        }
    }

    /// Forgets the problems, so that the next read logs them again.
    pub(super) fn forget_problems(&mut self) {
        self.problems.clear();
        self.bad.clear();
    }
}

/// Whether a target was read from the same file of conf.d as the bad one.
pub(super) fn is_from_file_of(state: &TargetState, bad: &BadTarget) -> bool {
    state.loaded.target.file == bad.file
}

/// Whether an old target stays in force, because its file of conf.d now has problems. It does not if a new target
/// publishes one of its files.
fn stays_in_force(state: &TargetState, new: &Configuration) -> bool {
    let dests = |loaded: &Loaded| -> Vec<PathBuf> {
        let outputs = loaded.target.outputs.iter();
        outputs.map(|output| output.dest.clone()).collect()
    };
    let own = dests(&state.loaded);
    let is_taken = |one: &Loaded| dests(one).iter().any(|dest| own.contains(dest));
    new.bad.iter().any(|bad| is_from_file_of(state, bad)) && !new.good.iter().any(is_taken)
}

impl Shell {
    /// Reads conf.d again. A good configuration replaces the one in force; the problems of a bad one are logged.
    pub(super) fn reload_config(&mut self) {
        if self.is_stopping() || self.options.once {
            return;
        }
        let (dirs, links) = (directories(&self.conf.dir), links(&self.conf.dir));
        self.conf.watched.follow(dirs, links);
        let read = load(&self.conf.dir, &self.conf.options);
        let logged = read.as_ref().err().cloned().unwrap_or_default();
        // First, since a new configuration may wait for a store that does not answer.
        self.follow_named_store(self.named.choice().read(), &logged);
        match read {
            Ok(new) => self.apply_config(new),
            Err(problems) if problems == self.conf.problems => {}
            Err(problems) => {
                for problem in &problems {
                    error!(error = %problem, "{problem}");
                }
                error!("the configuration has errors, so the previous one stays in force");
                self.conf.problems = problems;
            }
        }
        // Failed targets try again at once: the operator has changed something and wants to see the effect.
        self.targets
            .iter_mut()
            .for_each(TargetState::reset_schedule);
        self.notify_targets(|_| true);
    }

    /// Puts a good configuration in force, or keeps it waiting for the store.
    fn apply_config(&mut self, mut new: Configuration) {
        self.conf
            .log_new_warnings(std::mem::take(&mut new.warnings));
        self.conf.report_mended(&new);
        self.conf.problems.clear();
        self.conf.report_bad(new.bad.clone(), &self.targets);
        let needs_the_store = self.needs_the_store(&new);
        let has_waited = std::mem::replace(&mut self.conf.waits_for_store, needs_the_store);
        if !needs_the_store {
            self.replace_targets(new);
        } else if !has_waited {
            warn!(
                "the new configuration follows paths that were not followed before, and the store does not answer: the \
                 previous one stays in force until it does"
            );
        }
    }

    /// Whether a new configuration follows paths of which nothing is known, while the store does not answer. If files
    /// are rendered from the snapshot already, the new ones may be as well.
    fn needs_the_store(&self, new: &Configuration) -> bool {
        let stays = self
            .targets
            .iter()
            .filter(|state| stays_in_force(state, new));
        let old = stays.flat_map(|state| state.paths.clone());
        let paths = new.good.iter().flat_map(|one| paths(one, &self.prefix));
        let paths = paths.chain(old);
        self.stale.is_none()
            && !self.unreachable.is_empty()
            && !self.subscriptions.follows_exactly(paths)
    }

    /// The store answers again: reads the configuration again if it has waited for that.
    pub(super) fn apply_waiting_config(&mut self) {
        if self.conf.waits_for_store {
            self.reload_config();
        }
    }

    /// Replaces the targets. An unchanged target, and one whose file of conf.d has problems now, goes on, also with a
    /// publish that is under way. A new or changed target begins at once, unless a publish of an old one has to end
    /// first.
    fn replace_targets(&mut self, configuration: Configuration) {
        let mut old = std::mem::take(&mut self.targets);
        let count = old.len();
        let mut new = 0;
        let names = old.iter().map(|state| state.loaded.target.name.clone());
        let names: BTreeSet<String> = names.collect();
        self.targets = old
            .extract_if(.., |state| stays_in_force(state, &configuration))
            .collect();
        for one in configuration.good {
            let same = old.iter().position(|state| state.loaded.is_same(&one));
            if let Some(at) = same {
                self.targets.push(old.swap_remove(at));
                continue;
            }
            new += 1;
            let cause = if names.contains(&one.target.name) {
                "conf.d or a template was edited"
            } else {
                "the target is new"
            };
            let mut state = TargetState::new(one, &self.prefix, cause);
            let name = &state.loaded.target.name;
            let before = old.iter_mut().find(|old| old.loaded.target.name == *name);
            if let Some(before) = before {
                state.inherit(before);
            }
            self.targets.push(state);
        }
        set_limits(&mut self.targets);
        if new == 0 && old.is_empty() {
            self.replace_applied_targets(true);
            return;
        }
        let now = Instant::now();
        let outgoing = old
            .into_iter()
            .filter_map(|state| OutgoingTarget::new(state, now));
        self.outgoing.extend(outgoing);
        info!(
            "the configuration has changed: {} files are kept; {new} targets are new or changed, and there were {count} \
             before",
            count_files(&self.targets)
        );
        self.guards.replace_targets(&self.targets);
        self.destinations.watch_files(&self.targets);
        let haproxies = self.targets.iter().map(|state| &state.loaded.haproxies);
        self.haproxy_processes.watch_all(haproxies.enumerate());
        let paths = || self.targets.iter().flat_map(|state| state.paths.clone());
        let goes_on = self.subscriptions.follows_exactly(paths());
        if !goes_on {
            self.subscriptions = Subscriptions::start(&self.store, paths());
            self.catalog = Arc::new(Catalog::new(self.prefix.clone()));
            self.stale = None;
            self.unreachable.clear();
            self.snapshot.start_silence_timer(Instant::now());
        } else if self.subscriptions.is_complete() {
            self.guards.take_in_all(&self.catalog, &self.snapshot);
        }
        self.warn_of_unannounced();
        self.replace_applied_targets(goes_on);
    }

    /// Tells our entry in the store of the new targets. `goes_on`: the followed paths are the same as before.
    fn replace_applied_targets(&mut self, goes_on: bool) {
        if let Some(applied) = &mut self.applied {
            applied.replace(&self.subscriptions.paths(), &self.targets, goes_on);
        }
    }
}

/// Sets how long a publish of each target may take. The slowest reload of all targets counts, since a publish may wait
/// for an equal reload of another target.
pub(super) fn set_limits(targets: &mut [TargetState]) {
    let reloads = targets.iter();
    let reloads = reloads.map(|state| state.loaded.target.reload_timeout);
    let slowest = reloads.max().unwrap_or_default();
    for state in targets {
        state.set_limits(slowest);
    }
}
