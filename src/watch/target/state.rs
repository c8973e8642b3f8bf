//! One target and where it stands: what it follows, when it is published, and what became of that. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id};
use tracing::{debug, error, info, warn};

use super::log_once::{Failure, Trouble};
use super::repair::Repairs;
use super::schedule::Schedule;
use crate::config::{Output, Sources, place};
use crate::model::catalog::{Catalog, Changes};
use crate::model::prefix::Prefix;
use crate::model::report::chain;
use crate::model::target_status::{Failing, HeldService, TargetStatus};
use crate::model::update::Revision;
use crate::model::watchers::is_of_watcher;
use crate::system::file::How;
use crate::watch::conf::load::Loaded;
use crate::watch::host::WORLD;
use crate::watch::publish::outcome::Outcome;
use crate::watch::publish::{Digest, End, Foreign, Has, Progress, PublishError, Published};
use crate::watch::render::View;

/// What the rest of a publish may take that has no time-out of its own: rendering, disks, many changes of HAProxies.
const REST: Duration = Duration::from_mins(5);
/// The clock cannot count to any time-out that somebody may give.
const LONGEST: Duration = Duration::from_hours(24 * 365);

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
    left: Option<Vec<Digest>>,
    repairs: Repairs,
    /// When a file that somebody else has changed is set right.
    repair_at: Option<Instant>,
    /// Something has happened to a file while it was being published.
    is_touched: bool,
    /// What the running `HAProxies` have, by the last publish.
    has: Has,
    /// It has been told that the file cannot be replaced.
    in_place: bool,
    /// What has failed since the last success.
    trouble: Trouble,
    /// The last failure, and when the first one of those in a row happened.
    failing: Option<Failing>,
    /// Since when its files are as they are, in seconds since 1970.
    in_force_since: Option<u64>,
    /// What the last good publish was made from.
    good_revision: Option<Revision>,
    /// A reload is needed for which it was too early when it was tried last.
    owes_reload: bool,
    /// Contradictions between announcements that the log has named.
    disputes: BTreeSet<String>,
}

impl TargetState {
    pub(crate) fn new(loaded: Loaded, prefix: &Prefix) -> Self {
        let paths = paths(&loaded, prefix);
        let claims = claims(&loaded);
        Self {
            schedule: Schedule::new(
                loaded.target.pace,
                loaded.haproxies.are_there(),
                limit(&loaded, Duration::ZERO),
                fastrand::u64(..),
            ),
            loaded: Arc::new(loaded),
            paths,
            claims,
            last: None,
            running: None,
            given_up: Weak::new(),
            left: None,
            repairs: Repairs::default(),
            repair_at: None,
            is_touched: false,
            has: Has::Live,
            in_place: false,
            trouble: Trouble::default(),
            failing: None,
            in_force_since: None,
            good_revision: None,
            owes_reload: false,
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
    pub(crate) fn files_left(&mut self) -> Option<Vec<(PathBuf, Digest)>> {
        self.is_touched = self.is_publishing();
        let left = self.left.as_ref().filter(|_| !self.is_touched)?;
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

    pub(crate) fn left(&self) -> Option<Vec<Digest>> {
        self.left.clone()
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
    pub(crate) fn has(&mut self) -> Has {
        std::mem::take(&mut self.has)
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
        });
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

    /// How long a publish may take, where the slowest reload of all targets may take this long.
    pub(crate) fn set_limit(&mut self, slowest_reload: Duration) {
        self.schedule.set_limit(limit(&self.loaded, slowest_reload));
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

    /// Takes in how its publish ended; its number in the schedule, and its outcome.
    pub(crate) fn done(&mut self, done: &Done, once: bool) -> (u64, Outcome) {
        let running = self.running.take();
        let number = running
            .as_ref()
            .map_or(self.schedule.number(), |running| running.number);
        self.left.clone_from(&done.end.left);
        self.has = done.end.has.clone();
        if let Some(disputes) = &done.end.disputes {
            self.warn_of_disputes(disputes);
        }
        self.tell(done, once);
        let outcome = done.end.outcome(self.loaded.target.reload.is_some());
        if outcome.is_final() {
            self.last = Some(outcome);
        }
        if outcome.is_good() {
            self.failing = None;
            self.good_revision = running.map(|running| running.revision);
            let is_same = matches!(done.end.result, Ok(Published::Unchanged));
            let since = self.in_force_since.filter(|_| is_same);
            self.in_force_since = since.or(Some((WORLD.now)().as_secs()));
        }
        self.owes_reload = matches!(outcome, Outcome::ReloadOwed | Outcome::RefusedBefore);
        (number, outcome)
    }

    /// Names each contradiction once, and once more when it is settled.
    fn warn_of_disputes(&mut self, disputes: &BTreeSet<String>) {
        let name = &self.loaded.target.name;
        for new in disputes.difference(&self.disputes) {
            warn!("{name}: {new}");
        }
        for settled in self.disputes.difference(disputes) {
            info!("{name}: this is settled: {settled}");
        }
        self.disputes.clone_from(disputes);
    }

    fn tell(&mut self, done: &Done, once: bool) {
        let target = &self.loaded.target;
        let (name, ms) = (&target.name, done.took.as_millis());
        let dest = listed(target.outputs.iter().map(|output| output.dest.as_path()));
        let (is, has) = match target.outputs.len() {
            1 => ("is", "has"),
            _ => ("are", "have"),
        };
        let after = match self.trouble.times() {
            0 => String::new(),
            1 => ", after a failure".to_owned(),
            times => format!(", after {times} failures"),
        };
        match &done.end.result {
            Ok(Published::Unchanged) if after.is_empty() => debug!("{name}: {dest} {is} right"),
            Ok(Published::Unchanged) => info!("{name}: {dest} {is} right{after}"),
            Ok(Published::WouldChange) => info!("{name}: {dest} would change"),
            Ok(Published::ReloadOwed) => {
                debug!("{name}: {dest} takes a reload, which waits for min_interval");
                return;
            }
            Ok(Published::RefusedBefore) => {
                debug!("{name}: {dest} would be what was refused, which waits for its next try");
                return;
            }
            Ok(Published::Overtaken) => {
                debug!("{name}: HAProxy has been changed; the check made way for newer data");
                return;
            }
            Ok(Published::Reconciled(changes)) => {
                let servers = if *changes == 1 { "change" } else { "changes" };
                info!(
                    "{name}: HAProxy did not have the servers of {dest}: {changes} {servers} in {ms} ms{after}"
                );
            }
            Ok(Published::Swapped(changes) | Published::AtRuntime(changes)) => {
                let without = match &done.end.result {
                    Ok(Published::AtRuntime(_)) => ", without a reload",
                    Ok(_) | Err(_) => "",
                };
                let dest = listed(changes.iter().map(|change| change.dest.as_path()));
                let has = if changes.len() == 1 { "has" } else { has };
                info!("{name}: {dest} {has} been updated in {ms} ms{without}{after}");
                warn_of_foreign(name, &done.end.foreign);
                let written = changes.iter().find(|change| change.how == How::InPlace);
                if let Some(written) = written.filter(|_| !self.in_place) {
                    self.in_place = true;
                    let dest = written.dest.display();
                    info!(
                        "{name}: {dest} is a mount point, so it is written over instead of replaced; mount its directory to have it replaced at once"
                    );
                }
            }
            Ok(Published::Unread) => debug!("{name}: {dest} {is} still not read"),
            Ok(Published::OwedReload) => {
                info!("{name}: the reload that was owed has been made in {ms} ms{after}");
            }
            Err(PublishError::GivenUp) => {
                info!("{name}: the publish under way was given up");
                return;
            }
            Err(error) => {
                let failure = Failure {
                    tried: done.end.tried,
                    step: error.step(),
                    exit: error.exit(),
                    text: chain(error),
                };
                return self.failed(failure, once);
            }
        }
        self.trouble = Trouble::default();
        self.count_repair(&done.end.foreign);
    }

    /// Slows repairs down, and warns once, if something else changes the files again and again.
    fn count_repair(&mut self, foreign: &[Foreign]) {
        let name = &self.loaded.target.name;
        if foreign.is_empty() {
            return;
        }
        self.repair_at = None;
        if let Some(pause) = self.repairs.repaired(Instant::now()) {
            let dest = listed(foreign.iter().map(|one| one.dest.as_path()));
            warn!(
                "{name}: something else keeps changing {dest}; from now on it is set right {} s later, and later each \
                 time: look for another program or a cron job that writes it",
                pause.as_secs()
            );
        }
    }

    fn failed(&mut self, failure: Failure, once: bool) {
        let (name, text) = (&self.loaded.target.name, failure.text.clone());
        let since = self.failing.as_ref().map(|failing| failing.since);
        let since = since.unwrap_or_else(|| (WORLD.now)().as_secs());
        let failing = Failing::new(since, failure.step, &text);
        if self.trouble.is_news(failure) {
            self.failing = Some(failing);
            let then = if once { "" } else { "; trying again" };
            error!("{name}: {text}{then}");
        } else {
            debug!("{name}: {text}; {} times now", self.trouble.times());
        }
    }
}

fn warn_of_foreign(name: &str, foreign: &[Foreign]) {
    for Foreign { dest, what } in foreign {
        let dest = dest.display();
        warn!("{name}: somebody else had changed {dest}, which is set right: {what}");
    }
}

/// How long a publish of this target may take before it counts as one that does not answer: longer than all it waits for,
/// each taken at its worst.
fn limit(loaded: &Loaded, slowest_reload: Duration) -> Duration {
    let target = &loaded.target;
    // A file is judged before the swap, or in its place.
    let judged = target
        .outputs
        .iter()
        .filter_map(|output| output.check.as_ref());
    let checks = judged.map(|_| target.check_timeout.saturating_mul(2));
    // HAProxies are changed, looked at and changed back.
    let asked = target
        .outputs
        .iter()
        .filter_map(|output| output.haproxy.as_ref());
    let asked = asked.map(|haproxy| haproxy.timeout.saturating_mul(8));
    // The new files are put in force, then those of before, then HAProxies that have changed. Each time an equal reload of
    // another target may be under way, the program is told, and has to say what it runs.
    let reload = target.reload_timeout.max(slowest_reload);
    let all = checks.chain(asked).chain([reload.saturating_mul(12)]);
    all.fold(REST, Duration::saturating_add).min(LONGEST)
}

/// What a publish of a target has for itself.
fn claims(loaded: &Loaded) -> BTreeSet<String> {
    let target = &loaded.target;
    let files = target.outputs.iter();
    let files = files.map(|output| format!("file {}", place(&output.dest).display()));
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

/// Paths as part of a sentence.
fn listed<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    match paths.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        other => other.concat(),
    }
}
