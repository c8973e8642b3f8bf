//! The loop of `sidekick register`: waits for answers, signals and deadlines, and performs the actions of the lifecycle.
//! Shell.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use super::announced::Announced;
use super::containers::Containers;
use super::instances::{Entry, Holder, InstanceSet, ProbeRound};
use super::lifecycle::{Action, Input, Lifecycle};
use super::refresh::{Found, RefreshSchedule};
use super::resolve::{Plan, Source};
use super::status::StatusReport;
use crate::admin::LoopBeat;
use crate::admin::register::RegisterAdmin;
use crate::docker::follow::Update;
use crate::model::check::Checks;
use crate::model::keyspace;
use crate::model::lease;
use crate::model::os::{Exit, ProbeResult, Signal};
use crate::model::prefix::Prefix;
use crate::model::report::chain;
use crate::model::state_change::StateChange;
use crate::model::stop::Stop;
use crate::model::times::{StateBy, StateSince};
use crate::model::update::Revision;
use crate::store::{Store, StoreError, drain_wait, lease_requests};
use crate::system::child::{Child, Group};
use crate::system::clock::unix_seconds;
use crate::system::sd_notify::Watchdog;
use crate::system::signals::Signals;
use crate::system::{probe, process};

/// Announces the instances until a signal comes or the program ends. Returns the exit status.
pub async fn run(
    plan: Plan,
    store: Arc<dyn Store>,
    mut signals: Signals,
    admin: RegisterAdmin,
) -> u8 {
    let mut shell = Shell {
        program: plan.program,
        stop: plan.stop,
        store,
        jobs: JoinSet::new(),
        group: None,
        watchdog: Watchdog::from_env(),
        entries: Vec::new(),
        probed: BTreeMap::new(),
        rounds: HashMap::new(),
        refresh: RefreshSchedule::new(plan.source),
        refresh_job: None,
        wait: None,
        containers: plan.docker.map(Containers::new),
        loop_beat: admin.loop_beat(),
        report: StatusReport::new(admin),
        announced: Announced::default(),
    };
    shell.set_instances(&plan.entries);
    let mut instances = InstanceSet::new(plan.entries, plan.ttl, fastrand::u64(..));
    if shell.containers.is_some() {
        instances.expect_more();
    }
    let has_program = shell.program.is_some();
    let mut machine = Lifecycle::new(has_program, plan.stop, plan.drain, instances);
    let mut input = Input::Start;
    loop {
        let mut answers = Vec::new();
        for action in machine.handle(Instant::now(), input) {
            match shell.perform(action) {
                Performed::Exit(status) => return status,
                Performed::Answer(answer) => answers.push(answer),
                Performed::Later => {}
            }
        }
        shell.report.lease_expires(machine.expires());
        input = match answers.pop() {
            Some(answer) => answer,
            None => shell.next_input(&mut signals, machine.deadline()).await,
        };
    }
}

/// The result of performing an action.
enum Performed {
    /// The process exits with this status.
    Exit(u8),
    /// The action has its answer at once.
    Answer(Input),
    /// The answer, if there is one, will come from a job.
    Later,
}

/// The result of a job.
enum Done {
    Ended(Exit),
    Probed(ProbeRound, ProbeResult),
    GroupGone,
    /// The store's answer, the instance that was asked about, and the error, if there was one.
    Answered(Holder, lease::Answer, Option<Prefix>, Option<StoreError>),
    Marked(Prefix, Result<Option<Revision>, StoreError>),
    Waited(drain_wait::Waited),
    Refreshed(Box<(Source, Found)>),
}

/// The checks of an instance, and the address that they go to.
type Probed = (Arc<Checks>, SocketAddr);

struct Shell {
    program: Option<(OsString, Vec<OsString>)>,
    stop: Stop,
    store: Arc<dyn Store>,
    jobs: JoinSet<Done>,
    /// The program's process group, from its start to the end of its last process.
    group: Option<Group>,
    watchdog: Watchdog,
    loop_beat: LoopBeat,
    entries: Vec<Entry>,
    probed: BTreeMap<Prefix, Probed>,
    /// The rounds of checks that are under way.
    rounds: HashMap<Id, ProbeRound>,
    refresh: RefreshSchedule,
    /// The refresh job that is under way.
    refresh_job: Option<Id>,
    /// The job that waits for the end of the program.
    wait: Option<Id>,
    containers: Option<Containers>,
    report: StatusReport,
    announced: Announced,
}

impl Shell {
    /// Replaces the instances by these.
    fn set_instances(&mut self, entries: &[Entry]) {
        self.report.set_instances(entries);
        self.entries = entries.to_vec();
        let probed = |entry: &Entry| {
            let checks = Arc::new(entry.checks.clone()?);
            Some((entry.publication.dir.clone(), (checks, entry.announced)))
        };
        self.probed = entries.iter().filter_map(probed).collect();
    }

    async fn next_input(&mut self, signals: &mut Signals, deadline: Option<Instant>) -> Input {
        loop {
            if let Some(job) = self.refresh.start_due_job(Instant::now()) {
                let job = move || Done::Refreshed(Box::new(job()));
                self.refresh_job = Some(self.jobs.spawn_blocking(job).id());
            }
            let refresh = self.refresh.deadline();
            let input = tokio::select! {
                Some(done) = self.jobs.join_next_with_id() => match done {
                    Ok((id, done)) => self.handle_result(id, done),
                    Err(error) => Some(self.job_panicked(&error)),
                },
                signal = signals.next() => Some(self.handle_signal(signal)),
                update = next_update(&mut self.containers) => {
                    if let Some(containers) = &mut self.containers
                        && let Some(announced) = containers.take(update, self.report.admin())
                    {
                        self.refresh.set_containers(announced);
                    }
                    None
                }
                () = sleep_until(deadline) => Some(Input::Tick),
                () = sleep_until(refresh) => None,
                () = self.watchdog.ping() => None,
                () = self.loop_beat.next() => None,
            };
            if let Some(input) = input {
                return input;
            }
        }
    }

    fn handle_signal(&mut self, signal: Signal) -> Input {
        if signal == Signal::HUP && self.refresh.request_config_reload() {
            self.report.config_reload_started();
        }
        Input::Signal(signal)
    }

    fn handle_result(&mut self, id: Id, done: Done) -> Option<Input> {
        Some(match done {
            Done::Ended(exit) => Input::Ended(exit),
            Done::GroupGone => {
                // From here on another process may get the number of the group.
                self.group = None;
                Input::GroupGone
            }
            Done::Answered(holder, answer, about, error) => {
                self.report.store_answered(&answer, about, error);
                Input::Lease(holder, answer)
            }
            Done::Marked(dir, answer) => {
                let since = StatusReport::marked(&dir, answer);
                Input::Marked(dir, since)
            }
            Done::Waited(waited) => {
                self.report.waited(&waited);
                Input::Waited
            }
            Done::Probed(round, result) => {
                self.rounds.remove(&id);
                self.round_done(round, result)
            }
            // The job was given up, and another one has been started since.
            Done::Refreshed(_) if self.refresh_job != Some(id) => return None,
            Done::Refreshed(refreshed) => {
                let (source, found) = *refreshed;
                self.refresh.finish(source);
                return self.refreshed(found);
            }
        })
    }

    /// Handles a job that has panicked; the panic itself is on stderr already. Answers that are missing because of it are
    /// found by the deadlines of the machines.
    fn job_panicked(&mut self, error: &JoinError) -> Input {
        if self.wait == Some(error.id()) {
            error!(
                "the task that waited for the program has panicked, so its exit status is not known: sidekick takes it as \
                 ended"
            );
            return Input::Ended(Exit::UNKNOWN);
        }
        if self.refresh_job == Some(error.id()) {
            self.refresh.give_up();
        }
        match self.rounds.remove(&error.id()) {
            // The next round starts only after the result of this one, so a panic has to count as a result.
            Some(round) => {
                let failed = ProbeResult::Failed("the task of the checks has panicked".to_owned());
                self.round_done(round, failed)
            }
            None => Input::Tick,
        }
    }

    /// Hands on the result of a round. The log reports a failure when it changes the verdict; each single one is there at
    /// the level `debug`.
    fn round_done(&mut self, round: ProbeRound, result: ProbeResult) -> Input {
        let has_passed = !matches!(result, ProbeResult::Failed(_));
        self.report.checked(&round.dir, has_passed);
        if let ProbeResult::Failed(why) = &result {
            let (service, instance) = keyspace::service_and_id(&round.dir);
            debug!(
                service,
                instance,
                error = why,
                "a check of {} failed: {why}",
                round.dir
            );
            self.refresh.look_soon();
        }
        Input::Probed(round, result)
    }

    fn refreshed(&mut self, found: Found) -> Option<Input> {
        let entries = match found {
            Found::Seen(None) | Found::Contained(None) => return None,
            Found::Seen(Some(entries)) if entries == self.entries => return None,
            Found::Seen(Some(entries)) | Found::Contained(Some(entries)) => {
                self.set_instances(&entries);
                entries
            }
            Found::Read(Err(why)) => {
                self.report.config_reload_failed(&why);
                return None;
            }
            Found::Read(Ok(entries)) => {
                self.set_instances(&entries);
                self.report.config_reload_succeeded();
                entries
            }
        };
        Some(Input::Replace(entries))
    }

    fn perform(&mut self, action: Action) -> Performed {
        match action {
            Action::Spawn => return Performed::Answer(self.spawn()),
            Action::Pass(signal) => self.pass_signal(signal),
            Action::SignalGroup(signal) => self.signal_group(signal),
            Action::AwaitGroup => return self.await_group(),
            Action::Probe(round) => self.probe(round),
            Action::Rise(dir) => self.report.healthy(&dir),
            Action::Fall(dir, why) => self.report.unhealthy(&dir, &why),
            Action::Lease(holder, action) => self.perform_lease_action(holder, action),
            Action::Gone(dir) => self.report.gone(&dir),
            Action::Settled => {
                self.report.settled();
                // The text of the configuration, and what was published of it, is free by now.
                process::give_back_memory();
            }
            Action::Mark(change) => self.mark(change),
            Action::AwaitWatchers(marks, limit) => {
                let store = Arc::clone(&self.store);
                let wait =
                    async move { Done::Waited(drain_wait::wait(store, &marks, limit).await) };
                self.jobs.spawn(wait);
            }
            Action::Stopping(why) => self.report.stopping(why),
            Action::NotWithdrawn => self.report.not_withdrawn(),
            Action::Refused(dir) => {
                let (service, instance) = keyspace::service_and_id(&dir);
                error!(
                    service,
                    instance, "the other owner of {dir} has not gone within the TTL; giving up"
                );
            }
            Action::LeaveBehind(left) => error!("{left}"),
            Action::Exit(status) => return Performed::Exit(status),
        }
        Performed::Later
    }

    fn spawn(&mut self) -> Input {
        let Some((program, args)) = &self.program else {
            return Input::NotSpawned(1);
        };
        match Child::start(program, args, &self.stop) {
            Ok((child, group)) => {
                self.group = Some(group);
                let wait = async { Done::Ended(child.wait().await) };
                self.wait = Some(self.jobs.spawn(wait).id());
                Input::Spawned
            }
            Err(error) => {
                let why = chain(&error);
                error!(error = why, "{why}");
                Input::NotSpawned(error.status())
            }
        }
    }

    fn signal_group(&mut self, signal: Signal) {
        if signal == Signal::KILL {
            warn!(
                "the program has not ended within its grace: it is killed, with all of its process group"
            );
        }
        if let Some(group) = self.group
            && let Err(error) = group.signal(signal)
        {
            warn!(%error, "cannot send {signal} to the program's process group: {error}");
        }
    }

    fn pass_signal(&mut self, signal: Signal) {
        let Some(group) = self.group else { return };
        // With a configuration file, SIGHUP means a config reload. A program that does not handle the signal would be
        // killed by it.
        if signal == Signal::HUP
            && self.refresh.has_config_file()
            && !process::leader_handles(group, signal)
        {
            debug!("the program does not handle {signal}, so it is not passed on");
            return;
        }
        if let Err(error) = group.pass(signal, &self.stop) {
            warn!(%error, "cannot pass {signal} on: {error}");
        }
    }

    fn await_group(&mut self) -> Performed {
        match self.group {
            Some(group) if group.lives() => {
                info!("the program has ended, but other processes of its group have not");
                self.jobs.spawn(async move {
                    group.wait_until_gone().await;
                    Done::GroupGone
                });
                Performed::Later
            }
            Some(_) | None => {
                self.group = None;
                Performed::Answer(Input::GroupGone)
            }
        }
    }

    fn mark(&mut self, mut mark: StateChange) {
        let at = unix_seconds();
        let by = StateBy::Stop;
        mark.state = mark.state.map(|state| state.since(StateSince { at, by }));
        let store = Arc::clone(&self.store);
        let job = async move { Done::Marked(mark.dir.clone(), store.set_state(&mark).await) };
        self.jobs.spawn(job);
    }

    fn probe(&mut self, round: ProbeRound) {
        let Some((checks, announced)) = self.probed.get(&round.dir).cloned() else {
            return;
        };
        let asked = round.clone();
        let job = async move { Done::Probed(asked, probe::round(&checks, announced).await) };
        self.rounds.insert(self.jobs.spawn(job).id(), round);
    }

    /// Performs an action of a lease: reports it, or sends a request to the store.
    fn perform_lease_action(&mut self, holder: Holder, action: lease::Action) {
        let about = match &action {
            lease::Action::Publish(_, publication) => Some(publication.dir.clone()),
            lease::Action::Grant(..) | lease::Action::KeepAlive(_) => None,
            lease::Action::Verify(..) | lease::Action::Revoke(_) => None,
            lease::Action::Announced(dir) => return self.report.announced(dir.clone()),
            lease::Action::Repaired(dir) => {
                let (service, instance) = keyspace::service_and_id(dir);
                return warn!(
                    service,
                    instance, "{dir} was changed by somebody else; announcing it again"
                );
            }
            lease::Action::Lost(id) => return self.report.lease_lost(*id, &holder),
            // A conflict was reported with the store's answer, and an instance that is gone is reported by `Action::Gone`.
            lease::Action::Conflict(_) | lease::Action::Removed(_) => return,
            lease::Action::Withdrawn => return,
        };
        let action = self.announced.stamp(action, unix_seconds());
        if let Some(request) = lease_requests::request_for(&self.store, action) {
            self.jobs.spawn(async move {
                let (answer, error) = request.await;
                Done::Answered(holder, answer, about, error)
            });
        }
    }
}

/// What the engine says next; without one there is nothing to wait for.
async fn next_update(containers: &mut Option<Containers>) -> Update {
    match containers {
        Some(containers) => containers.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
