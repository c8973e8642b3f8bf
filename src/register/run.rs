//! The loop of `sidekick register`: waits for answers, signals and deadlines, and performs what the lifecycle says.
//! Shell.

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{Id, JoinSet};
use tracing::{debug, error, info, warn};

use super::health::{self, Health};
use super::lifecycle::{Action, Input, Lifecycle, Why};
use super::plan::Plan;
use crate::model::check::Checks;
use crate::model::facts::{Exit, ProbeResult, Signal};
use crate::model::lease::{self, Failure, Lease};
use crate::model::report::chain;
use crate::store::{Store, StoreError};
use crate::system::child::{Child, Group};
use crate::system::notify::{self, Watchdog};
use crate::system::probe;
use crate::system::signals::Signals;

/// Announces the instance until a signal, or the end of the program; returns the exit status.
pub async fn run(plan: Plan, store: Arc<dyn Store>, mut signals: Signals) -> u8 {
    let mut shell = Shell {
        dir: plan.publication.dir.to_string(),
        program: plan.program,
        store,
        jobs: JoinSet::new(),
        group: None,
        outage: false,
        is_announced: false,
        conflict: false,
        watchdog: Watchdog::from_env(),
        ready: false,
        checks: plan.checks.map(Arc::new),
        announced: plan.announced,
        round: None,
    };
    let thresholds = shell.checks.as_ref().map(|checks| checks.thresholds);
    let health = thresholds.map(Health::new);
    let seed = fastrand::u64(..);
    let lease = match plan.shared {
        Some(id) => Lease::shared(plan.ttl, seed, id),
        None => Lease::new(plan.ttl, seed),
    };
    let has_program = shell.program.is_some();
    let mut machine = Lifecycle::new(
        plan.publication,
        has_program,
        plan.stop_grace,
        health,
        plan.ttl,
        lease,
    );
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
    Probed(ProbeResult),
    GroupGone,
    /// The store's answer, and what is the matter with it if anything is.
    Answer(lease::Input, Option<StoreError>),
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each of them is a fact of its own"
)]
struct Shell {
    dir: String,
    program: Option<(OsString, Vec<OsString>)>,
    store: Arc<dyn Store>,
    jobs: JoinSet<Done>,
    /// The program's process group, from its start to the end of its last process.
    group: Option<Group>,
    /// Whether the last answer of the store was an error: told once.
    outage: bool,
    /// Whether the instance has been announced and not withdrawn since.
    is_announced: bool,
    /// Whether another owner stands in our place: told once.
    conflict: bool,
    /// Whether the service manager has been told that we are up.
    ready: bool,
    checks: Option<Arc<Checks>>,
    announced: SocketAddr,
    /// The round of checks that is under way.
    round: Option<Id>,
    watchdog: Watchdog,
}

impl Shell {
    async fn next(&mut self, signals: &mut Signals, deadline: Option<Instant>) -> Input {
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.jobs.join_next() => match done {
                Ok(Done::Ended(exit)) => Input::Ended(exit),
                Ok(Done::GroupGone) => {
                    // From here on its number may be somebody else's.
                    self.group = None;
                    Input::GroupGone
                }
                Ok(Done::Answer(answer, trouble)) => {
                    self.tell(trouble);
                    Input::Lease(answer)
                }
                Ok(Done::Probed(result)) => probed(result),
                // No round, no more rounds: one that broke off has to count.
                Err(error) if self.round == Some(error.id()) => {
                    probed(ProbeResult::Failed("the checks broke off".to_owned()))
                }
                // A job that panics has said so on stderr; the lease's deadline finds out what is missing.
                Err(_) => Input::Tick,
            },
            signal = signals.next() => Input::Signal(signal),
            () = due => Input::Tick,
            () = self.watchdog.beat() => Input::Tick,
        }
    }

    fn perform(&mut self, action: Action) -> Performed {
        match action {
            Action::Spawn => return Performed::Answer(self.spawn()),
            Action::Pass(signal) => self.pass(signal),
            Action::Health(action) => self.health(action),
            Action::AwaitGroup => return self.await_group(),
            Action::Lease(action) => self.lease(action),
            Action::Stopping(why) => self.stopping(why),
            Action::NotWithdrawn => warn!(
                "{} could not be withdrawn in time; it disappears when its lease ends",
                self.dir
            ),
            Action::Refused => error!(
                "{} stays with its other owner, who has not gone within the TTL; giving up",
                self.dir
            ),
            Action::Exit(status) => return Performed::Exit(status),
        }
        Performed::Later
    }

    fn spawn(&mut self) -> Input {
        let Some((program, args)) = &self.program else {
            return Input::NotSpawned(1);
        };
        match Child::start(program, args) {
            Ok((child, group)) => {
                self.group = Some(group);
                self.jobs.spawn(async { Done::Ended(child.wait().await) });
                Input::Spawned
            }
            Err(error) => {
                error!("{}", chain(&error));
                Input::NotSpawned(error.status())
            }
        }
    }

    fn pass(&mut self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = group.signal(signal)
        {
            warn!("cannot pass {signal} on: {error}");
        }
    }

    fn await_group(&mut self) -> Performed {
        match self.group {
            Some(group) if group.lives() => {
                info!("the program has ended, others of its process group have not");
                self.jobs.spawn(async move {
                    group.gone().await;
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

    fn stopping(&self, why: Why) {
        notify::stopping("withdrawing");
        match why {
            Why::Asked(signal) => info!("{signal}: withdrawing {}", self.dir),
            Why::Ended(Exit::Code(0)) => info!("the program has ended: withdrawing {}", self.dir),
            Why::Ended(exit) => warn!("the program has ended ({exit}): withdrawing {}", self.dir),
        }
    }

    fn health(&mut self, action: health::Action) {
        match action {
            health::Action::Probe => self.probe(),
            health::Action::Rise => info!("{} is healthy", self.dir),
            health::Action::Fall(why) => {
                notify::status(&format!("unhealthy: {why}"));
                warn!("{} is unhealthy: {why}", self.dir);
            }
        }
    }

    fn probe(&mut self) {
        if let Some(checks) = &self.checks {
            let (checks, announced) = (Arc::clone(checks), self.announced);
            let job = async move { Done::Probed(probe::round(&checks, announced).await) };
            self.round = Some(self.jobs.spawn(job).id());
        }
    }

    fn lease(&mut self, action: lease::Action) {
        let store = Arc::clone(&self.store);
        let dir = &self.dir;
        match action {
            lease::Action::Grant(ttl, id) => self.ask(
                async move { store.grant(ttl, id).await },
                lease::Input::Granted,
            ),
            lease::Action::Publish(id, publication) => self.ask(
                async move { store.publish(id, &publication).await },
                move |answer| lease::Input::Published(id, answer.map(|_| ())),
            ),
            lease::Action::KeepAlive(id) => self
                .ask(async move { store.keep_alive(id).await }, move |answer| {
                    lease::Input::KeptAlive(id, answer)
                }),
            lease::Action::Verify(id, publication) => {
                let dir = publication.dir.clone();
                self.ask(
                    async move { store.stands(id, &publication).await },
                    move |answer| lease::Input::Verified(id, dir, answer),
                );
            }
            // What the store said about it has been told.
            lease::Action::Conflict => {}
            lease::Action::Repaired(dir) => {
                warn!("{dir} was changed by somebody else; announcing it again");
            }
            lease::Action::Revoke(id) => self
                .ask(async move { store.revoke(id).await }, move |answer| {
                    lease::Input::Revoked(id, answer)
                }),
            lease::Action::Announced => {
                self.conflict = false;
                let status = format!("{dir} is announced");
                if self.ready {
                    notify::status(&status);
                } else {
                    self.ready = true;
                    notify::ready(&status);
                }
                info!("{status}");
                self.is_announced = true;
            }
            lease::Action::Lost(id) => warn!("lease {id} is lost; asking for a new one"),
            lease::Action::Withdrawn => {
                if std::mem::take(&mut self.is_announced) {
                    info!("{dir} is withdrawn");
                }
            }
        }
    }

    /// Sends a request to the store; its answer comes back as an input.
    fn ask<T: 'static>(
        &mut self,
        request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        answer: impl FnOnce(Result<T, Failure>) -> lease::Input + Send + 'static,
    ) {
        self.jobs.spawn(async move {
            let result = request.await;
            let trouble = result.as_ref().err().cloned();
            Done::Answer(answer(result.map_err(|error| failure(&error))), trouble)
        });
    }

    /// Tells of an outage when it begins and when it ends.
    fn tell(&mut self, trouble: Option<StoreError>) {
        match trouble {
            None if self.outage => {
                self.outage = false;
                info!("the store answers again");
            }
            Some(error @ (StoreError::Unavailable { .. } | StoreError::Refused { .. }))
                if !self.outage =>
            {
                self.outage = true;
                warn!("{error}; trying again");
            }
            Some(StoreError::Conflict(why)) if !self.conflict => {
                self.conflict = true;
                notify::status(&format!("not announced: {why}"));
                error!(
                    "{why}; waiting for it to go. --take-over takes its place, --id gives us another one"
                );
            }
            None | Some(_) => {}
        }
    }
}

/// Only the failure that tips the scales is worth a line in the log; the others are there for who looks.
fn probed(result: ProbeResult) -> Input {
    if let ProbeResult::Failed(why) = &result {
        debug!("a check failed: {why}");
    }
    Input::Probed(result)
}

fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::LeaseLost(_) => Failure::Lost,
        StoreError::Conflict(_) => Failure::Conflict,
        StoreError::Unavailable { .. }
        | StoreError::HistoryLost { .. }
        | StoreError::Refused { .. } => Failure::Failed,
    }
}
