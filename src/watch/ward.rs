//! The command of `sidekick watch`: started, signalled and waited for as its machine says. Shell.

use std::ffi::OsString;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::entrypoint::{Action, Entrypoint, Input};
use crate::model::facts::{Exit, Signal};
use crate::model::report::chain;
use crate::system::child::{Child, Group};
use crate::system::process;

/// The running command's process group, for those who reload it; empty until it is started.
pub(super) type Running = Arc<OnceLock<Group>>;

pub(super) struct Ward {
    program: (OsString, Vec<OsString>),
    machine: Entrypoint,
    running: Running,
    child: JoinSet<Exit>,
    /// How it ended, and we with it.
    status: Option<u8>,
}

impl Ward {
    pub(super) fn new(program: (OsString, Vec<OsString>), stop_grace: Duration) -> Self {
        Self {
            program,
            machine: Entrypoint::new(stop_grace),
            running: Running::default(),
            child: JoinSet::new(),
            status: None,
        }
    }

    pub(super) fn running(&self) -> Running {
        Arc::clone(&self.running)
    }

    /// Our exit status, once there is one.
    pub(super) fn status(&self) -> Option<u8> {
        self.status
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.machine.is_stopping()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    /// Waits for the end of the command; for ever before its start.
    pub(super) async fn ended(&mut self) -> Input {
        match self.child.join_next().await {
            Some(Ok(exit)) => Input::Ended(exit),
            // Nobody knows how it ended.
            Some(Err(_)) => Input::Ended(Exit::Code(u8::MAX)),
            None => std::future::pending().await,
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        if let Input::Ended(exit) = input {
            match exit {
                Exit::Code(0) => info!("the command has ended"),
                Exit::Code(_) | Exit::Signal(_) => warn!("the command has ended ({exit})"),
            }
        }
        for action in self.machine.handle(Instant::now(), input) {
            match action {
                Action::Spawn => self.spawn(),
                Action::Pass(signal) => self.pass(signal),
                Action::Kill => self.kill(),
                Action::Exit(status) => self.status = Some(status),
            }
        }
    }

    fn spawn(&mut self) {
        match Child::start(&self.program.0, &self.program.1) {
            Ok((child, group)) => {
                info!("every file is in place: the command is started");
                self.running.get_or_init(|| group);
                self.child.spawn(child.wait());
            }
            Err(error) => {
                error!("{}", chain(&error));
                self.handle(Input::NotSpawned(error.status()));
            }
        }
    }

    /// Signals go to the command alone: a proxy's master tells its workers itself, in its own order.
    fn pass(&self, signal: Signal) {
        if let Some(group) = self.running.get()
            && let Err(error) = process::signal_leader(*group, signal)
        {
            warn!("cannot pass {signal} on: {error}");
        }
    }

    fn kill(&self) {
        if let Some(group) = self.running.get()
            && let Err(error) = group.signal(Signal::KILL)
        {
            warn!("cannot kill what is left of the command: {error}");
        }
    }
}

/// Waits for the end of the command; for ever where there is none.
pub(super) async fn ended(ward: &mut Option<Ward>) -> Input {
    match ward {
        Some(ward) => ward.ended().await,
        None => std::future::pending().await,
    }
}
