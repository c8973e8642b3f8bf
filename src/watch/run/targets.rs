//! Publishes targets when their schedules say so, and takes in the results. Shell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::Id;

use super::Shell;
use super::config_reload::is_from_file_of;
use crate::config::BadTarget;
use crate::system::sd_notify;
use crate::watch::child::lifecycle;
use crate::watch::child::shell::ChildShell;
use crate::watch::history::entry as history;
use crate::watch::publish::outcome::Outcome;
use crate::watch::publish::{Job, Progress, PublishError, PublishReport};
use crate::watch::target::schedule::{Action, Input};
use crate::watch::target::state::TargetState;

impl Shell {
    /// Tells the schedules of the targets for which `concerned` is true that something has changed. A target whose
    /// guard has frozen it is not published.
    pub(super) fn notify_targets(&mut self, concerned: impl Fn(&TargetState) -> bool) {
        if !self.subscriptions.is_complete() || self.named.is_arriving {
            return;
        }
        for target in 0..self.targets.len() {
            let state = &mut self.targets[target];
            if !concerned(state) {
                continue;
            }
            if self.guards.is_frozen(&state.loaded.target.name) {
                state.freeze(self.options.once && !self.options.noop);
            } else {
                self.advance(target, Input::Changed);
            }
        }
        self.report_ready();
    }

    /// Hands an input to the schedule of a target, and does what it asks for. While the target waits for the publish of
    /// an outgoing one, and during a stop, changes are not handed over.
    pub(super) fn advance(&mut self, target: usize, input: Input) {
        let has_to_wait = self.has_to_wait(&self.targets[target]);
        let is_news = matches!(input, Input::Changed | Input::Tick);
        if self.is_stopping() || (has_to_wait && is_news) {
            return;
        }
        let now = Instant::now();
        let schedule = &mut self.targets[target].schedule;
        let before = schedule.phase();
        let action = schedule.handle(now, input);
        let phase = schedule.phase();
        if phase != before {
            self.targets[target].log_phase(now);
        }
        match action {
            // The end of the wait notifies the target, so this publish is not lost.
            Some(Action::Publish { .. }) if has_to_wait => self.targets[target].reset_schedule(),
            Some(Action::Publish {
                may_reload,
                may_repeat,
            }) => self.start_publish(target, may_reload, may_repeat),
            Some(Action::Overtake) => self.targets[target].overtake(),
            Some(Action::WarnSlow) => self.targets[target].warn_slow(),
            Some(Action::Abandon) => self.abandon(target),
            None => {}
        }
    }

    /// A publish has not answered within its limit: ends it as far as that is possible, and counts it as failed.
    fn abandon(&mut self, target: usize) {
        let state = &mut self.targets[target];
        let limit = state.schedule.limits().end;
        state.abandon();
        self.fail_publish(target, PublishError::Unanswered(limit), limit);
    }

    /// Counts a publish as failed that does not report itself.
    fn fail_publish(&mut self, target: usize, error: PublishError, took: Duration) {
        self.take_in_report(target, PublishReport::without_job(error, took));
    }

    /// Starts a publish of a target as a task. If an earlier one still hangs in a file system, it fails at once.
    fn start_publish(&mut self, target: usize, may_reload: bool, may_repeat: bool) {
        if self.targets[target].hangs() {
            return self.fail_publish(target, PublishError::Hangs, Duration::ZERO);
        }
        let state = &mut self.targets[target];
        let running = self.child.as_ref().map(ChildShell::running);
        let running = running.or_else(|| self.to_come.clone());
        let progress = Arc::new(Progress::default());
        let job = Job {
            loaded: Arc::clone(&state.loaded),
            views: state.views(
                &self
                    .guards
                    .catalog_for(&state.loaded.target.name, &self.catalog),
                &self.env,
            ),
            noop: self.options.noop,
            may_reload,
            may_repeat,
            has_failed: state.last.is_some_and(Outcome::is_failure),
            diff: self.options.diff,
            ticket: self.reloads.ticket(&state.loaded.target, running),
            loaded_state: Arc::clone(&self.loaded_state),
            running_config: state.take_running_config(),
            progress: Arc::clone(&progress),
            generation: None,
            disputes: None,
            tried: None,
            published_digests: state.published_digests(),
            wanted: Vec::new(),
            foreign_edits: Vec::new(),
            steps: Vec::new(),
        };
        let publish = self.publishes.spawn(job.publish());
        let revision = self.catalog.revision();
        self.targets[target].publish_started(publish, progress, revision);
        self.admin
            .publish_started(&self.targets[target].loaded.target.name);
        if let Some(applied) = &mut self.applied {
            applied.publish_started(target);
        }
    }

    /// A publish has ended, of a target in force or of an outgoing one.
    pub(super) fn publish_ended(&mut self, id: Id, report: PublishReport) {
        let Some(target) = self.targets.iter().position(|state| state.runs(id)) else {
            return self.outgoing_ended(id, &report);
        };
        self.take_in_report(target, report);
    }

    /// Takes in the report of a publish: for the target, its guard, our entry in the store and the readiness.
    fn take_in_report(&mut self, target: usize, report: PublishReport) {
        let state = &mut self.targets[target];
        let number = state.publish_number();
        let (outcome, entry) = state.take_in_report(&report, self.options.once);
        let good = outcome.is_good();
        let must_compare = state.must_compare_files();
        if good {
            self.guards.record_published(&state.loaded.target.name);
        }
        if let Some(applied) = &mut self.applied {
            applied.publish_ended(target, good);
        }
        self.record_publish_for_admin(target, &report, outcome);
        if let Some(entry) = entry {
            self.journal.record(entry, report.into_changes());
        }
        self.advance(target, Input::Ended(number, outcome));
        self.report_ready();
        if must_compare {
            self.compare_files();
        }
    }

    /// An HAProxy of a target is another process than before: a publish compares its servers with those of the file.
    pub(super) fn haproxy_replaced(&mut self, target: usize) {
        let state = &self.targets[target];
        self.haproxy_processes
            .watch(target, &state.loaded.haproxies);
        // After a failure the new process has read the live file, and the schedule has a time for the next try.
        let is_behind = state.last.is_some_and(Outcome::is_failure);
        let is_frozen = self.guards.is_frozen(&state.loaded.target.name);
        if !is_behind && !is_frozen && self.subscriptions.is_complete() {
            self.targets[target].add_cause("HAProxy is another process");
            self.advance(target, Input::Changed);
        }
    }

    /// Writes down which holds have begun and ended: each may be the cause of the next publish.
    pub(super) fn take_in_guard_events(&mut self) {
        for (name, event) in self.guards.take_events() {
            let state = self.targets.iter_mut();
            let mut state = state.filter(|state| state.loaded.target.name == name);
            if let Some(state) = state.next() {
                let cause = event.describe();
                let action = if event.is_beginning() {
                    history::Action::Held
                } else {
                    history::Action::HoldEnded
                };
                self.journal
                    .record(state.history_entry(action, &cause), Vec::new());
                state.add_cause(&cause);
            }
        }
    }

    /// The task of a publish has panicked or was ended: counts it as failed, except during a stop.
    pub(super) fn publish_broken(&mut self, id: Id) {
        if !self.is_stopping() {
            let report = PublishReport::without_job(PublishError::Worker, Duration::ZERO);
            self.publish_ended(id, report);
        }
    }

    /// Once every target has been published: starts the command, and tells the service manager that we are ready.
    fn report_ready(&mut self) {
        let all_good = self
            .targets
            .iter()
            .all(|state| state.last.is_some_and(Outcome::is_good));
        let is_there =
            |bad: &BadTarget| self.targets.iter().any(|state| is_from_file_of(state, bad));
        let is_whole = self.conf.bad.iter().all(is_there);
        if all_good && is_whole && !self.is_ready {
            self.is_ready = true;
            self.handle_child(lifecycle::Input::Published);
            self.report();
            // A command that takes our place says itself when it is up.
            if self.to_come.is_none() {
                sd_notify::ready(&self.status_text());
            }
        }
    }
}
