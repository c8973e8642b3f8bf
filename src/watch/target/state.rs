//! The state of one target: what it follows, when it is published, and what its last publishes have done. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id};
use tracing::{debug, error, info, warn};

use super::cause::Causes;
use super::limits::Timeouts;
use super::log_once::{Failure, RecentFailures};
use super::repair::Repairs;
use super::schedule::Schedule;
use crate::config::{Output, Sources, Target, real_path};
use crate::model::catalog::{Catalog, Changes};
use crate::model::date::length;
use crate::model::prefix::Prefix;
use crate::model::report::{chain, enumerate};
use crate::model::target_status::{Failing, HeldService, TargetStatus};
use crate::model::update::Revision;
use crate::model::watcher_entry::is_of_watcher;
use crate::system::file::SwapMethod;
use crate::watch::conf::load::Loaded;
use crate::watch::history::entry::{Action, Entry, Step};
use crate::watch::host::THIS_HOST;
use crate::watch::publish::outcome::Outcome;
use crate::watch::publish::{
    Change, Digest, Effect, ForeignEdit, Progress, PublishError, PublishReport, Restored,
    RunningConfig, StepTime, TakenOut,
};
use crate::watch::render::View;

/// How many instances and keys the log names as the cause of a publish.
const NAMED: usize = 5;
/// How many of them the history names.
const RECORDED: usize = 50;

/// A publish under way.
struct Running {
    publish: AbortHandle,
    /// The step that the publish has reached.
    progress: Arc<Progress>,
    /// The number of the publish in the schedule.
    number: u64,
    /// The revision of the catalog that the publish renders.
    revision: Revision,
    since: Instant,
    /// The log already says that the publish takes unusually long.
    is_slow: bool,
    /// Why the publish is made.
    causes: Causes,
}

/// All that is known of a target.
pub(crate) struct TargetState {
    pub(crate) loaded: Arc<Loaded>,
    /// The paths in the store that the target follows.
    pub(crate) paths: Vec<Prefix>,
    /// The name and the files of the target. Publishes of two targets that share one of them exclude each other.
    claims: BTreeSet<String>,
    pub(crate) schedule: Schedule,
    /// The last outcome that says how files and programs are now.
    pub(crate) last: Option<Outcome>,
    /// The publish that is under way.
    running: Option<Running>,
    /// A publish that did not answer and was given up, as long as a thread of it may still be at work.
    given_up: Weak<Progress>,
    /// The files as the last publish has left them, in the order of the outputs, if that is known.
    published_digests: Option<Vec<Digest>>,
    repairs: Repairs,
    /// When a file that somebody else has changed is repaired, if the repair had to wait.
    repair_at: Option<Instant>,
    /// Somebody may have changed a file during the publish under way, so the files are compared after it.
    compare_after: bool,
    /// What the running `HAProxies` have since the last publish.
    running_config: RunningConfig,
    /// The log already says that a file is written in place.
    in_place: bool,
    /// The failures since the last success.
    recent_failures: RecentFailures,
    /// The last failure, and when the first one of those in a row happened.
    failing: Option<Failing>,
    /// Since when the files are as they are, in seconds since 1970.
    in_force_since: Option<u64>,
    /// The revision that the last good publish rendered.
    good_revision: Option<Revision>,
    /// The program has to be reloaded, and it was too early for that at the last try.
    owes_reload: bool,
    /// What has happened since the files were right, or since the publish under way began.
    causes: Causes,
    /// Contradictions between announcements that the log has named.
    disputes: BTreeSet<String>,
}

impl TargetState {
    /// `cause` says why the target exists now, as a part of a sentence.
    pub(crate) fn new(loaded: Loaded, prefix: &Prefix, cause: &str) -> Self {
        let mut causes = Causes::default();
        causes.add(cause);
        let paths = paths(&loaded, prefix);
        let claims = claims(&loaded);
        Self {
            schedule: Schedule::new(
                loaded.target.pace,
                loaded.haproxies.are_there(),
                timeouts(&loaded.target, Duration::ZERO).limits(),
                fastrand::u64(..),
            ),
            loaded: Arc::new(loaded),
            paths,
            claims,
            last: None,
            running: None,
            given_up: Weak::new(),
            published_digests: None,
            repairs: Repairs::default(),
            repair_at: None,
            compare_after: false,
            running_config: RunningConfig::LiveFiles,
            in_place: false,
            recent_failures: RecentFailures::default(),
            failing: None,
            in_force_since: None,
            good_revision: None,
            owes_reload: false,
            causes,
            disputes: BTreeSet::new(),
        }
    }

    /// Forgets every delay of the schedule, so that the next change is published at once. A publish under way goes on.
    pub(crate) fn reset_schedule(&mut self) {
        if !self.is_publishing() {
            self.schedule = self.schedule.renewed();
        }
    }

    pub(crate) fn is_publishing(&self) -> bool {
        self.running.is_some()
    }

    /// The files as the last publish has left them, to find what somebody else has changed. `None` if that is not known, or
    /// during a publish, after which [`TargetState::must_compare_files`] asks for another comparison.
    pub(crate) fn published_files(&mut self) -> Option<Vec<(PathBuf, Digest)>> {
        self.compare_after = self.is_publishing();
        let left = self
            .published_digests
            .as_ref()
            .filter(|_| !self.compare_after)?;
        let outputs = self.loaded.target.outputs.iter();
        let dests = outputs.map(|output| output.dest.clone());
        Some(dests.zip(left.iter().copied()).collect())
    }

    /// Whether a comparison of the files was put off until the publish under way has ended.
    pub(crate) fn must_compare_files(&self) -> bool {
        self.compare_after
    }

    /// Whether a file that somebody else has changed may be repaired now. If not, sets the time of its repair.
    pub(crate) fn may_repair(&mut self, now: Instant) -> bool {
        let due = self.repairs.due(now);
        self.repair_at = (due > now).then_some(due);
        due <= now
    }

    /// When a file is repaired whose repair had to wait.
    pub(crate) fn repair_at(&self) -> Option<Instant> {
        self.repair_at
    }

    /// Whether the time of a repair has come; true once for each repair.
    pub(crate) fn take_due_repair(&mut self, now: Instant) -> bool {
        self.repair_at.take_if(|at| now >= *at).is_some()
    }

    pub(crate) fn published_digests(&self) -> Option<Vec<Digest>> {
        self.published_digests.clone()
    }

    /// Whether the two targets have the same name or share a file, so that their publishes may not run at the same time.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        !self.claims.is_disjoint(&other.claims)
    }

    /// Whether the target follows one of the changed keys.
    pub(crate) fn concerns(&self, changes: &Changes) -> bool {
        let followed = |key: &str| self.paths.iter().any(|path| path.covers(key));
        let is_news = |key: &str| !is_of_watcher(key);
        changes.keys.iter().any(|key| followed(key) && is_news(key))
    }

    /// What each template of the target sees, in the order of the outputs.
    pub(crate) fn views(
        &self,
        catalog: &Arc<Catalog>,
        env: &Arc<BTreeMap<String, String>>,
    ) -> Vec<View> {
        let view = |output: &Output| {
            let (services, keys) = match &output.sources {
                Sources::AllServices => (Vec::new(), vec![catalog.prefix().clone()]),
                Sources::Services(services) => (services.clone(), Vec::new()),
                Sources::Keys(keys) => (Vec::new(), keys.clone()),
            };
            View {
                target: self.loaded.target.name.clone(),
                catalog: Arc::clone(catalog),
                services,
                keys,
                root: output.root.clone(),
                env: Arc::clone(env),
                host: THIS_HOST,
            }
        };
        self.loaded.target.outputs.iter().map(view).collect()
    }

    /// The guard leaves the files as they are. This counts as good, since a command can start with the last good state;
    /// `has_failed`: it counts as a failure, since `--once` was asked to publish.
    pub(crate) fn freeze(&mut self, has_failed: bool) {
        let reloaded = false;
        self.last = Some(if has_failed {
            Outcome::Failed { reloaded }
        } else {
            Outcome::Good { reloaded }
        });
    }

    /// Hands what the running `HAProxies` have to a publish, which returns it in its report. If the publish never reports, the
    /// loaded state has a record of it.
    pub(crate) fn take_running_config(&mut self) -> RunningConfig {
        std::mem::take(&mut self.running_config)
    }

    /// Takes in that a publish of the catalog at this revision has started.
    pub(crate) fn publish_started(
        &mut self,
        publish: AbortHandle,
        progress: Arc<Progress>,
        revision: Revision,
    ) {
        self.running = Some(Running {
            publish,
            progress,
            number: self.schedule.number(),
            revision,
            causes: std::mem::take(&mut self.causes),
            since: Instant::now(),
            is_slow: false,
        });
    }

    /// Adds those changes of the store that concern the target to the causes of the next publish.
    pub(crate) fn add_changes(&mut self, changes: &Changes, prefix: &Prefix) {
        let paths = &self.paths;
        let follows = |path: &str| paths.iter().any(|followed| followed.covers(path));
        self.causes.add_changes(changes, prefix, follows);
    }

    /// Adds another cause of the next publish, as a part of a sentence.
    pub(crate) fn add_cause(&mut self, what: &str) {
        self.causes.add(what);
    }

    /// An entry of the history that is about no publish.
    pub(crate) fn history_entry(&self, action: Action, cause: &str) -> Entry {
        Entry {
            at: (THIS_HOST.now)().as_secs(),
            target: self.loaded.target.name.clone(),
            action,
            revision: self.good_revision.unwrap_or_default().0,
            cause: cause.to_owned(),
            error: String::new(),
            took_ms: 0,
            steps: Vec::new(),
            files: Vec::new(),
            diff: String::new(),
        }
    }

    /// The status of the target. `held`: what its guard holds; `stale`: when the snapshot on disk was written, in seconds since
    /// 1970, if the target is rendered from it.
    pub(crate) fn status(&self, held: Vec<HeldService>, stale: Option<u64>) -> TargetStatus {
        TargetStatus {
            name: self.loaded.target.name.clone(),
            since: self.in_force_since,
            revision: self.good_revision.map(|revision| revision.0),
            failing: self.failing.clone(),
            owed: self.owes_reload,
            held,
            stale,
        }
    }

    /// Logs what the schedule does or waits for, and for how long.
    pub(crate) fn log_phase(&self, now: Instant) {
        let (name, phase) = (&self.loaded.target.name, self.schedule.phase());
        let next = self.schedule.deadline();
        let next = next.filter(|_| !self.schedule.is_publishing());
        let next = next.map_or_else(String::new, |at| {
            let wait = at.saturating_duration_since(now).as_millis();
            format!(" (next in {wait} ms)")
        });
        debug!(target = name, "{name}: {phase}{next}");
    }

    /// Sets how long a publish may take. `slowest_reload` is the longest reload time-out of all targets.
    pub(crate) fn set_limits(&mut self, slowest_reload: Duration) {
        self.schedule
            .set_limits(timeouts(&self.loaded.target, slowest_reload).limits());
    }

    /// Warns that the publish under way takes unusually long, and names the step for which it waits.
    pub(crate) fn warn_slow(&mut self) {
        let limit = self.schedule.limits().end.as_secs();
        let name = &self.loaded.target.name;
        if let Some(running) = &mut self.running {
            running.is_slow = true;
            warn!(
                target = %name, "{name}: the publish takes unusually long, {} s so far: it is still {}; after {limit} s it is given up",
                running.since.elapsed().as_secs(),
                running.progress.describe_step()
            );
        }
    }

    /// Ends a publish that does not answer, at whatever step, and ignores a later report of it. The loaded state has a record of
    /// what the publish has begun.
    pub(crate) fn abandon(&mut self) {
        self.abort();
        if let Some(running) = self.running.take() {
            self.given_up = Arc::downgrade(&running.progress);
        }
    }

    /// Ends a publish, at whatever step. The loop still gets the end of its task as an event.
    pub(crate) fn abort(&self) {
        if let Some(Running {
            publish, progress, ..
        }) = &self.running
        {
            progress.abandon();
            publish.abort();
        }
    }

    /// Goes on with the failures and the causes of this target as it was in the previous configuration. If a publish of that
    /// one is under way, its end decides them, and this is called again then.
    pub(crate) fn inherit(&mut self, old: &mut Self) {
        self.failing.clone_from(&old.failing);
        if !old.is_publishing() {
            self.recent_failures = old.recent_failures.renewed();
            let later = std::mem::take(&mut self.causes);
            self.causes = std::mem::take(&mut old.causes).followed_by(later);
        }
    }

    /// Lets this target wait for what still hangs of an outgoing one.
    pub(crate) fn wait_for_hanging(&mut self, gone: &Self) {
        if gone.hangs() {
            self.given_up = Weak::clone(&gone.given_up);
        }
    }

    /// Whether a thread of a publish that was given up is still at work. A thread that waits for a disk cannot be ended, and
    /// its later changes must not mix with those of another publish.
    pub(crate) fn hangs(&self) -> bool {
        self.given_up.strong_count() > 0
    }

    /// Whether the task with this id is the publish under way.
    pub(crate) fn runs(&self, id: Id) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.publish.id() == id)
    }

    /// Whether the publish under way has begun to change files or programs.
    pub(crate) fn has_begun(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.progress.has_begun())
    }

    /// Kills the command for which the publish under way waits.
    pub(crate) fn kill_command(&self) {
        if let Some(Running { progress, .. }) = &self.running {
            progress.give_up();
        }
    }

    /// Ends a publish that has changed nothing yet, or whose file is still being checked. A publish that has come further goes
    /// on to its reload.
    pub(crate) fn give_up(&self) {
        match &self.running {
            Some(running) if running.progress.has_begun() => running.progress.give_up_check(),
            Some(running) => running.publish.abort(),
            None => {}
        }
    }

    /// Asks the publish under way to make way for newer data.
    pub(crate) fn overtake(&self) {
        if let Some(Running { progress, .. }) = &self.running {
            progress.overtake();
        }
    }

    /// The number of the publish under way in the schedule, or of the last one.
    pub(crate) fn publish_number(&self) -> u64 {
        let running = self.running.as_ref();
        running.map_or(self.schedule.number(), |running| running.number)
    }

    /// Takes in the report of the publish under way and logs it. Returns its outcome, and an entry for the history if the publish
    /// has done anything or has failed in a new way. `once`: nothing is tried again.
    pub(crate) fn take_in_report(
        &mut self,
        report: &PublishReport,
        once: bool,
    ) -> (Outcome, Option<Entry>) {
        let running = self.running.take();
        if running.as_ref().is_some_and(|running| running.is_slow) {
            let (name, took) = (&self.loaded.target.name, report.took.as_secs());
            info!(target = %name, "{name}: the publish that took unusually long has ended after {took} s");
        }
        let revision = running.as_ref().map(|running| running.revision);
        let mut causes = running.map(|running| running.causes).unwrap_or_default();
        for ForeignEdit { dest, .. } in &report.foreign_edits {
            causes.add(format!("hand-edit of {}", dest.display()));
        }
        let cause = causes.describe(NAMED);
        self.published_digests.clone_from(&report.published_digests);
        self.running_config = report.running_config.clone();
        if let Some(disputes) = &report.disputes {
            self.warn_of_disputes(disputes);
        }
        let action = self.log_report(report, once, &cause, revision);
        let outcome = report.outcome(self.loaded.target.reload.is_some());
        if outcome.is_final() {
            self.last = Some(outcome);
        }
        if outcome.is_good() {
            self.failing = None;
            self.good_revision = revision;
            let is_same = matches!(report.result, Ok(Effect::Unchanged));
            let since = self.in_force_since.filter(|_| is_same);
            self.in_force_since = since.or(Some((THIS_HOST.now)().as_secs()));
        } else {
            let later = std::mem::take(&mut self.causes);
            self.causes = causes.clone().followed_by(later);
        }
        self.owes_reload = matches!(outcome, Outcome::ReloadOwed | Outcome::RefusedBefore);
        let entry = action.map(|action| Entry {
            revision: revision.unwrap_or_default().0,
            error: report
                .result
                .as_ref()
                .err()
                .map(|error| chain(error))
                .unwrap_or_default(),
            took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            steps: report.steps.iter().map(step).collect(),
            ..self.history_entry(action, &causes.describe(RECORDED))
        });
        (outcome, entry)
    }

    /// Logs each contradiction between announcements once, and once more when it is settled.
    fn warn_of_disputes(&mut self, disputes: &BTreeSet<String>) {
        let name = &self.loaded.target.name;
        for new in disputes.difference(&self.disputes) {
            warn!(target = %name, "{name}: {new}");
        }
        for settled in self.disputes.difference(disputes) {
            info!(target = %name, "{name}: this is settled: {settled}");
        }
        self.disputes.clone_from(disputes);
    }

    /// Logs the report of a publish. Returns the action for the history, if there is one.
    fn log_report(
        &mut self,
        report: &PublishReport,
        once: bool,
        cause: &str,
        revision: Option<Revision>,
    ) -> Option<Action> {
        let effect = match &report.result {
            Ok(effect) => effect,
            Err(PublishError::GivenUp) => {
                let name = &self.loaded.target.name;
                info!(target = name, "{name}: the publish under way was given up");
                return None;
            }
            Err(error) => {
                let failure = Failure {
                    tried: report.tried,
                    step: error.step(),
                    exit: error.exit(),
                    text: chain(error),
                };
                let is_news = self.log_failure(failure, &error.brief(), once);
                return is_news.then(|| failed_action(error));
            }
        };
        self.log_effect(effect, report, cause, revision);
        let action = self.effect_action(effect);
        let is_open = matches!(
            effect,
            Effect::ReloadOwed(_) | Effect::RefusedBefore | Effect::Overtaken
        );
        if !is_open {
            self.recent_failures = RecentFailures::default();
            self.count_repair(&report.foreign_edits);
        }
        action
    }

    /// The action by which the history calls a publish that did not fail, if the publish has done anything.
    fn effect_action(&self, effect: &Effect) -> Option<Action> {
        match effect {
            Effect::Swapped(_) if self.loaded.target.reload.is_none() => Some(Action::Written),
            Effect::Swapped(_) => Some(Action::Reloaded),
            Effect::AtRuntime(_) => Some(Action::Runtime),
            Effect::Reconciled(_) => Some(Action::Reconciled),
            Effect::ReloadMade => Some(Action::OwedReload),
            Effect::ReloadOwed(changes) if !changes.is_empty() => Some(Action::ReloadOwed),
            Effect::Unchanged if self.recent_failures.times() > 0 => Some(Action::Recovered),
            Effect::Unchanged | Effect::ReloadOwed(_) | Effect::WouldChange => None,
            Effect::RefusedBefore | Effect::Overtaken | Effect::Unread => None,
        }
    }

    fn log_effect(
        &mut self,
        effect: &Effect,
        report: &PublishReport,
        cause: &str,
        revision: Option<Revision>,
    ) {
        let target = &self.loaded.target;
        let name = target.name.as_str();
        let ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX);
        let after = self.after_failures();
        let because = match cause {
            "" => String::new(),
            cause => format!(" ({cause})"),
        };
        let dest = enumerate(target.outputs.iter().map(|output| output.dest.display()));
        let is = match target.outputs.len() {
            1 => "is",
            _ => "are",
        };
        let what = match effect {
            Effect::Unchanged if after.is_empty() => {
                return debug!(target = %name, "{name}: {dest} {is} right");
            }
            Effect::WouldChange => return info!(target = %name, "{name}: {dest} would change"),
            Effect::ReloadOwed(_) => {
                return debug!(target = %name, "{name}: {dest} needs a reload, which waits for min_interval");
            }
            Effect::RefusedBefore => {
                return debug!(
                    target = %name, "{name}: the program has refused what {dest} should be, and the next try is not due yet"
                );
            }
            Effect::Overtaken => {
                return debug!(
                    target = %name, "{name}: HAProxy has been changed; the check made way for newer data"
                );
            }
            Effect::Unread => {
                return debug!(target = %name, "{name}: {dest} {is} still not read");
            }
            Effect::Unchanged => format!("{dest} {is} right"),
            Effect::Reconciled(1) => {
                format!("HAProxy did not have the servers of {dest}: 1 change in {ms} ms")
            }
            Effect::Reconciled(changes) => {
                format!("HAProxy did not have the servers of {dest}: {changes} changes in {ms} ms")
            }
            Effect::Swapped(changes) => format!("{} updated in {ms} ms", have_been(changes)),
            Effect::AtRuntime(changes) => {
                format!(
                    "{} updated in {ms} ms, without a reload",
                    have_been(changes)
                )
            }
            Effect::ReloadMade => {
                format!("the reload that was owed has been made in {ms} ms")
            }
        };
        info!(
            target = name,
            revision = revision.map(|revision| revision.0),
            cause,
            took_ms = ms,
            "{name}: {what}{after}{because}"
        );
        if let Effect::Swapped(changes) | Effect::AtRuntime(changes) = effect {
            warn_of_foreign_edits(name, &report.foreign_edits);
            self.log_in_place(changes);
        }
    }

    /// `, after 3 failures in 40 s`, or nothing if no publish has failed since the last success.
    fn after_failures(&self) -> String {
        let since = self.failing.as_ref().map(|failing| failing.since);
        let seconds = since.map_or(0, |since| (THIS_HOST.now)().as_secs().saturating_sub(since));
        match self.recent_failures.times() {
            0 => String::new(),
            1 => format!(", after a failure {} ago", length(seconds)),
            times => format!(", after {times} failures in {}", length(seconds)),
        }
    }

    /// Logs once that a file is written in place.
    fn log_in_place(&mut self, changes: &[Change]) {
        let written = changes
            .iter()
            .find(|change| change.how == SwapMethod::InPlace);
        if let Some(written) = written.filter(|_| !self.in_place) {
            self.in_place = true;
            info!(
                target = self.loaded.target.name,
                "{}: {} is a mount point, so it is written over instead of replaced; mount its directory to have it \
                 replaced at once",
                self.loaded.target.name,
                written.dest.display()
            );
        }
    }

    /// Counts a repair. If another program changes the files again and again, slows repairs down and warns once.
    fn count_repair(&mut self, foreign: &[ForeignEdit]) {
        let name = &self.loaded.target.name;
        if foreign.is_empty() {
            return;
        }
        self.repair_at = None;
        if let Some(pause) = self.repairs.record(Instant::now()) {
            let dest = enumerate(foreign.iter().map(|one| one.dest.display()));
            warn!(
                target = %name, "{name}: something else keeps changing {dest}; from now on it is set right {} s later, and later each \
                 time: look for another program or a cron job that writes it",
                pause.as_secs()
            );
        }
    }

    /// Logs a failure. Returns whether it is a new one. `why`: the reason in short, for the status.
    fn log_failure(&mut self, failure: Failure, why: &str, once: bool) -> bool {
        let (name, text) = (&self.loaded.target.name, failure.text.clone());
        let since = self.failing.as_ref().map(|failing| failing.since);
        let since = since.unwrap_or_else(|| (THIS_HOST.now)().as_secs());
        let failing = Failing::new(since, failure.step, why);
        if self.recent_failures.is_news(failure) {
            self.failing = Some(failing);
            let then = if once { "" } else { "; trying again" };
            error!(target = name, error = text, "{name}: {text}{then}");
            true
        } else {
            debug!(
                target = name,
                error = text,
                "{name}: {text}; {} times now",
                self.recent_failures.times()
            );
            false
        }
    }
}

/// `/a.cfg has been`, or `/a.cfg and /b.cfg have been`.
fn have_been(changes: &[Change]) -> String {
    let dests = enumerate(changes.iter().map(|change| change.dest.display()));
    let have = if changes.len() == 1 { "has" } else { "have" };
    format!("{dests} {have} been")
}

/// The action by which the history calls a failure.
fn failed_action(error: &PublishError) -> Action {
    let is_back = match error {
        PublishError::Reload { restored, .. } => {
            matches!(restored, Restored::Yes | Restored::NeverLeft)
        }
        PublishError::CheckInPlace { taken_out, .. } => {
            matches!(taken_out, TakenOut::Back | TakenOut::Removed)
        }
        _ => false,
    };
    if is_back {
        Action::RolledBack
    } else {
        Action::Failed
    }
}

fn step(time: &StepTime) -> Step {
    Step {
        step: time.step.to_owned(),
        took_us: u64::try_from(time.took.as_micros()).unwrap_or(u64::MAX),
    }
}

fn warn_of_foreign_edits(name: &str, foreign: &[ForeignEdit]) {
    for ForeignEdit { dest, difference } in foreign {
        let dest = dest.display();
        warn!(target = %name, "{name}: somebody else had changed {dest}, which is set right: {difference}");
    }
}

/// The time-outs of everything that a publish of a target waits for. `slowest_reload` is the longest reload time-out of all targets.
fn timeouts(target: &Target, slowest_reload: Duration) -> Timeouts {
    let outputs = || target.outputs.iter();
    let checked = outputs().filter_map(|output| output.check.as_ref());
    let haproxies = outputs().filter_map(|output| output.haproxy.as_ref());
    Timeouts {
        checks: checked.map(|_| target.check_timeout).collect(),
        talks: haproxies.map(|haproxy| haproxy.timeout).collect(),
        reload: target.reload_timeout.max(slowest_reload),
        has_reload: target.reload.is_some(),
    }
}

/// The name and the files of a target. No two publishes may work on one of them at the same time.
fn claims(loaded: &Loaded) -> BTreeSet<String> {
    let target = &loaded.target;
    let files = target.outputs.iter();
    let files = files.map(|output| format!("file {}", real_path(&output.dest).display()));
    let name = format!("target {}", target.name);
    files.chain([name]).collect()
}

/// The paths in the store that a target follows.
pub(crate) fn paths(loaded: &Loaded, prefix: &Prefix) -> Vec<Prefix> {
    let outputs = loaded.target.outputs.iter();
    outputs
        .flat_map(|output| followed(output, prefix))
        .collect()
}

/// The paths in the store that an output follows.
fn followed(output: &Output, prefix: &Prefix) -> Vec<Prefix> {
    match &output.sources {
        Sources::AllServices => vec![prefix.clone()],
        Sources::Services(services) => {
            let names = services.iter().map(|name| prefix.join(name.as_str()));
            names.collect()
        }
        Sources::Keys(keys) => keys.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::watch::conf::load::load_some;

    fn state() -> TargetState {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                "conf.d/a.toml",
                "[template]\nsrc = 'a.tera'\ndest = '/d'\nkeys = ['/s']\n",
            ),
            ("templates/a.tera", ""),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut loaded = load_some(dir.path(), &["a".to_owned()]).unwrap().good;
        TargetState::new(loaded.remove(0), &Prefix::root(), "the start")
    }

    /// The wait is for this target and for those that take over its files.
    #[tokio::test]
    async fn a_publish_that_was_given_up_hangs_as_long_as_something_of_it_is_at_work() {
        let (mut state, mut successor) = (state(), state());
        let progress = Arc::new(Progress::default());
        let at_work = Arc::clone(&progress);
        let publish = tokio::spawn(std::future::pending::<()>());
        let id = publish.id();
        state.publish_started(publish.abort_handle(), progress, Revision(1));
        assert!(state.is_publishing() && state.runs(id) && !state.hangs());
        state.abandon();
        assert!(!state.is_publishing() && !state.runs(id));
        assert!(publish.await.unwrap_err().is_cancelled());
        assert!(state.hangs(), "a thread of it is at work");
        successor.wait_for_hanging(&state);
        assert!(successor.hangs());
        drop(at_work);
        assert!(!state.hangs() && !successor.hangs());
    }
}
