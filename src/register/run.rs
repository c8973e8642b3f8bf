//! The loop of `sidekick register`: waits for answers, signals and deadlines, and performs what the lifecycle says.
//! Shell.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use super::announced::Announced;
use super::instances::{Entry, Holder, ProbeRound, Roster};
use super::lifecycle::{Action, Input, Lifecycle};
use super::refresh::{Found, RefreshSchedule};
use super::resolve::{Plan, Source};
use super::status::Report;
use crate::admin::LoopBeat;
use crate::admin::register::RegisterAdmin;
use crate::model::check::Checks;
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

/// Announces the instances until a signal, or the end of the program; returns the exit status.
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
        targets: BTreeMap::new(),
        rounds: HashMap::new(),
        refresh: RefreshSchedule::new(plan.source),
        look: None,
        wait: None,
        loop_beat: admin.loop_beat(),
        report: Report::new(admin),
        announced: Announced::default(),
    };
    shell.set(&plan.entries);
    let roster = Roster::new(plan.entries, plan.ttl, fastrand::u64(..));
    let has_program = shell.program.is_some();
    let mut machine = Lifecycle::new(has_program, plan.stop, plan.drain, roster);
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
            None => shell.next(&mut signals, machine.deadline()).await,
        };
    }
}

/// What came of an action.
enum Performed {
    /// It was the last one.
    Exit(u8),
    /// Its answer is here already.
    Answer(Input),
    /// Its answer, if it has one, comes from the job set.
    Later,
}

/// A job that is done.
enum Done {
    Ended(Exit),
    Probed(ProbeRound, ProbeResult),
    GroupGone,
    /// The store's answer, what is the matter with it if anything is, and with which instance.
    Answer(Holder, lease::Input, Option<Prefix>, Option<StoreError>),
    Marked(Prefix, Result<Option<Revision>, StoreError>),
    Waited(drain_wait::Waited),
    Looked(Box<(Source, Found)>),
}

/// What is checked, and where.
type Target = (Arc<Checks>, SocketAddr);

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
    targets: BTreeMap<Prefix, Target>,
    /// The rounds of checks that are under way.
    rounds: HashMap<Id, ProbeRound>,
    refresh: RefreshSchedule,
    /// The look that is under way.
    look: Option<Id>,
    /// The job that waits for the end of the program.
    wait: Option<Id>,
    report: Report,
    announced: Announced,
}

impl Shell {
    /// These are the instances now.
    fn set(&mut self, entries: &[Entry]) {
        self.report.set(entries);
        self.entries = entries.to_vec();
        let target = |entry: &Entry| {
            let checks = Arc::new(entry.checks.clone()?);
            Some((entry.publication.dir.clone(), (checks, entry.announced)))
        };
        self.targets = entries.iter().filter_map(target).collect();
    }

    async fn next(&mut self, signals: &mut Signals, deadline: Option<Instant>) -> Input {
        loop {
            if let Some(job) = self.refresh.start_due_job(Instant::now()) {
                let job = move || Done::Looked(Box::new(job()));
                self.look = Some(self.jobs.spawn_blocking(job).id());
            }
            let look = self.refresh.deadline();
            let input = tokio::select! {
                Some(done) = self.jobs.join_next_with_id() => match done {
                    Ok((id, done)) => self.done(id, done),
                    Err(error) => Some(self.broken_off(&error)),
                },
                signal = signals.next() => Some(self.signal(signal)),
                () = until(deadline) => Some(Input::Tick),
                () = until(look) => None,
                () = self.watchdog.beat() => None,
                () = self.loop_beat.next() => None,
            };
            if let Some(input) = input {
                return input;
            }
        }
    }

    fn signal(&mut self, signal: Signal) -> Input {
        if signal == Signal::HUP && self.refresh.request_config_reload() {
            self.report.reloading();
        }
        Input::Signal(signal)
    }

    fn done(&mut self, id: Id, done: Done) -> Option<Input> {
        Some(match done {
            Done::Ended(exit) => Input::Ended(exit),
            Done::GroupGone => {
                // From here on its number may be somebody else's.
                self.group = None;
                Input::GroupGone
            }
            Done::Answer(holder, answer, about, trouble) => {
                self.report.trouble(&answer, about, trouble);
                Input::Lease(holder, answer)
            }
            Done::Marked(dir, answer) => {
                let since = Report::marked(&dir, answer);
                Input::Marked(dir, since)
            }
            Done::Waited(waited) => {
                self.report.waited(&waited);
                Input::Waited
            }
            Done::Probed(round, result) => {
                self.rounds.remove(&id);
                self.probed(round, result)
            }
            // One that was given up has been followed by another one.
            Done::Looked(_) if self.look != Some(id) => return None,
            Done::Looked(looked) => {
                let (source, found) = *looked;
                self.refresh.finish(source);
                return self.looked(found);
            }
        })
    }

    /// A job that panics has said so on stderr; the machine's deadlines find out what is missing of its.
    fn broken_off(&mut self, error: &JoinError) -> Input {
        if self.wait == Some(error.id()) {
            error!(
                "nobody can tell how the program ended, since the task that waited for it broke off: it counts as ended"
            );
            return Input::Ended(Exit::UNKNOWN);
        }
        if self.look == Some(error.id()) {
            self.refresh.give_up();
        }
        match self.rounds.remove(&error.id()) {
            // No round, no more rounds: one that broke off has to count.
            Some(round) => {
                let failed = ProbeResult::Failed("the checks broke off".to_owned());
                self.probed(round, failed)
            }
            None => Input::Tick,
        }
    }

    /// Only the failure that tips the scales is worth a line in the log; the others are there for who looks.
    fn probed(&mut self, round: ProbeRound, result: ProbeResult) -> Input {
        let has_passed = !matches!(result, ProbeResult::Failed(_));
        self.report.checked(&round.dir, has_passed);
        if let ProbeResult::Failed(why) = &result {
            debug!("a check of {} failed: {why}", round.dir);
            self.refresh.look_soon();
        }
        Input::Probed(round, result)
    }

    fn looked(&mut self, found: Found) -> Option<Input> {
        let entries = match found {
            Found::Seen(entries) if entries.is_empty() || entries == self.entries => return None,
            Found::Seen(entries) => {
                self.set(&entries);
                entries
            }
            Found::Read(Err(why)) => {
                self.report.not_taken(&why);
                return None;
            }
            Found::Read(Ok(entries)) => {
                self.set(&entries);
                self.report.taken();
                entries
            }
        };
        Some(Input::Replace(entries))
    }

    fn perform(&mut self, action: Action) -> Performed {
        match action {
            Action::Spawn => return Performed::Answer(self.spawn()),
            Action::Pass(signal) => self.pass(signal),
            Action::SignalGroup(signal) => self.signal_group(signal),
            Action::AwaitGroup => return self.await_group(),
            Action::Probe(round) => self.probe(round),
            Action::Rise(dir) => self.report.healthy(&dir),
            Action::Fall(dir, why) => self.report.unhealthy(&dir, &why),
            Action::Lease(holder, action) => self.lease(holder, action),
            Action::Gone(dir) => self.report.gone(&dir),
            Action::Settled => self.report.settled(),
            Action::Mark(change) => self.mark(change),
            Action::AwaitWatchers(marks, limit) => {
                let store = Arc::clone(&self.store);
                let wait =
                    async move { Done::Waited(drain_wait::wait(store, &marks, limit).await) };
                self.jobs.spawn(wait);
            }
            Action::Stopping(why) => self.report.stopping(why),
            Action::NotWithdrawn => self.report.not_withdrawn(),
            Action::Refused(dir) => error!(
                "{dir} stays with its other owner, who has not gone within the TTL; giving up"
            ),
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
                error!("{}", chain(&error));
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
            warn!("cannot send {signal} to the program's process group: {error}");
        }
    }

    fn pass(&mut self, signal: Signal) {
        let Some(group) = self.group else { return };
        // With files to be read again, SIGHUP is for us first, and a program that knows nothing of it would die of it.
        if signal == Signal::HUP
            && self.refresh.has_config_file()
            && !process::leader_handles(group, signal)
        {
            debug!("the program does not handle {signal}, so it is not passed on");
            return;
        }
        if let Err(error) = group.pass(signal, &self.stop) {
            warn!("cannot pass {signal} on: {error}");
        }
    }

    fn await_group(&mut self) -> Performed {
        match self.group {
            Some(group) if group.lives() => {
                info!("the program has ended, others of its process group have not");
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
        let Some((checks, announced)) = self.targets.get(&round.dir).cloned() else {
            return;
        };
        let asked = round.clone();
        let job = async move { Done::Probed(asked, probe::round(&checks, announced).await) };
        self.rounds.insert(self.jobs.spawn(job).id(), round);
    }

    /// Does what the lease says; what it asks of the store is about one instance if others may claim it.
    fn lease(&mut self, holder: Holder, action: lease::Action) {
        let about = match &action {
            lease::Action::Publish(_, publication) => Some(publication.dir.clone()),
            lease::Action::Grant(..) | lease::Action::KeepAlive(_) => None,
            lease::Action::Verify(..) | lease::Action::Revoke(_) => None,
            lease::Action::Announced(dir) => return self.report.announced(dir.clone()),
            lease::Action::Repaired(dir) => {
                return warn!("{dir} was changed by somebody else; announcing it again");
            }
            lease::Action::Lost(id) => return self.report.lease_lost(*id, &holder),
            // What the store said about it has been told, and who is gone is told by name.
            lease::Action::Conflict(_) | lease::Action::Removed(_) => return,
            lease::Action::Withdrawn => return,
        };
        let action = self.announced.stamp(action, unix_seconds());
        if let Some(request) = lease_requests::request_for(&self.store, action) {
            self.jobs.spawn(async move {
                let answer = request.await;
                Done::Answer(holder, answer.input, about, answer.trouble)
            });
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
