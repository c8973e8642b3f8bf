//! What the loop does for its targets: publishes them when their schedules say so, and takes in what became of that. Shell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::Id;

use super::Shell;
use super::config_reload::is_from_file_of;
use crate::config::BadTarget;
use crate::system::sd_notify;
use crate::watch::child::lifecycle;
use crate::watch::child::shell::ChildShell;
use crate::watch::publish::outcome::Outcome;
use crate::watch::publish::{End, Has, Job, Progress, PublishError};
use crate::watch::target::schedule::{Action, Input};
use crate::watch::target::state::{Done, TargetState};

impl Shell {
    /// Tells the schedules of these targets that something has changed.
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

    pub(super) fn advance(&mut self, target: usize, input: Input) {
        let has_to_wait = self.has_to_wait(&self.targets[target]);
        let is_news = matches!(input, Input::Changed | Input::Tick);
        if self.is_stopping() || (has_to_wait && is_news) {
            return;
        }
        match self.targets[target].schedule.handle(Instant::now(), input) {
            // It is told of a change when the wait is over.
            Some(Action::Publish { .. }) if has_to_wait => self.targets[target].rest(),
            Some(Action::Publish {
                may_reload,
                may_repeat,
            }) => self.start_publish(target, may_reload, may_repeat),
            Some(Action::Overtake) => self.targets[target].overtake(),
            Some(Action::Abandon) => self.abandon(target),
            None => {}
        }
    }

    /// A publish does not answer: it is ended as far as that is possible, and has failed.
    fn abandon(&mut self, target: usize) {
        let state = &mut self.targets[target];
        let limit = state.schedule.limit();
        state.abandon();
        self.fail_publish(target, PublishError::Unanswered(limit), limit);
    }

    /// A publish has failed that has not answered itself.
    fn fail_publish(&mut self, target: usize, error: PublishError, took: Duration) {
        self.take_in_result(target, &failed(error, took));
    }

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
            has: state.has(),
            progress: Arc::clone(&progress),
            generation: None,
            disputes: None,
            tried: None,
            left: state.left(),
            wanted: Vec::new(),
            foreign: Vec::new(),
        };
        let publish = self.publishes.spawn(async move {
            let start = Instant::now();
            let end = job.publish().await;
            let took = start.elapsed();
            Done { end, took }
        });
        let revision = self.catalog.revision();
        self.targets[target].started(publish, progress, revision);
        if let Some(applied) = &mut self.applied {
            applied.publish_started(target);
        }
    }

    pub(super) fn publish_ended(&mut self, id: Id, done: &Done) {
        let Some(target) = self.targets.iter().position(|state| state.runs(id)) else {
            return self.outgoing_ended(id, done);
        };
        self.take_in_result(target, done);
    }

    fn take_in_result(&mut self, target: usize, done: &Done) {
        let state = &mut self.targets[target];
        let (number, outcome) = state.done(done, self.pass.once);
        let good = outcome.is_good();
        let is_touched = state.is_touched();
        if good {
            self.guards.record_published(&state.loaded.target.name);
        }
        if let Some(applied) = &mut self.applied {
            applied.publish_ended(target, good);
        }
        self.advance(target, Input::Ended(number, outcome));
        self.report_ready();
        if is_touched {
            self.compare_files();
        }
    }

    /// Its servers are compared with those of the file.
    pub(super) fn haproxy_replaced(&mut self, target: usize) {
        let state = &self.targets[target];
        self.haproxy_processes
            .watch(target, &state.loaded.haproxies);
        // After a failure the live file is what whoever starts reads, and the next try has its time.
        let is_behind = state.last.is_some_and(Outcome::is_failure);
        let is_frozen = self.guards.is_frozen(&state.loaded.target.name);
        if !is_behind && !is_frozen && self.subscriptions.is_complete() {
            self.advance(target, Input::Changed);
        }
    }

    /// A publish that broke off has failed, unless it was told to stop.
    pub(super) fn publish_broken(&mut self, id: Id) {
        if !self.is_stopping() {
            self.publish_ended(id, &failed(PublishError::Worker, Duration::ZERO));
        }
    }

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

/// The end of a publish that cannot tell itself.
fn failed(error: PublishError, took: Duration) -> Done {
    Done {
        end: End {
            result: Err(error),
            has: Has::Live,
            disputes: None,
            tried: None,
            left: None,
            foreign: Vec::new(),
        },
        took,
    }
}
