//! What the loop does when its configuration changes. Shell.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};

use super::Shell;
use super::handover::OutgoingTarget;
use super::store_events::count_files;
use crate::config::{BadTarget, Pass, Problem};
use crate::model::catalog::Catalog;
use crate::system::file_watch::Watched;
use crate::watch::conf::load::{
    Configuration, Loaded, directories, hinted, links, load, log_warnings,
};
use crate::watch::source::subscriptions::Subscriptions;
use crate::watch::target::state::{TargetState, paths};

/// Where the configuration lies, and how it is read.
pub(super) struct Conf {
    pub(super) dir: PathBuf,
    pub(super) pass: Pass,
    pub(super) watched: Watched,
    /// It follows other paths than before, and comes into force when the store answers.
    pub(super) waits_for_store: bool,
    /// What was wrong with it as a whole when it was read last.
    pub(super) problems: Vec<Problem>,
    /// The targets that were wrong when it was read last, and without which the others run.
    pub(super) bad: Vec<BadTarget>,
    /// What the log has warned of, as long as it is so.
    warned: Vec<Problem>,
}

impl Conf {
    pub(super) fn new(dir: PathBuf, pass: Pass) -> Self {
        let mut watched = Watched::new("the files of conf.d and templates");
        if !pass.once {
            watched.follow(directories(&dir), links(&dir));
        }
        Self {
            dir,
            pass,
            watched,
            waits_for_store: false,
            problems: Vec::new(),
            bad: Vec::new(),
            warned: Vec::new(),
        }
    }

    /// Warns of what was not so when the configuration was read last: each edit, of whatever file, and each SIGHUP reads
    /// all of it again.
    pub(super) fn log_new_warnings(&mut self, warnings: Vec<Problem>) {
        log_warnings(&warnings, &self.warned);
        self.warned = warnings;
    }

    /// Reports the bad targets that have changed since they were reported. `targets` are those in force.
    pub(super) fn report_bad(&mut self, bad: Vec<BadTarget>, targets: &[TargetState]) {
        for one in bad.iter().filter(|one| !self.bad.contains(one)) {
            for problem in &one.problems {
                error!("{}: {problem}{}", one.name, hinted(problem));
            }
            let then = if self.pass.once {
                "this target has failed"
            } else if targets.iter().any(|state| is_from_file_of(state, one)) {
                "this target stays as it was until its mistake is mended"
            } else {
                "this target is left out until its mistake is mended"
            };
            error!("{}: {then}; the others are kept", one.name);
        }
        self.bad = bad;
    }

    /// What is wrong is reported again when it is read again.
    pub(super) fn forget_problems(&mut self) {
        self.problems.clear();
        self.bad.clear();
    }
}

/// Whether a target was read from the file that is wrong now.
pub(super) fn is_from_file_of(state: &TargetState, bad: &BadTarget) -> bool {
    state.loaded.target.file == bad.file
}

/// Whether a target stays in force because its file is wrong now. If its file is kept by another target now, it does not.
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
    /// Reads the configuration. A good one takes the place of the old one, a bad one is told.
    pub(super) fn reload_config(&mut self) {
        if self.is_stopping() || self.pass.once {
            return;
        }
        let (dirs, links) = (directories(&self.conf.dir), links(&self.conf.dir));
        self.conf.watched.follow(dirs, links);
        match load(&self.conf.dir, &self.conf.pass) {
            Ok(new) => self.apply_config(new),
            Err(problems) if problems == self.conf.problems => {}
            Err(problems) => {
                for problem in &problems {
                    error!("{problem}");
                }
                error!("the configuration is not good, so the one of before stays in force");
                self.conf.problems = problems;
            }
        }
        // Whoever has changed something wants to see what comes of it.
        self.targets.iter_mut().for_each(TargetState::rest);
        self.notify_targets(|_| true);
    }

    fn apply_config(&mut self, mut new: Configuration) {
        self.conf
            .log_new_warnings(std::mem::take(&mut new.warnings));
        self.conf.problems.clear();
        self.conf.report_bad(new.bad.clone(), &self.targets);
        let needs_the_store = self.needs_the_store(&new);
        let has_waited = std::mem::replace(&mut self.conf.waits_for_store, needs_the_store);
        if !needs_the_store {
            self.replace_targets(new);
        } else if !has_waited {
            warn!(
                "the new configuration follows what was not followed before, and the store does not answer: the one of \
                 before stays in force until it does"
            );
        }
    }

    /// Whether these follow something of which nothing can be found out now. What is stale already may be served from the
    /// snapshot as well.
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

    /// Reads the configuration again if it has been waiting for the store.
    pub(super) fn apply_waiting_config(&mut self) {
        if self.conf.waits_for_store {
            self.reload_config();
        }
    }

    /// Puts other targets in the place of those there are. One that is the same, or whose file is wrong now, goes on as it
    /// was, also with the publish that is under way. One that is another begins at once, unless a publish of before has to
    /// end first.
    fn replace_targets(&mut self, configuration: Configuration) {
        let mut old = std::mem::take(&mut self.targets);
        let count = old.len();
        let mut new = 0;
        self.targets = old
            .extract_if(.., |state| stays_in_force(state, &configuration))
            .collect();
        for one in configuration.good {
            let same = old.iter().position(|state| state.loaded.is_same(&one));
            let state = same.map(|at| old.swap_remove(at));
            new += usize::from(state.is_none());
            self.targets
                .push(state.unwrap_or_else(|| TargetState::new(one, &self.prefix)));
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
            "the configuration has changed: {} files are kept, {new} of them by new or other targets; there were {count}",
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

    /// The targets are others; `goes_on`: what is followed is the same.
    fn replace_applied_targets(&mut self, goes_on: bool) {
        if let Some(applied) = &mut self.applied {
            applied.replace(&self.subscriptions.paths(), &self.targets, goes_on);
        }
    }
}

/// A publish may wait for an equal reload of any other target.
pub(super) fn set_limits(targets: &mut [TargetState]) {
    let reloads = targets.iter();
    let reloads = reloads.map(|state| state.loaded.target.reload_timeout);
    let slowest = reloads.max().unwrap_or_default();
    for state in targets {
        state.set_limit(slowest);
    }
}
