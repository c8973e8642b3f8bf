//! One target and where it stands: what it follows, when it is published, and what became of that. Shell.

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
use crate::model::prefix::Prefix;
use crate::model::report::{chain, enumerate};
use crate::model::target_status::{Failing, HeldService, TargetStatus};
use crate::model::update::Revision;
use crate::model::watcher_entry::is_of_watcher;
use crate::system::file::SwapMethod;
use crate::watch::conf::load::Loaded;
use crate::watch::history::entry::{Action, Entry, Step};
use crate::watch::host::WORLD;
use crate::watch::publish::outcome::Outcome;
use crate::watch::publish::{
    Change, Digest, End, ForeignEdit, Progress, PublishError, Published, Restored, RunningConfig,
    StepTime, TakenOut,
};
use crate::watch::render::View;

/// So many instances and keys are named in the log as the cause of a publish.
const NAMED: usize = 5;
/// So many in the history.
const RECORDED: usize = 50;

/// A publish that has ended.
pub(crate) struct Done {
    pub(crate) end: End,
    pub(crate) took: Duration,
}

/// A publish under way.
struct Running {
    publish: AbortHandle,
    /// How far it has come.
    progress: Arc<Progress>,
    /// Its number in the schedule.
    number: u64,
    /// What it is made from.
    revision: Revision,
    since: Instant,
    /// It has been told that it takes unusually long.
    is_slow: bool,
    /// Why it is made.
    causes: Causes,
}

/// What the loop has to know of a publish that has ended.
pub(crate) struct Ended {
    /// Its number in the schedule.
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    /// What the history is told, if anything was done, or failed in a new way.
    pub(crate) entry: Option<Entry>,
}

pub(crate) struct TargetState {
    pub(crate) loaded: Arc<Loaded>,
    /// What it follows, as paths.
    pub(crate) paths: Vec<Prefix>,
    /// What no two publishes may be about at once: its name and its files.
    claims: BTreeSet<String>,
    pub(crate) schedule: Schedule,
    /// The last outcome that says how files and programs are now.
    pub(crate) last: Option<Outcome>,
    /// The publish that is under way.
    running: Option<Running>,
    /// A publish that was given up because it did not answer, as long as something of it may still be at work.
    given_up: Weak<Progress>,
    /// What the last publish has left in the places of the outputs, if that is known.
    published_digests: Option<Vec<Digest>>,
    repairs: Repairs,
    /// When a file that somebody else has changed is set right.
    repair_at: Option<Instant>,
    /// Something has happened to a file while it was being published.
    is_touched: bool,
    /// What the running `HAProxies` have, by the last publish.
    running_config: RunningConfig,
    /// The log already says that a file is written in place.
    in_place: bool,
    /// What has failed since the last success.
    recent_failures: RecentFailures,
    /// The last failure, and when the first one of those in a row happened.
    failing: Option<Failing>,
    /// Since when its files are as they are, in seconds since 1970.
    in_force_since: Option<u64>,
    /// What the last good publish was made from.
    good_revision: Option<Revision>,
    /// A reload is needed for which it was too early when it was tried last.
    owes_reload: bool,
    /// What has happened since its files were right, or since the publish under way began.
    causes: Causes,
    /// Contradictions between announcements that the log has named.
    disputes: BTreeSet<String>,
}

impl TargetState {
    /// `cause` says why it is there now.
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
            is_touched: false,
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

    /// Whatever was put off may be done at once; a publish that is under way goes on.
    pub(crate) fn rest(&mut self) {
        if !self.is_publishing() {
            self.schedule = self.schedule.renewed();
        }
    }

    pub(crate) fn is_publishing(&self) -> bool {
        self.running.is_some()
    }

    /// What its files are to be compared with to find what somebody else has done to them.
    pub(crate) fn published_files(&mut self) -> Option<Vec<(PathBuf, Digest)>> {
        self.is_touched = self.is_publishing();
        let left = self
            .published_digests
            .as_ref()
            .filter(|_| !self.is_touched)?;
        let outputs = self.loaded.target.outputs.iter();
        let dests = outputs.map(|output| output.dest.clone());
        Some(dests.zip(left.iter().copied()).collect())
    }

    /// Whether a look at its files was put off until a publish has ended.
    pub(crate) fn is_touched(&self) -> bool {
        self.is_touched
    }

    /// Whether a file that was found changed is set right now; if not, it has its time.
    pub(crate) fn may_repair(&mut self, now: Instant) -> bool {
        let due = self.repairs.due(now);
        self.repair_at = (due > now).then_some(due);
        due <= now
    }

    /// When a file is set right that had to wait.
    pub(crate) fn repair_at(&self) -> Option<Instant> {
        self.repair_at
    }

    pub(crate) fn is_repair_due(&mut self, now: Instant) -> bool {
        self.repair_at.take_if(|at| now >= *at).is_some()
    }

    pub(crate) fn published_digests(&self) -> Option<Vec<Digest>> {
        self.published_digests.clone()
    }

    /// Whether a publish of this target must not run beside one of the other.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        !self.claims.is_disjoint(&other.claims)
    }

    pub(crate) fn concerns(&self, changes: &Changes) -> bool {
        let followed = |key: &str| self.paths.iter().any(|path| path.covers(key));
        let is_news = |key: &str| !is_of_watcher(key);
        changes.keys.iter().any(|key| followed(key) && is_news(key))
    }

    /// What each of its templates sees.
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
                world: WORLD,
            }
        };
        self.loaded.target.outputs.iter().map(view).collect()
    }

    /// Its guard leaves the files as they are: the last good state, which is what a command can start with, but not what
    /// a single pass was asked for.
    pub(crate) fn freeze(&mut self, has_failed: bool) {
        let reloaded = false;
        self.last = Some(if has_failed {
            Outcome::Failed { reloaded }
        } else {
            Outcome::Good { reloaded }
        });
    }

    /// What the running `HAProxies` have, for a publish to begin with. If it does not come to its end, the loaded state knows.
    pub(crate) fn running_config(&mut self) -> RunningConfig {
        std::mem::take(&mut self.running_config)
    }

    /// A publish of what the catalog has at this revision is under way.
    pub(crate) fn started(
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

    /// The store has said something: what concerns it is a cause of the next publish.
    pub(crate) fn add_changes(&mut self, changes: &Changes, prefix: &Prefix) {
        let paths = &self.paths;
        let follows = |path: &str| paths.iter().any(|followed| followed.covers(path));
        self.causes.add_changes(changes, prefix, follows);
    }

    /// Something else has happened that is a cause of the next publish.
    pub(crate) fn add_cause(&mut self, what: &str) {
        self.causes.add(what);
    }

    /// A line of the history about something that is no publish.
    pub(crate) fn event(&self, action: Action, cause: &str) -> Entry {
        Entry {
            at: (WORLD.now)().as_secs(),
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

    /// How it stands, with what its guard holds, and when the snapshot was written if it is served from one.
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

    /// Says what the schedule does or waits for, and for how long.
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

    /// How long a publish may take, where the slowest reload of all targets may take this long.
    pub(crate) fn set_limits(&mut self, slowest_reload: Duration) {
        self.schedule
            .set_limits(timeouts(&self.loaded.target, slowest_reload).limits());
    }

    /// Says that the publish under way takes unusually long, and what it waits for.
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

    /// Ends a publish that does not answer, wherever it is. What it says yet is not for this target any more, and what it
    /// has begun is in the loaded state.
    pub(crate) fn abandon(&mut self) {
        self.end();
        if let Some(running) = self.running.take() {
            self.given_up = Arc::downgrade(&running.progress);
        }
    }

    /// Ends a publish, wherever it is; the loop hears of its end.
    pub(crate) fn end(&self) {
        if let Some(Running {
            publish, progress, ..
        }) = &self.running
        {
            progress.abandon();
            publish.abort();
        }
    }

    /// What hangs of that target is in the way of this one.
    pub(crate) fn inherit(&mut self, gone: &Self) {
        if gone.hangs() {
            self.given_up = Weak::clone(&gone.given_up);
        }
    }

    /// Whether something of a publish that was given up is still at work: a thread that waits for a disk cannot be ended,
    /// and what it does then must not meet what another publish does.
    pub(crate) fn hangs(&self) -> bool {
        self.given_up.strong_count() > 0
    }

    /// Whether this is its publish.
    pub(crate) fn runs(&self, id: Id) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.publish.id() == id)
    }

    /// Whether the publish that is under way has begun to change something.
    pub(crate) fn has_begun(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.progress.has_begun())
    }

    /// Asks the publish that is under way not to wait for its command any more.
    pub(crate) fn kill_command(&self) {
        if let Some(Running { progress, .. }) = &self.running {
            progress.give_up();
        }
    }

    /// Ends a publish that has changed nothing yet, or whose file is still being checked. One that has come further goes on
    /// to its reload.
    pub(crate) fn give_up(&self) {
        match &self.running {
            Some(running) if running.progress.has_begun() => running.progress.give_up_check(),
            Some(running) => running.publish.abort(),
            None => {}
        }
    }

    /// Asks the publish that is under way to make way for newer data.
    pub(crate) fn overtake(&self) {
        if let Some(Running { progress, .. }) = &self.running {
            progress.overtake();
        }
    }

    /// Takes in how its publish ended.
    pub(crate) fn publish_ended(&mut self, done: &Done, once: bool) -> Ended {
        let running = self.running.take();
        let number = running
            .as_ref()
            .map_or(self.schedule.number(), |running| running.number);
        if running.as_ref().is_some_and(|running| running.is_slow) {
            let (name, took) = (&self.loaded.target.name, done.took.as_secs());
            info!(target = %name, "{name}: the publish that took unusually long has ended after {took} s");
        }
        let revision = running.as_ref().map(|running| running.revision);
        let mut causes = running.map(|running| running.causes).unwrap_or_default();
        for ForeignEdit { dest, .. } in &done.end.foreign_edits {
            causes.add(format!("hand-edit of {}", dest.display()));
        }
        let cause = causes.describe(NAMED);
        self.published_digests
            .clone_from(&done.end.published_digests);
        self.running_config = done.end.running_config.clone();
        if let Some(disputes) = &done.end.disputes {
            self.warn_of_disputes(disputes);
        }
        let action = self.log_end(done, once, &cause, revision);
        let outcome = done.end.outcome(self.loaded.target.reload.is_some());
        if outcome.is_final() {
            self.last = Some(outcome);
        }
        if outcome.is_good() {
            self.failing = None;
            self.good_revision = revision;
            let is_same = matches!(done.end.result, Ok(Published::Unchanged));
            let since = self.in_force_since.filter(|_| is_same);
            self.in_force_since = since.or(Some((WORLD.now)().as_secs()));
        } else {
            let later = std::mem::take(&mut self.causes);
            self.causes = causes.clone().followed_by(later);
        }
        self.owes_reload = matches!(outcome, Outcome::ReloadOwed | Outcome::RefusedBefore);
        let entry = action.map(|action| Entry {
            revision: revision.unwrap_or_default().0,
            error: done
                .end
                .result
                .as_ref()
                .err()
                .map(|error| chain(error))
                .unwrap_or_default(),
            took_ms: u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
            steps: done.end.steps.iter().map(step).collect(),
            ..self.event(action, &causes.describe(RECORDED))
        });
        Ended {
            number,
            outcome,
            entry,
        }
    }

    /// Names each contradiction once, and once more when it is settled.
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

    /// Logs how a publish ended; what the history is told that was done.
    fn log_end(
        &mut self,
        done: &Done,
        once: bool,
        cause: &str,
        revision: Option<Revision>,
    ) -> Option<Action> {
        let published = match &done.end.result {
            Ok(published) => published,
            Err(PublishError::GivenUp) => {
                let name = &self.loaded.target.name;
                info!(target = name, "{name}: the publish under way was given up");
                return None;
            }
            Err(error) => {
                let failure = Failure {
                    tried: done.end.tried,
                    step: error.step(),
                    exit: error.exit(),
                    text: chain(error),
                };
                let is_news = self.log_failure(failure, once);
                return is_news.then(|| failed_action(error));
            }
        };
        self.log_published(published, done, cause, revision);
        let action = self.published_action(published);
        let is_open = matches!(
            published,
            Published::ReloadOwed(_) | Published::RefusedBefore | Published::Overtaken
        );
        if !is_open {
            self.recent_failures = RecentFailures::default();
            self.count_repair(&done.end.foreign_edits);
        }
        action
    }

    /// What the history is told of a publish that did not fail.
    fn published_action(&self, published: &Published) -> Option<Action> {
        match published {
            Published::Swapped(_) if self.loaded.target.reload.is_none() => Some(Action::Written),
            Published::Swapped(_) => Some(Action::Reloaded),
            Published::AtRuntime(_) => Some(Action::Runtime),
            Published::Reconciled(_) => Some(Action::Reconciled),
            Published::ReloadMade => Some(Action::OwedReload),
            Published::ReloadOwed(changes) if !changes.is_empty() => Some(Action::ReloadOwed),
            Published::Unchanged if self.recent_failures.times() > 0 => Some(Action::Recovered),
            Published::Unchanged | Published::ReloadOwed(_) | Published::WouldChange => None,
            Published::RefusedBefore | Published::Overtaken | Published::Unread => None,
        }
    }

    fn log_published(
        &mut self,
        published: &Published,
        done: &Done,
        cause: &str,
        revision: Option<Revision>,
    ) {
        let target = &self.loaded.target;
        let name = target.name.as_str();
        let ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX);
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
        let what = match published {
            Published::Unchanged if after.is_empty() => {
                return debug!(target = %name, "{name}: {dest} {is} right");
            }
            Published::WouldChange => return info!(target = %name, "{name}: {dest} would change"),
            Published::ReloadOwed(_) => {
                return debug!(target = %name, "{name}: {dest} takes a reload, which waits for min_interval");
            }
            Published::RefusedBefore => {
                return debug!(
                    target = %name, "{name}: {dest} would be what was refused, which waits for its next try"
                );
            }
            Published::Overtaken => {
                return debug!(
                    target = %name, "{name}: HAProxy has been changed; the check made way for newer data"
                );
            }
            Published::Unread => {
                return debug!(target = %name, "{name}: {dest} {is} still not read");
            }
            Published::Unchanged => format!("{dest} {is} right"),
            Published::Reconciled(1) => {
                format!("HAProxy did not have the servers of {dest}: 1 change in {ms} ms")
            }
            Published::Reconciled(changes) => {
                format!("HAProxy did not have the servers of {dest}: {changes} changes in {ms} ms")
            }
            Published::Swapped(changes) => format!("{} updated in {ms} ms", have_been(changes)),
            Published::AtRuntime(changes) => {
                format!(
                    "{} updated in {ms} ms, without a reload",
                    have_been(changes)
                )
            }
            Published::ReloadMade => {
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
        if let Published::Swapped(changes) | Published::AtRuntime(changes) = published {
            warn_of_foreign_edits(name, &done.end.foreign_edits);
            self.log_in_place(changes);
        }
    }

    /// `, after 3 failures in 40 s`, if it has failed.
    fn after_failures(&self) -> String {
        let since = self.failing.as_ref().map(|failing| failing.since);
        let seconds = since.map_or(0, |since| (WORLD.now)().as_secs().saturating_sub(since));
        match self.recent_failures.times() {
            0 => String::new(),
            1 => format!(", after a failure {seconds} s ago"),
            times => format!(", after {times} failures in {seconds} s"),
        }
    }

    /// Says once that a file is written in place.
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

    /// Slows repairs down, and warns once, if something else changes the files again and again.
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

    /// Logs a failure; whether it is a new one.
    fn log_failure(&mut self, failure: Failure, once: bool) -> bool {
        let (name, text) = (&self.loaded.target.name, failure.text.clone());
        let since = self.failing.as_ref().map(|failing| failing.since);
        let since = since.unwrap_or_else(|| (WORLD.now)().as_secs());
        let failing = Failing::new(since, failure.step, &text);
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

/// What the history is told of a failure.
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

/// What a publish of a target waits for. `slowest_reload` is the longest reload time-out of all targets.
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

/// What a publish of a target has for itself.
fn claims(loaded: &Loaded) -> BTreeSet<String> {
    let target = &loaded.target;
    let files = target.outputs.iter();
    let files = files.map(|output| format!("file {}", real_path(&output.dest).display()));
    let name = format!("target {}", target.name);
    files.chain([name]).collect()
}

/// What a target follows, as paths.
pub(crate) fn paths(loaded: &Loaded, prefix: &Prefix) -> Vec<Prefix> {
    let outputs = loaded.target.outputs.iter();
    outputs
        .flat_map(|output| followed(output, prefix))
        .collect()
}

/// What an output follows, as paths.
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

    /// What was given up hangs as long as a thread of it is at work, for this target and for those that take over its files.
    #[tokio::test]
    async fn a_publish_that_was_given_up_hangs_as_long_as_something_of_it_is_at_work() {
        let (mut state, mut heir) = (state(), state());
        let progress = Arc::new(Progress::default());
        let at_work = Arc::clone(&progress);
        let publish = tokio::spawn(std::future::pending::<()>());
        let id = publish.id();
        state.started(publish.abort_handle(), progress, Revision(1));
        assert!(state.is_publishing() && state.runs(id) && !state.hangs());
        state.abandon();
        assert!(!state.is_publishing() && !state.runs(id));
        assert!(publish.await.unwrap_err().is_cancelled());
        assert!(state.hangs(), "a thread of it is at work");
        heir.inherit(&state);
        assert!(heir.hangs());
        drop(at_work);
        assert!(!state.hangs() && !heir.hangs());
    }
}
