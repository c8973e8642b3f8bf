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
use crate::watch::publish::{End, Job, Progress, PublishError, RunningConfig};
use crate::watch::target::schedule::{Action, Input};
use crate::watch::target::state::{Done, Ended, TargetState};

impl Shell {
    /// Tells the schedules of the targets for which `concerned` is true that something has changed. A target whose
    /// guard has frozen it is not published.
    pub(super) fn notify_targets(&mut self, concerned: impl Fn(&TargetState) -> bool) {
        if !self.subscriptions.is_complete() {
            return;
        }
        for target in 0..self.targets.len() {
            let state = &mut self.targets[target];
            if !concerned(state) {
                continue;
            }
            if self.guards.is_frozen(&state.loaded.target.name) {
                state.freeze(self.pass.once && !self.pass.noop);
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
            Some(Action::Publish { .. }) if has_to_wait => self.targets[target].rest(),
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

    /// Counts a publish as failed that does not say so itself.
    fn fail_publish(&mut self, target: usize, error: PublishError, took: Duration) {
        self.take_in_result(target, failed(error, took));
    }

    /// Starts a publish of a target as a task. If an earlier one still hangs in a file system, it fails at once.
    fn start_publish(&mut self, target: usize, may_reload: bool, may_repeat: bool) {
        if self.targets[target].hangs() {
            return self.fail_publish(target, PublishError::Hangs, Duration::ZERO);
        }
        let state = &mut self.targets[target];
        let running = self.child.as_ref().map(ChildShell::running);
        let progress = Arc::new(Progress::default());
        let job = Job {
            loaded: Arc::clone(&state.loaded),
            views: state.views(
                &self
                    .guards
                    .catalog_for(&state.loaded.target.name, &self.catalog),
                &self.env,
            ),
            noop: self.pass.noop,
            may_reload,
            may_repeat,
            has_failed: state.last.is_some_and(Outcome::is_failure),
            diff: self.pass.diff,
            ticket: self.reloads.ticket(&state.loaded.target, running),
            loaded_state: Arc::clone(&self.loaded_state),
            running_config: state.running_config(),
            progress: Arc::clone(&progress),
            generation: None,
            disputes: None,
            tried: None,
            published_digests: state.published_digests(),
            wanted: Vec::new(),
            foreign_edits: Vec::new(),
            steps: Vec::new(),
        };
        let publish = self.publishes.spawn(async move {
            let start = Instant::now();
            let end = job.publish().await;
            let took = start.elapsed();
            Done { end, took }
        });
        let revision = self.catalog.revision();
        self.targets[target].started(publish, progress, revision);
        self.admin
            .publish_started(&self.targets[target].loaded.target.name);
        if let Some(applied) = &mut self.applied {
            applied.publish_started(target);
        }
    }

    /// A publish has ended, of a target in force or of an outgoing one.
    pub(super) fn publish_ended(&mut self, id: Id, done: Done) {
        let Some(target) = self.targets.iter().position(|state| state.runs(id)) else {
            return self.outgoing_ended(id, &done);
        };
        self.take_in_result(target, done);
    }

    /// Takes in the result of a publish: for the target, its guard, our entry in the store and the readiness.
    fn take_in_result(&mut self, target: usize, done: Done) {
        let state = &mut self.targets[target];
        let Ended {
            number,
            outcome,
            entry,
        } = state.publish_ended(&done, self.pass.once);
        let good = outcome.is_good();
        let is_touched = state.is_touched();
        if good {
            self.guards.record_published(&state.loaded.target.name);
        }
        if let Some(applied) = &mut self.applied {
            applied.publish_ended(target, good);
        }
        self.tell_admin_of_publish(target, &done, outcome);
        if let Some(entry) = entry {
            self.journal.record(entry, done.end.into_changes());
        }
        self.advance(target, Input::Ended(number, outcome));
        self.report_ready();
        if is_touched {
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
                self.journal.record(state.event(action, &cause), Vec::new());
                state.add_cause(&cause);
            }
        }
    }

    /// The task of a publish has panicked or was ended: counts it as failed, except during a stop.
    pub(super) fn publish_broken(&mut self, id: Id) {
        if !self.is_stopping() {
            self.publish_ended(id, failed(PublishError::Worker, Duration::ZERO));
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
            sd_notify::ready(&self.status_text());
        }
    }
}

/// The result of a publish that does not report one itself.
fn failed(error: PublishError, took: Duration) -> Done {
    Done {
        end: End {
            result: Err(error),
            running_config: RunningConfig::LiveFiles,
            disputes: None,
            tried: None,
            published_digests: None,
            foreign_edits: Vec::new(),
            steps: Vec::new(),
        },
        took,
    }
}
