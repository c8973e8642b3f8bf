//! Starts the command of `sidekick watch`, sends it signals and waits for its end, as [`super::lifecycle`] decides.
//! Shell.

use std::ffi::OsString;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::lifecycle::{Action, ChildLifecycle, Input};
use crate::model::os::{Exit, Signal};
use crate::model::report::chain;
use crate::model::stop::Stop;
use crate::system::child::{Child, Group};

/// The process group of the running command, for reloads that signal it. It is empty until the command has been
/// started.
pub(crate) type ChildGroup = Arc<OnceLock<Group>>;

/// The command and all that is known of it.
pub(crate) struct ChildShell {
    program: (OsString, Vec<OsString>),
    machine: ChildLifecycle,
    running: ChildGroup,
    stop: Stop,
    /// The tasks that wait for the end of the command, and then for the end of its group.
    ends: JoinSet<Input>,
    /// The exit status for `sidekick`, once the command and its group have ended.
    status: Option<u8>,
}

impl ChildShell {
    /// `program` is the command and its arguments; [`Input::Published`] starts it.
    pub(crate) fn new(program: (OsString, Vec<OsString>), stop: Stop) -> Self {
        Self {
            program,
            machine: ChildLifecycle::new(stop),
            running: ChildGroup::default(),
            stop,
            ends: JoinSet::new(),
            status: None,
        }
    }

    /// The command's process group, which fills when the command starts.
    pub(crate) fn running(&self) -> ChildGroup {
        Arc::clone(&self.running)
    }

    /// The exit status for `sidekick`; `None` as long as the command or its group runs.
    pub(crate) fn exit_status(&self) -> Option<u8> {
        self.status
    }

    /// Whether the command is about to end or has ended.
    pub(crate) fn is_stopping(&self) -> bool {
        self.machine.is_stopping()
    }

    /// When [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    /// Waits for the end of the command, and then for the end of its group. Before the start it waits for ever.
    /// Dropping the future loses nothing.
    pub(crate) async fn next_input(&mut self) -> Input {
        match self.ends.join_next().await {
            Some(Ok(input)) => input,
            Some(Err(_)) => {
                error!(
                    "nobody can tell how the command ended, since the task that waited for it broke off: it counts as ended"
                );
                Input::Ended(Exit::UNKNOWN)
            }
            None => std::future::pending().await,
        }
    }

    /// Hands an input to the machine and performs what it asks for.
    pub(crate) fn handle(&mut self, input: Input) {
        if let Input::Ended(exit) = input {
            match exit {
                Exit::Code(0) => info!("the command has ended"),
                Exit::Code(_) | Exit::Signal(_) => warn!("the command has ended ({exit})"),
            }
        }
        for action in self.machine.handle(Instant::now(), input) {
            match action {
                Action::Spawn => self.spawn(),
                Action::PassSignal(signal) => self.pass_signal(signal),
                Action::SignalGroup(signal) => self.signal_group(signal),
                Action::AwaitGroup => self.await_group(),
                Action::LeaveBehind(left) => error!("{left}"),
                Action::Exit(status) => self.status = Some(status),
            }
        }
    }

    fn spawn(&mut self) {
        match Child::start(&self.program.0, &self.program.1, &self.stop) {
            Ok((child, group)) => {
                info!("every file is in place: the command is started");
                self.running.get_or_init(|| group);
                self.ends.spawn(async { Input::Ended(child.wait().await) });
            }
            Err(error) => {
                error!("{}", chain(&error));
                self.handle(Input::NotSpawned(error.status()));
            }
        }
    }

    fn pass_signal(&self, signal: Signal) {
        if let Some(group) = self.running.get()
            && let Err(error) = group.pass(signal, &self.stop)
        {
            warn!(%error, "cannot pass {signal} on: {error}");
        }
    }

    fn signal_group(&self, signal: Signal) {
        let Some(group) = self.running.get() else {
            return;
        };
        if signal == Signal::KILL && group.lives() {
            warn!(
                "the command has not ended within its grace: it is killed, with all of its process group"
            );
        }
        if let Err(error) = group.signal(signal) {
            warn!(%error, "cannot send {signal} to the command's process group: {error}");
        }
    }

    fn await_group(&mut self) {
        let Some(group) = self.running.get().copied() else {
            return;
        };
        if group.lives() {
            info!("the command has ended, others of its process group have not");
        }
        self.ends.spawn(async move {
            group.wait_until_gone().await;
            Input::GroupGone
        });
    }
}

/// [`ChildShell::next_input`]; without a command it waits for ever.
pub(crate) async fn next_input(child: &mut Option<ChildShell>) -> Input {
    match child {
        Some(child) => child.next_input().await,
        None => std::future::pending().await,
    }
}
