//! The loop of `sidekick watch`: waits for the store, finished publishes, signals and deadlines, and performs what the
//! schedules say. Shell.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};
use tracing::{error, info, warn};

use super::entrypoint;
use super::following::Following;
use super::guards::Guards;
use super::haproxy::Visits;
use super::herald::Herald;
use super::kept::{Done, Ended, Kept};
use super::ledger::Ledger;
use super::load::{Loaded, directories, load};
use super::memory::{Memory, SILENCE, ago};
use super::publish::{Job, Progress, PublishError};
use super::reload::Reloads;
use super::schedule::{Action, Input};
use super::ward::{Ward, ended};
use crate::config::{Pass, Problem};
use crate::model::catalog::Catalog;
use crate::model::facts::Signal;
use crate::model::report::code;
use crate::model::update::{Prefix, Revision, Snapshot, Update};
use crate::store::{Followed, Store};
use crate::system::notify::{self, Watchdog};
use crate::system::signals::Signals;
use crate::system::watched::Watched;

/// How long a stop waits for a reload that is under way: less than a container engine waits for us. What is owed then is
/// made by the next process.
const FINISH_WITHIN: Duration = Duration::from_secs(8);

/// What is to be kept, and how.
#[derive(Debug)]
pub struct Plan {
    /// The targets.
    pub targets: Vec<Loaded>,
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// How to go about it.
    pub pass: Pass,
    /// What templates see of the environment.
    pub env: BTreeMap<String, String>,
    /// Which store it is, as [`crate::model::location::Location::identity`] has it.
    pub store: String,
    /// Where the targets were loaded from; they are loaded again when something changes there.
    pub conf_dir: PathBuf,
}

/// Where the configuration lies, and how it is read.
struct Conf {
    dir: PathBuf,
    pass: Pass,
    watched: Watched,
    /// It is to be read anew as soon as no publish is under way.
    pending: bool,
    /// What was wrong with it when it was read last.
    problems: Vec<Problem>,
}

impl Conf {
    fn new(dir: PathBuf, pass: Pass) -> Self {
        let mut watched = Watched::new();
        if !pass.once {
            watched.follow(directories(&dir));
        }
        Self {
            dir,
            pass,
            watched,
            pending: false,
            problems: Vec::new(),
        }
    }
}

/// Keeps the targets until a signal, or publishes them once; returns the exit status.
pub async fn run(plan: Plan, store: Arc<dyn Store>, mut signals: Signals) -> u8 {
    let mut shell = Shell::new(plan, &store);
    loop {
        if let Some(status) = shell.status() {
            let paths = shell.following.paths();
            let leave = async {
                if let Some(herald) = &mut shell.herald {
                    herald.leave().await;
                }
            };
            tokio::join!(leave, shell.memory.close(paths, &shell.catalog));
            return status;
        }
        match shell.next(&mut signals).await {
            Event::Followed(scope, followed) => shell.followed(scope, followed),
            Event::Done(done) => shell.done(&done),
            Event::Broken(id) => shell.broken(id),
            Event::Edited => shell.reload(),
            Event::Signal(signal) => shell.signal(signal),
            Event::Deadline => shell.deadline_passed(),
            Event::Ward(input) => shell.ward(input),
            Event::Replaced(target) => shell.replaced(target),
        }
    }
}

/// What the loop waits for.
enum Event {
    Followed(usize, Followed),
    Done(Done),
    Broken(Id),
    /// Somebody has been at the configuration.
    Edited,
    Signal(Signal),
    Deadline,
    Ward(entrypoint::Input),
    /// The HAProxy of this target is another process than before.
    Replaced(usize),
}

struct Shell {
    targets: Vec<Kept>,
    catalog: Arc<Catalog>,
    pass: Pass,
    env: Arc<BTreeMap<String, String>>,
    store: Arc<dyn Store>,
    prefix: Prefix,
    following: Following,
    /// Our entry in the store, for those who wait until we have applied something; none if we do not stay.
    herald: Option<Herald>,
    publishes: JoinSet<Done>,
    ledger: Arc<Ledger>,
    memory: Memory,
    /// How old what was published is, where the store has not said everything itself.
    stale: Option<Duration>,
    guards: Guards,
    reloads: Reloads,
    visits: Visits,
    conf: Conf,
    started: Instant,
    /// When every file is compared with what it should be, whatever happened.
    compare_at: Instant,
    /// Told to stop: when to give up waiting for a publish that is under way.
    stop_at: Option<Instant>,
    ready: bool,
    /// The command, if there is one.
    ward: Option<Ward>,
    watchdog: Watchdog,
}

impl Shell {
    fn new(mut plan: Plan, store: &Arc<dyn Store>) -> Self {
        // What the files mean depends on what was asked for.
        let reading = plan.pass.clone();
        let program = plan.pass.program.take();
        let state_dir = plan.pass.state_dir.take();
        let now = Instant::now();
        let targets: Vec<Kept> = plan
            .targets
            .into_iter()
            .map(|loaded| Kept::new(loaded, &plan.prefix))
            .collect();
        let paths = targets.iter().flat_map(|kept| kept.paths.clone());
        let following = Following::start(store, paths);
        let stays = !plan.pass.once && !plan.pass.noop;
        let herald = stays.then(|| Herald::new(store, &following.paths(), &targets));
        let place = state_dir.as_deref().filter(|_| !plan.pass.once);
        let mut memory = Memory::new(place, &plan.conf_dir, plan.store);
        memory.listen(now);
        let mut guards = Guards::open(state_dir.clone(), plan.pass.noop);
        guards.watch_over(&targets);
        let mut visits = Visits::default();
        if !plan.pass.once {
            visits.begin(
                targets
                    .iter()
                    .map(|kept| &kept.loaded.haproxies)
                    .enumerate(),
            );
        }
        Self {
            herald,
            targets,
            catalog: Arc::new(Catalog::new(plan.prefix.clone())),
            store: Arc::clone(store),
            prefix: plan.prefix,
            following,
            compare_at: now + plan.pass.interval,
            ward: program.map(|program| Ward::new(program, plan.pass.stop_grace)),
            pass: plan.pass,
            env: Arc::new(plan.env),
            publishes: JoinSet::new(),
            ledger: Arc::new(Ledger::open(state_dir)),
            memory,
            stale: None,
            guards,
            reloads: Reloads::default(),
            visits,
            conf: Conf::new(plan.conf_dir, reading),
            started: now,
            stop_at: None,
            ready: false,
            watchdog: Watchdog::from_env(),
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Event {
        let deadline = self.deadline();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (scope, followed) = self.following.next() => Event::Followed(scope, followed),
            () = self.conf.watched.changed(), if !self.pass.once => Event::Edited,
            Some(done) = self.publishes.join_next() => match done {
                Ok(done) => Event::Done(done),
                Err(error) => Event::Broken(error.id()),
            },
            signal = signals.next() => Event::Signal(signal),
            () = due => Event::Deadline,
            () = self.watchdog.beat() => Event::Deadline,
            input = ended(&mut self.ward) => Event::Ward(input),
            target = self.visits.news() => Event::Replaced(target),
            never = work(&mut self.herald) => match never {},
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.stop_at.is_some() {
            return self.stop_at;
        }
        let schedules = self
            .targets
            .iter()
            .filter_map(|kept| kept.schedule.deadline());
        let wait = self
            .pass
            .timeout
            .filter(|_| !self.following.is_complete())
            .map(|limit| self.started + limit);
        let ward = self.ward.as_ref().and_then(Ward::deadline);
        let all = schedules.chain(wait).chain(ward);
        let all = all.chain(self.memory.deadline());
        let all = all.chain(self.guards.deadline());
        all.chain([self.compare_at]).min()
    }

    /// The exit status, once there is nothing left to do.
    fn status(&self) -> Option<u8> {
        if let Some(ward) = &self.ward {
            return ward.status();
        }
        if let Some(at) = self.stop_at {
            let over = self.publishes.is_empty() || Instant::now() >= at;
            return over.then_some(0);
        }
        if !self.pass.once {
            return None;
        }
        if !self.following.is_complete() {
            let waited = self
                .pass
                .timeout
                .is_some_and(|limit| self.started.elapsed() >= limit);
            return waited.then(|| {
                error!("the store did not answer within --timeout; nothing was changed");
                code::UNAVAILABLE
            });
        }
        let ended: Option<Vec<Ended>> = self.targets.iter().map(|kept| kept.last).collect();
        let ended = ended?;
        Some(if ended.contains(&Ended::Failed) {
            code::FAILED
        } else if ended.contains(&Ended::Pending) {
            code::PENDING
        } else {
            0
        })
    }

    fn followed(&mut self, scope: usize, followed: Followed) {
        match followed {
            Followed::Outage(error) => {
                warn!("{error}; what is live stays as it is, trying again");
            }
            Followed::Restored => info!("the store answers again"),
            Followed::Update(update) => self.update(scope, update),
        }
    }

    fn update(&mut self, scope: usize, update: Update) {
        let was_complete = self.following.is_complete();
        let is_reset = matches!(update, Update::Reset(_));
        if is_reset {
            self.following.heard(scope);
        }
        let has_changed = self.take_in(scope, update, was_complete);
        if self.following.is_fresh() && (is_reset || has_changed) {
            self.memory.news(Instant::now());
            self.refreshed();
        }
    }

    /// Brings the catalog up to date and tells the targets concerned; whether anything has changed.
    fn take_in(&mut self, scope: usize, update: Update, was_complete: bool) -> bool {
        let revision = update.revision();
        let prefix = self.following.path(scope);
        let changes = Arc::make_mut(&mut self.catalog).apply(prefix, update);
        for (dir, error) in &changes.skipped {
            warn!("{dir} is skipped: {error}");
        }
        if let Some(herald) = &mut self.herald {
            herald.updated(scope, revision, &changes, &self.catalog, &self.targets);
        }
        if was_complete {
            self.guards.changed(&self.catalog, &changes);
            self.changed(|kept| kept.concerns(&changes));
        } else if self.following.is_complete() {
            self.guards.heard_all(&self.catalog);
            self.changed(|_| true);
        }
        !changes.is_empty()
    }

    /// The store is silent: what it said last stands in for it.
    fn recall(&mut self) {
        let (scopes, paths): (Vec<usize>, Vec<Prefix>) =
            self.following.unknown().into_iter().unzip();
        if scopes.is_empty() {
            return;
        }
        let Some((saved, age)) = self.memory.recall(&paths) else {
            return;
        };
        warn!(
            "the store has not answered for {} s: until it does, files are rendered from what it said last, and are \
             stale; the snapshot of revision {} was written {}",
            SILENCE.as_secs(),
            saved.revision,
            ago(age)
        );
        self.stale = Some(age);
        for (scope, entries) in scopes.into_iter().zip(saved.entries) {
            self.following.stand_in(scope);
            // The revision of back then means nothing: the store may have been rebuilt.
            let revision = Revision::default();
            self.take_in(scope, Update::Reset(Snapshot { revision, entries }), false);
        }
        self.tell_status();
    }

    /// The store has said everything itself.
    fn refreshed(&mut self) {
        if self.stale.take().is_some() {
            info!("the store has said everything: nothing is stale any more");
            self.tell_status();
        }
    }

    /// Tells the service manager what it can show.
    fn tell_status(&self) {
        if self.ready {
            notify::status(&self.state());
        }
    }

    fn state(&self) -> String {
        let count = files(&self.targets);
        match self.stale {
            Some(age) => format!(
                "keeping {count} files, stale: the store does not answer, the snapshot was written {}",
                ago(age)
            ),
            None => format!("keeping {count} files"),
        }
    }

    /// Tells the schedules of these targets that something has changed.
    fn changed(&mut self, concerned: impl Fn(&Kept) -> bool) {
        if !self.following.is_complete() {
            return;
        }
        for target in 0..self.targets.len() {
            let kept = &mut self.targets[target];
            if !concerned(kept) {
                continue;
            }
            if self.guards.freezes(&kept.loaded.target.name) {
                kept.freeze(self.pass.once && !self.pass.noop);
            } else {
                self.advance(target, Input::Changed);
            }
        }
        self.tell_ready();
    }

    fn advance(&mut self, target: usize, input: Input) {
        let is_held = self.conf.pending && !matches!(input, Input::Done { .. });
        if self.is_stopping() || is_held {
            return;
        }
        match self.targets[target].schedule.handle(Instant::now(), input) {
            // Everything is published anew when the configuration has been read.
            Some(Action::Publish { .. }) if self.conf.pending => {}
            Some(Action::Publish { may_reload }) => self.publish(target, may_reload),
            None => {}
        }
    }

    fn publish(&mut self, target: usize, may_reload: bool) {
        let kept = &self.targets[target];
        let child = self.ward.as_ref().map(Ward::running);
        let progress = Progress::default();
        let job = Job {
            loaded: Arc::clone(&kept.loaded),
            views: kept.views(
                &self.guards.seen_by(&kept.loaded.target.name, &self.catalog),
                &self.env,
            ),
            noop: self.pass.noop,
            may_reload,
            diff: self.pass.diff,
            ticket: self.reloads.ticket(&kept.loaded.target, child),
            ledger: Arc::clone(&self.ledger),
            progress: Arc::clone(&progress),
        };
        let publish = self.publishes.spawn(async move {
            let start = Instant::now();
            let result = job.publish().await;
            let took = start.elapsed();
            Done {
                target,
                result,
                took,
            }
        });
        self.targets[target].started(publish, progress);
        if let Some(herald) = &mut self.herald {
            herald.started(target);
        }
    }

    fn done(&mut self, done: &Done) {
        let kept = &mut self.targets[done.target];
        let input = kept.done(done, self.pass.once);
        if kept.last == Some(Ended::Good) {
            self.guards.published(&kept.loaded.target.name);
        }
        if let Some(herald) = &mut self.herald {
            herald.done(done.target, self.targets[done.target].is_good());
        }
        self.advance(done.target, input);
        self.tell_ready();
        if self.conf.pending && self.publishes.is_empty() {
            self.reload();
        }
    }

    /// Reads the configuration. A good one takes the place of the old one, a bad one is told.
    fn reload(&mut self) {
        // A target that changes while it is being published would be published twice at once.
        self.conf.pending = !self.publishes.is_empty();
        if self.conf.pending || self.is_stopping() || self.pass.once {
            return;
        }
        self.conf.watched.follow(directories(&self.conf.dir));
        match load(&self.conf.dir, &self.conf.pass) {
            Ok(loaded) => {
                self.conf.problems.clear();
                self.replace(loaded);
            }
            Err(problems) if problems == self.conf.problems => {}
            Err(problems) => {
                for problem in &problems {
                    error!("{problem}");
                }
                error!("the configuration is not good, so the one of before stays in force");
                self.conf.problems = problems;
            }
        }
        // What was held back for this.
        self.changed(|_| true);
    }

    /// Puts other targets in the place of those there are; one that is the same goes on as it was.
    fn replace(&mut self, loaded: Vec<Loaded>) {
        let mut old = std::mem::take(&mut self.targets);
        let count = old.len();
        let mut new = 0;
        for one in loaded {
            let same = old.iter().position(|kept| kept.loaded.is_same(&one));
            let kept = same.map(|at| old.swap_remove(at)).map(Kept::renewed);
            new += usize::from(kept.is_none());
            self.targets
                .push(kept.unwrap_or_else(|| Kept::new(one, &self.prefix)));
        }
        if new == 0 && old.is_empty() {
            self.reannounce(true);
            return;
        }
        info!(
            "the configuration has changed: {} files are kept, {new} of them by new or other targets; there were {count}",
            files(&self.targets)
        );
        self.guards.watch_over(&self.targets);
        let haproxies = self.targets.iter().map(|kept| &kept.loaded.haproxies);
        self.visits.begin(haproxies.enumerate());
        let paths = || self.targets.iter().flat_map(|kept| kept.paths.clone());
        let goes_on = self.following.is_of(paths());
        if !goes_on {
            self.following = Following::start(&self.store, paths());
            self.catalog = Arc::new(Catalog::new(self.prefix.clone()));
            self.stale = None;
            self.memory.listen(Instant::now());
        } else if self.following.is_complete() {
            self.guards.heard_all(&self.catalog);
        }
        self.reannounce(goes_on);
    }

    /// The targets are others; `goes_on`: what is followed is the same.
    fn reannounce(&mut self, goes_on: bool) {
        if let Some(herald) = &mut self.herald {
            herald.replace(&self.following.paths(), &self.targets, goes_on);
        }
    }

    /// Its servers are compared with those of the file.
    fn replaced(&mut self, target: usize) {
        let kept = &self.targets[target];
        self.visits.visit(target, &kept.loaded.haproxies);
        if !self.guards.freezes(&kept.loaded.target.name) && self.following.is_complete() {
            self.advance(target, Input::Changed);
        }
    }

    /// A publish that broke off has failed, unless it was told to stop.
    fn broken(&mut self, id: Id) {
        let target = self.targets.iter().position(|kept| kept.runs(id));
        if let Some(target) = target.filter(|_| !self.is_stopping()) {
            let result = Err(PublishError::Worker);
            let took = Duration::ZERO;
            self.done(&Done {
                target,
                result,
                took,
            });
        }
    }

    fn tell_ready(&mut self) {
        let all_good = self
            .targets
            .iter()
            .all(|kept| kept.last == Some(Ended::Good));
        if all_good && !self.ready {
            self.ready = true;
            self.ward(entrypoint::Input::Published);
            notify::ready(&self.state());
        }
    }

    fn signal(&mut self, signal: Signal) {
        if signal == Signal::HUP {
            info!(
                "{signal}: reading the configuration, and comparing every file with what it should be"
            );
            self.conf.problems.clear();
            self.compare();
            self.reload();
            return;
        }
        let was_stopping = self.is_stopping();
        self.ward(entrypoint::Input::Signal(signal));
        if self.ward.is_none() {
            let now = Instant::now();
            // Asked twice: somebody is in a hurry.
            self.stop_at = Some(self.stop_at.map_or(now + FINISH_WITHIN, |_| now));
        }
        if self.is_stopping() && !was_stopping {
            info!("{signal}: stopping");
            self.targets.iter().for_each(Kept::give_up);
            self.herald.iter_mut().for_each(Herald::stop);
            notify::stopping("stopping");
        }
    }

    /// Tells the command's machine, if there is a command.
    fn ward(&mut self, input: entrypoint::Input) {
        if let Some(ward) = &mut self.ward {
            ward.handle(input);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop_at.is_some() || self.ward.as_ref().is_some_and(Ward::is_stopping)
    }

    fn compare(&mut self) {
        self.compare_at = Instant::now() + self.pass.interval;
        if self.following.is_complete() {
            self.changed(|_| true);
        }
    }

    fn deadline_passed(&mut self) {
        self.ward(entrypoint::Input::Tick);
        let now = Instant::now();
        if now >= self.compare_at {
            self.compare();
        }
        if self.memory.is_time_to_recall(now) {
            self.recall();
        }
        if self.following.is_fresh() {
            self.memory
                .write(now, self.following.paths(), &self.catalog);
        }
        let freed = self.guards.tick(now);
        if !freed.is_empty() {
            self.changed(|kept| freed.contains(&kept.loaded.target.name));
        }
        for target in 0..self.targets.len() {
            self.advance(target, Input::Tick);
        }
    }
}

fn files(targets: &[Kept]) -> usize {
    let counts = targets.iter().map(|kept| kept.loaded.target.outputs.len());
    counts.sum()
}

async fn work(herald: &mut Option<Herald>) -> Infallible {
    match herald {
        Some(herald) => herald.work().await,
        None => std::future::pending().await,
    }
}
