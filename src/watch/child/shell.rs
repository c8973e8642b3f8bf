//! The command of `sidekick watch`: started, signalled and waited for as its machine says. Shell.

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

/// The running command's process group, for those who reload it; empty until it is started.
pub(crate) type ChildGroup = Arc<OnceLock<Group>>;

pub(crate) struct ChildShell {
    program: (OsString, Vec<OsString>),
    machine: ChildLifecycle,
    running: ChildGroup,
    stop: Stop,
    /// What is waited for: the end of the command, and then that of its group.
    ends: JoinSet<Input>,
    /// How it ended, and we with it.
    status: Option<u8>,
}

impl ChildShell {
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

    pub(crate) fn running(&self) -> ChildGroup {
        Arc::clone(&self.running)
    }

    /// Our exit status, once there is one.
    pub(crate) fn exit_status(&self) -> Option<u8> {
        self.status
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.machine.is_stopping()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    /// Waits for the end of the command, and then for that of its group; for ever before its start.
    pub(crate) async fn next_input(&mut self) -> Input {
        match self.ends.join_next().await {
            Some(Ok(input)) => input,
            // Nobody knows how it ended.
            Some(Err(_)) => Input::Ended(Exit::Code(u8::MAX)),
            None => std::future::pending().await,
        }
    }

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
            warn!("cannot pass {signal} on: {error}");
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
            warn!("cannot send {signal} to the command's process group: {error}");
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
            group.gone().await;
            Input::GroupGone
        });
    }
}

/// Waits for the end of the command; for ever where there is none.
pub(crate) async fn next_input(child: &mut Option<ChildShell>) -> Input {
    match child {
        Some(child) => child.next_input().await,
        None => std::future::pending().await,
    }
}
