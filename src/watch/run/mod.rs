//! The only loop of `sidekick watch`: waits for the next event (of the store, of a publish, of conf.d, of a published
//! file, of the command, a signal or a deadline) and hands it to the rooms, whose machines decide what is done. Shell.
//!
//! One file for each kind of event: `store_events`; `config_reload` (conf.d) and `handover` (publishes that a config
//! reload outdates); `store_move` (another store); `destinations` (published files that somebody else changes); `targets`
//! (publishes). `unknown_services` warns of services that nobody announces, `report` says how the targets stand, and
//! `admin_state` says it to the admin endpoint.
//!
//! Rule: the loop waits for no network, for no other process, and for no file of a target without a bound. What may
//! take long is a task that comes back as an event.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};
use tracing::{error, info};

use super::applied::publisher::AppliedPublisher;
use super::child::lifecycle;
use super::child::shell::{ChildGroup, ChildShell, next_input};
use super::conf::haproxy::ProcessWatch;
use super::conf::load::Configuration;
use super::guard::guards::Guards;
use super::history::journal::Journal;
use super::publish::PublishReport;
use super::publish::loaded_state::LoadedState;
use super::publish::outcome::Outcome;
use super::reload::shared::Reloads;
use super::source::snapshot::SnapshotFile;
use super::source::subscriptions::Subscriptions;
use super::target::schedule::Input;
use super::target::state::TargetState;
use crate::admin::LoopBeat;
use crate::admin::watch::WatchAdmin;
use crate::config::{StoreChoice, StorePlace, WatchOptions};
use crate::model::catalog::Catalog;
use crate::model::os::{Exit, Signal};
use crate::model::prefix::Prefix;
use crate::model::report::code;
use crate::store::{Followed, Store, StoreError};
use crate::system::sd_notify;
use crate::system::sd_notify::Watchdog;
use crate::system::signals::Signals;

/// How long a stop waits for a reload that is under way. Docker waits ten seconds before it kills, so this is less. A
/// reload that is owed then is made by the next process.
const FINISH_WITHIN: Duration = Duration::from_secs(8);

mod admin_state;
mod config_reload;
mod destinations;
mod handover;
mod report;
mod store_events;
mod store_move;
mod targets;
mod unknown_services;

use self::config_reload::Conf;
use self::handover::OutgoingTarget;
use self::report::Reported;
use self::store_move::NamedStore;
use self::unknown_services::AnnouncedServices;
use destinations::{Destinations, Touched};

/// What `sidekick watch` is asked to do.
#[derive(Debug)]
pub struct Plan {
    /// The targets.
    pub targets: Configuration,
    /// The store, and where instances live in it.
    pub place: StorePlace,
    /// How the store is chosen; a config reload asks it again.
    pub choice: StoreChoice,
    /// How to publish them, and how long to stay.
    pub options: WatchOptions,
    /// What templates see of the environment.
    pub env: BTreeMap<String, String>,
    /// The directory that the targets were loaded from; a change below it leads to a config reload.
    pub conf_dir: PathBuf,
    /// What it tells of itself over HTTP.
    pub admin: WatchAdmin,
}

/// Keeps the targets published until a signal comes or the command ends; with `--once` publishes them once. Returns the
/// exit status; a command that is to take the place of a single pass may do so if it is 0.
pub async fn run(plan: Plan, store: Arc<dyn Store>, mut signals: Signals) -> u8 {
    let mut shell = Shell::new(plan, &store);
    loop {
        if let Some(status) = shell.exit_status() {
            let paths = shell.subscriptions.paths();
            let leave = async {
                if let Some(applied) = &mut shell.applied {
                    applied.finish().await;
                }
            };
            let warnings = shell.announced.finish();
            tokio::join!(
                leave,
                warnings,
                shell.journal.finish(),
                shell.snapshot.finish(paths, &shell.catalog)
            );
            return match shell.to_come {
                Some(_) if status == 0 => status_before_command(&mut signals).await,
                Some(_) | None => status,
            };
        }
        match shell.next_event(&mut signals).await {
            Event::Store(scope, followed) => shell.handle_store_event(scope, followed),
            Event::PublishEnded(id, report) => shell.publish_ended(id, report),
            Event::PublishBroken(id) => shell.publish_broken(id),
            Event::ConfigEdited => shell.reload_config(),
            Event::FilesTouched(touched) => shell.handle_touched(touched),
            Event::Signal(signal) => shell.handle_signal(signal),
            Event::Deadline => shell.deadline_passed(),
            Event::Child(input) => shell.handle_child(input),
            Event::HaproxyReplaced(target) => shell.haproxy_replaced(target),
        }
        shell.report();
    }
}

/// An event of the loop.
enum Event {
    /// An event of the store, of this scope.
    Store(usize, Followed),
    /// The publish with this task id has ended.
    PublishEnded(Id, PublishReport),
    /// The task of a publish has panicked or was ended.
    PublishBroken(Id),
    /// Something has changed in conf.d or in the templates.
    ConfigEdited,
    /// Something has happened to published files, or a comparison of them has ended.
    FilesTouched(Touched),
    Signal(Signal),
    Deadline,
    /// Something has happened to the command.
    Child(lifecycle::Input),
    /// An HAProxy of this target is another process than before.
    HaproxyReplaced(usize),
}

/// The state of the loop.
struct Shell {
    targets: Vec<TargetState>,
    /// Targets of the previous configuration whose publishes are still under way.
    outgoing: Vec<OutgoingTarget>,
    catalog: Arc<Catalog>,
    options: WatchOptions,
    env: Arc<BTreeMap<String, String>>,
    store: Arc<dyn Store>,
    prefix: Prefix,
    named: NamedStore,
    subscriptions: Subscriptions,
    /// Our entry in the store, which says what our proxies have in use; `None` if the process does not stay.
    applied: Option<AppliedPublisher>,
    publishes: JoinSet<PublishReport>,
    loaded_state: Arc<LoadedState>,
    snapshot: SnapshotFile,
    /// The scopes that the store does not answer for at present.
    unreachable: BTreeSet<usize>,
    /// Why the store does not answer at present.
    outage: Option<StoreError>,
    /// The store cannot be used, and a single pass does not wait until somebody has corrected it.
    has_given_up: bool,
    /// When the snapshot was written that files are rendered from, in seconds since 1970; `None` once the store has
    /// sent all data itself.
    stale: Option<u64>,
    reported: Reported,
    guards: Guards,
    journal: Journal,
    announced: AnnouncedServices,
    reloads: Reloads,
    haproxy_processes: ProcessWatch,
    conf: Conf,
    destinations: Destinations,
    started_at: Instant,
    /// When the next comparison of every file with what it should be is due (`--interval`).
    compare_at: Instant,
    /// After a signal to stop: when to stop waiting for publishes that are under way.
    stop_at: Option<Instant>,
    /// The first signal to stop.
    stopped_by: Option<Signal>,
    is_ready: bool,
    /// The command, if there is one.
    child: Option<ChildShell>,
    /// The group of the command that is to take the place of a single pass. Nobody is in it, so reloads that would tell the
    /// command are left out: it will find the files.
    to_come: Option<ChildGroup>,
    watchdog: Watchdog,
    admin: WatchAdmin,
    loop_beat: LoopBeat,
}

impl Shell {
    fn new(mut plan: Plan, store: &Arc<dyn Store>) -> Self {
        // A config reload reads conf.d under the same options as the start.
        let reading = plan.options.clone();
        let program = plan.options.program.take();
        let state_dir = plan.options.state_dir.take();
        let now = Instant::now();
        let prefix = plan.place.prefix.clone();
        let mut conf = Conf::new(plan.conf_dir.clone(), reading);
        conf.log_new_warnings(plan.targets.warnings);
        conf.report_bad(plan.targets.bad, &[]);
        let mut targets: Vec<TargetState> = plan
            .targets
            .good
            .into_iter()
            .map(|loaded| TargetState::new(loaded, &prefix, "start"))
            .collect();
        config_reload::set_limits(&mut targets);
        let paths = targets.iter().flat_map(|state| state.paths.clone());
        let subscriptions = Subscriptions::start(store, paths);
        let stays = !plan.options.once && !plan.options.noop;
        let (to_come, program) = match program {
            Some(_) if plan.options.once => (Some(ChildGroup::default()), None),
            program => (None, program),
        };
        let child = program.map(|program| ChildShell::new(program, plan.options.stop));
        let running = child.as_ref().map(ChildShell::running);
        let is_read_only = plan.place.location.is_read_only();
        let announces = stays && !is_read_only;
        let applied = announces
            .then(|| AppliedPublisher::new(store, &subscriptions.paths(), &targets, running));
        // What is only read lies on this host: there is no outage that a snapshot would bridge.
        let keeps_snapshot = !plan.options.once && !is_read_only;
        let place = state_dir.as_deref().filter(|_| keeps_snapshot);
        let mut snapshot = SnapshotFile::new(place, &plan.conf_dir, plan.place.location.identity());
        snapshot.start_silence_timer(now);
        let history = state_dir.as_deref().filter(|_| !plan.options.noop);
        let journal = Journal::open(history);
        let mut guards = Guards::open(state_dir.clone(), plan.options.noop, prefix.clone());
        guards.replace_targets(&targets);
        let mut haproxy_processes = ProcessWatch::default();
        if !plan.options.once {
            haproxy_processes.watch_all(
                targets
                    .iter()
                    .map(|state| &state.loaded.haproxies)
                    .enumerate(),
            );
        }
        Self {
            applied,
            destinations: Destinations::new(&targets, stays),
            targets,
            outgoing: Vec::new(),
            catalog: Arc::new(Catalog::new(prefix.clone())),
            store: Arc::clone(store),
            prefix,
            named: NamedStore::new(plan.choice, plan.place),
            subscriptions,
            compare_at: now + plan.options.interval,
            child,
            to_come,
            options: plan.options,
            env: Arc::new(plan.env),
            publishes: JoinSet::new(),
            loaded_state: Arc::new(LoadedState::open(state_dir)),
            snapshot,
            stale: None,
            reported: Reported::default(),
            unreachable: BTreeSet::new(),
            outage: None,
            has_given_up: false,
            guards,
            journal,
            announced: AnnouncedServices::default(),
            reloads: Reloads::default(),
            haproxy_processes,
            conf,
            started_at: now,
            stop_at: None,
            stopped_by: None,
            is_ready: false,
            watchdog: Watchdog::from_env(),
            loop_beat: plan.admin.loop_beat(),
            admin: plan.admin,
        }
    }

    /// Waits for the next event. Dropping the future loses nothing.
    async fn next_event(&mut self, signals: &mut Signals) -> Event {
        let deadline = self.deadline();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (scope, followed) = self.subscriptions.next_update() => Event::Store(scope, followed),
            () = self.conf.watched.changed(), if !self.options.once => Event::ConfigEdited,
            Some(ended) = self.publishes.join_next_with_id() => match ended {
                Ok((id, report)) => Event::PublishEnded(id, report),
                Err(error) => Event::PublishBroken(error.id()),
            },
            touched = self.destinations.next_touched() => Event::FilesTouched(touched),
            signal = signals.next() => Event::Signal(signal),
            () = due => Event::Deadline,
            () = self.watchdog.ping() => Event::Deadline,
            () = self.loop_beat.next() => Event::Deadline,
            input = next_input(&mut self.child) => Event::Child(input),
            target = self.haproxy_processes.next_replaced() => Event::HaproxyReplaced(target),
            never = run_publisher(&mut self.applied) => match never {},
        }
    }

    /// The earliest time at which something is due.
    fn deadline(&self) -> Option<Instant> {
        if self.stop_at.is_some() {
            return self.stop_at;
        }
        let schedules = self.targets.iter().filter(|state| !self.has_to_wait(state));
        let schedules = schedules.filter_map(|state| state.schedule.deadline());
        let outgoing = self.outgoing.iter().filter_map(OutgoingTarget::deadline);
        let repairs = self.targets.iter().filter_map(TargetState::repair_at);
        let outgoing = outgoing.chain(repairs);
        let schedules = schedules.chain(outgoing);
        let wait = self
            .options
            .timeout
            .filter(|_| !self.subscriptions.is_complete())
            .map(|limit| self.started_at + limit);
        let child = self.child.as_ref().and_then(ChildShell::deadline);
        let all = schedules.chain(wait).chain(child);
        let all = all.chain(self.snapshot.deadline());
        let guards = self.guards.deadline().filter(|_| !self.is_stopping());
        let all = all.chain(guards);
        all.chain([self.compare_at]).min()
    }

    /// The exit status, once there is nothing left to do; `None` as long as the loop goes on.
    fn exit_status(&self) -> Option<u8> {
        if let Some(child) = &self.child {
            return child.exit_status();
        }
        if let Some(at) = self.stop_at {
            let over = self.publishes.is_empty() || Instant::now() >= at;
            return over.then(|| self.status_of_stop());
        }
        if !self.options.once {
            return None;
        }
        if self.has_given_up {
            return Some(code::UNAVAILABLE);
        }
        if !self.subscriptions.is_complete() {
            let waited = self
                .options
                .timeout
                .is_some_and(|limit| self.started_at.elapsed() >= limit);
            return waited.then(|| {
                error!("the store did not answer within --timeout; nothing was changed");
                code::UNAVAILABLE
            });
        }
        self.status_of_targets()
    }

    /// The exit status of a single pass, once every target has been published, has failed or is pending.
    fn status_of_targets(&self) -> Option<u8> {
        let last: Option<Vec<Outcome>> = self.targets.iter().map(|state| state.last).collect();
        let last = last?;
        Some(if last.contains(&Outcome::NotPrinted) {
            code::OUTPUT
        } else if last.iter().any(|one| one.is_failure()) || !self.conf.bad.is_empty() {
            code::FAILED
        } else if last.contains(&Outcome::WouldChange) {
            code::PENDING
        } else {
            0
        })
    }

    /// The exit status after a signal to stop. A daemon ends with 0. A single pass that was not finished has not
    /// succeeded: `sidekick watch --once && exec server` must not start the server without its file.
    fn status_of_stop(&self) -> u8 {
        if !self.options.once {
            return 0;
        }
        let is_done = self.subscriptions.is_complete();
        let done = self.status_of_targets().filter(|_| is_done);
        let by = self.stopped_by.unwrap_or(Signal::TERM);
        done.unwrap_or(Exit::Signal(by).status())
    }

    /// HUP: a config reload, and a comparison of every file. Any other signal: the beginning of a stop, or a signal for
    /// the command.
    fn handle_signal(&mut self, signal: Signal) {
        if signal == Signal::HUP {
            info!(
                "{signal}: reading the configuration, and comparing every file with what it should be"
            );
            self.conf.forget_problems();
            self.named.forget_problems();
            self.compare_all();
            self.reload_config();
            return;
        }
        let was_stopping = self.is_stopping();
        self.handle_child(lifecycle::Input::Signal(signal));
        if self.child.is_none() {
            let now = Instant::now();
            // A second signal ends the waiting at once.
            self.stop_at = Some(self.stop_at.map_or(now + FINISH_WITHIN, |_| now));
            self.stopped_by.get_or_insert(signal);
        }
        if self.is_stopping() && !was_stopping {
            info!("{signal}: stopping");
            self.targets.iter().for_each(TargetState::give_up);
            self.outgoing.iter().for_each(|one| one.state.give_up());
            self.applied.iter_mut().for_each(AppliedPublisher::withdraw);
            sd_notify::stopping("stopping");
        }
    }

    /// Hands an input to the command's machine, if there is a command.
    fn handle_child(&mut self, input: lifecycle::Input) {
        if let Some(child) = &mut self.child {
            child.handle(input);
        }
    }

    /// Whether a stop has begun, of ours or of the command, so that nothing is published any more.
    fn is_stopping(&self) -> bool {
        self.stop_at.is_some() || self.child.as_ref().is_some_and(ChildShell::is_stopping)
    }

    /// Has every file compared with what it should be, and sets the time of the next comparison.
    fn compare_all(&mut self) {
        self.compare_at = Instant::now() + self.options.interval;
        if self.subscriptions.is_complete() {
            self.notify_targets(|_| true);
        }
    }

    /// Does everything that is due by now.
    fn deadline_passed(&mut self) {
        self.handle_child(lifecycle::Input::Tick);
        let now = Instant::now();
        if now >= self.compare_at {
            self.compare_all();
        }
        if self.snapshot.is_recall_due(now) {
            self.fall_back_to_snapshot();
        }
        if self.subscriptions.is_fresh() {
            self.snapshot
                .write_if_due(now, self.subscriptions.paths(), &self.catalog);
        }
        self.outgoing.iter_mut().for_each(|one| one.tick(now));
        self.repair_all_due(now);
        let freed = if self.is_stopping() {
            Vec::new()
        } else {
            self.guards.tick(now)
        };
        self.take_in_guard_events();
        if !freed.is_empty() {
            self.notify_targets(|state| freed.contains(&state.loaded.target.name));
        }
        for target in 0..self.targets.len() {
            self.advance(target, Input::Tick);
        }
    }
}

/// The status of a single pass that is done, before the command takes its place. A signal to stop that came since then must
/// not be lost: nobody would hear of it any more.
async fn status_before_command(signals: &mut Signals) -> u8 {
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => {
                if signal != Signal::HUP {
                    info!("{signal}: stopping");
                    return Exit::Signal(signal).status();
                }
            }
            // What has been sent is there as soon as the system was asked.
            () = tokio::time::sleep(Duration::from_millis(1)) => return 0,
        }
    }
}

/// Keeps our entry in the store up to date; without one it waits for ever.
async fn run_publisher(applied: &mut Option<AppliedPublisher>) -> Infallible {
    match applied {
        Some(applied) => applied.run().await,
        None => std::future::pending().await,
    }
}
