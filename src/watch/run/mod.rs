//! The loop of `sidekick watch`: waits for the store, finished publishes, signals and deadlines, and performs what the
//! schedules say. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};
use tracing::{error, info};

use super::applied::publisher::Herald;
use super::child::lifecycle;
use super::child::shell::{Ward, ended};
use super::conf::haproxy::Visits;
use super::conf::load::Configuration;
use super::guard::guards::Guards;
use super::publish::loaded_state::Ledger;
use super::reload::coalesce::Reloads;
use super::source::snapshot::Memory;
use super::source::subscriptions::Following;
use super::target::schedule::Input;
use super::target::state::{Done, Ended, Kept};
use crate::config::Pass;
use crate::model::catalog::Catalog;
use crate::model::os::{Exit, Signal};
use crate::model::report::code;
use crate::model::update::Prefix;
use crate::store::{Followed, Store};
use crate::system::sd_notify;
use crate::system::sd_notify::Watchdog;
use crate::system::signals::Signals;

/// How long a stop waits for a reload that is under way: less than a container engine waits for us. What is owed then is
/// made by the next process.
const FINISH_WITHIN: Duration = Duration::from_secs(8);

mod config_reload;
mod destinations;
mod handover;
mod store_events;
mod targets;
mod unannounced;

use self::config_reload::Conf;
use self::handover::Leaving;
use self::unannounced::Announced;
use destinations::{Destinations, Touched};

/// What is to be kept, and how.
#[derive(Debug)]
pub struct Plan {
    /// The targets.
    pub targets: Configuration,
    /// Where instances live in the store.
    pub prefix: Prefix,
    /// How to go about it.
    pub pass: Pass,
    /// What templates see of the environment.
    pub env: BTreeMap<String, String>,
    /// Which store it is, as [`crate::model::store_url::Location::identity`] has it.
    pub store: String,
    /// Where the targets were loaded from; they are loaded again when something changes there.
    pub conf_dir: PathBuf,
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
            let warnings = shell.announced.finish();
            tokio::join!(leave, warnings, shell.memory.close(paths, &shell.catalog));
            return status;
        }
        match shell.next(&mut signals).await {
            Event::Followed(scope, followed) => shell.followed(scope, followed),
            Event::Done(id, done) => shell.done(id, &done),
            Event::Broken(id) => shell.broken(id),
            Event::Edited => shell.reload(),
            Event::Touched(touched) => shell.touched(touched),
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
    Done(Id, Done),
    Broken(Id),
    /// Somebody has been at the configuration.
    Edited,
    /// Somebody may have been at a file that is kept.
    Touched(Touched),
    Signal(Signal),
    Deadline,
    Ward(lifecycle::Input),
    /// The HAProxy of this target is another process than before.
    Replaced(usize),
}

struct Shell {
    targets: Vec<Kept>,
    /// Targets of before whose publishes are still under way.
    leaving: Vec<Leaving>,
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
    /// What is followed and cannot be at present.
    away: BTreeSet<usize>,
    /// Whether the store answers, and refuses what it is asked.
    is_refused: bool,
    /// How old what was published is, where the store has not said everything itself.
    stale: Option<Duration>,
    guards: Guards,
    announced: Announced,
    reloads: Reloads,
    visits: Visits,
    conf: Conf,
    destinations: Destinations,
    started: Instant,
    /// When every file is compared with what it should be, whatever happened.
    compare_at: Instant,
    /// Told to stop: when to give up waiting for a publish that is under way.
    stop_at: Option<Instant>,
    /// The signal that told us first.
    stopped_by: Option<Signal>,
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
        let mut conf = Conf::new(plan.conf_dir.clone(), reading);
        conf.tell_warnings(plan.targets.warnings);
        conf.tell_bad(plan.targets.bad, &[]);
        let mut targets: Vec<Kept> = plan
            .targets
            .good
            .into_iter()
            .map(|loaded| Kept::new(loaded, &plan.prefix))
            .collect();
        config_reload::set_limits(&mut targets);
        let paths = targets.iter().flat_map(|kept| kept.paths.clone());
        let following = Following::start(store, paths);
        let stays = !plan.pass.once && !plan.pass.noop;
        let ward = program.map(|program| Ward::new(program, plan.pass.stop));
        let child = ward.as_ref().map(Ward::running);
        let herald = stays.then(|| Herald::new(store, &following.paths(), &targets, child));
        let place = state_dir.as_deref().filter(|_| !plan.pass.once);
        let mut memory = Memory::new(place, &plan.conf_dir, plan.store);
        memory.listen(now);
        let mut guards = Guards::open(state_dir.clone(), plan.pass.noop, plan.prefix.clone());
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
            destinations: Destinations::watch(&targets, stays),
            targets,
            leaving: Vec::new(),
            catalog: Arc::new(Catalog::new(plan.prefix.clone())),
            store: Arc::clone(store),
            prefix: plan.prefix,
            following,
            compare_at: now + plan.pass.interval,
            ward,
            pass: plan.pass,
            env: Arc::new(plan.env),
            publishes: JoinSet::new(),
            ledger: Arc::new(Ledger::open(state_dir)),
            memory,
            stale: None,
            away: BTreeSet::new(),
            is_refused: false,
            guards,
            announced: Announced::default(),
            reloads: Reloads::default(),
            visits,
            conf,
            started: now,
            stop_at: None,
            stopped_by: None,
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
            Some(done) = self.publishes.join_next_with_id() => match done {
                Ok((id, done)) => Event::Done(id, done),
                Err(error) => Event::Broken(error.id()),
            },
            touched = self.destinations.touched() => Event::Touched(touched),
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
        let schedules = self.targets.iter().filter(|kept| !self.has_to_wait(kept));
        let schedules = schedules.filter_map(|kept| kept.schedule.deadline());
        let leaving = self.leaving.iter().filter_map(Leaving::deadline);
        let repairs = self.targets.iter().filter_map(Kept::repair_at);
        let leaving = leaving.chain(repairs);
        let schedules = schedules.chain(leaving);
        let wait = self
            .pass
            .timeout
            .filter(|_| !self.following.is_complete())
            .map(|limit| self.started + limit);
        let ward = self.ward.as_ref().and_then(Ward::deadline);
        let all = schedules.chain(wait).chain(ward);
        let all = all.chain(self.memory.deadline());
        let guards = self.guards.deadline().filter(|_| !self.is_stopping());
        let all = all.chain(guards);
        all.chain([self.compare_at]).min()
    }

    /// The exit status, once there is nothing left to do.
    fn status(&self) -> Option<u8> {
        if let Some(ward) = &self.ward {
            return ward.status();
        }
        if let Some(at) = self.stop_at {
            let over = self.publishes.is_empty() || Instant::now() >= at;
            return over.then(|| self.status_of_stop());
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
        self.status_of_targets()
    }

    /// The exit status of a pass, once every target has been looked after.
    fn status_of_targets(&self) -> Option<u8> {
        let ended: Option<Vec<Ended>> = self.targets.iter().map(|kept| kept.last).collect();
        let ended = ended?;
        Some(
            if ended.contains(&Ended::Failed) || !self.conf.bad.is_empty() {
                code::FAILED
            } else if ended.contains(&Ended::Pending) {
                code::PENDING
            } else {
                0
            },
        )
    }

    /// To stop is what a daemon ends with. A pass that a signal has ended before its work was done has not succeeded:
    /// `sidekick watch --once && exec server` must not start the server without its file.
    fn status_of_stop(&self) -> u8 {
        if !self.pass.once {
            return 0;
        }
        let is_done = self.following.is_complete();
        let done = self.status_of_targets().filter(|_| is_done);
        let by = self.stopped_by.unwrap_or(Signal::TERM);
        done.unwrap_or(Exit::Signal(by).status())
    }

    fn signal(&mut self, signal: Signal) {
        if signal == Signal::HUP {
            info!(
                "{signal}: reading the configuration, and comparing every file with what it should be"
            );
            self.conf.forget_problems();
            self.compare();
            self.reload();
            return;
        }
        let was_stopping = self.is_stopping();
        self.ward(lifecycle::Input::Signal(signal));
        if self.ward.is_none() {
            let now = Instant::now();
            // Asked twice: somebody is in a hurry.
            self.stop_at = Some(self.stop_at.map_or(now + FINISH_WITHIN, |_| now));
            self.stopped_by.get_or_insert(signal);
        }
        if self.is_stopping() && !was_stopping {
            info!("{signal}: stopping");
            self.targets.iter().for_each(Kept::give_up);
            self.leaving.iter().for_each(|one| one.kept.give_up());
            self.herald.iter_mut().for_each(Herald::stop);
            sd_notify::stopping("stopping");
        }
    }

    /// Tells the command's machine, if there is a command.
    fn ward(&mut self, input: lifecycle::Input) {
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
        self.ward(lifecycle::Input::Tick);
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
        self.leaving.iter_mut().for_each(|one| one.tick(now));
        self.repair_due(now);
        let freed = if self.is_stopping() {
            Vec::new()
        } else {
            self.guards.tick(now)
        };
        if !freed.is_empty() {
            self.changed(|kept| freed.contains(&kept.loaded.target.name));
        }
        for target in 0..self.targets.len() {
            self.advance(target, Input::Tick);
        }
    }
}

async fn work(herald: &mut Option<Herald>) -> Infallible {
    match herald {
        Some(herald) => herald.work().await,
        None => std::future::pending().await,
    }
}
