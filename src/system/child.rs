//! The program under our care: started in a process group of its own, signalled, waited for. Adapter.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::Command;

use super::init::{self, Started};
use super::terminal::Foreground;
use super::{group, sd_notify, syscalls};
use crate::model::os::{Exit, Signal};
use crate::model::stop::Stop;

/// The kernel reports the end of no group, so we ask: at first after this time, and then less often.
const POLL_FIRST: Duration = Duration::from_millis(5);
const POLL_LAST: Duration = Duration::from_millis(100);

/// Why a program could not be started.
#[derive(Debug, Error)]
#[error("cannot start {program}")]
pub struct SpawnError {
    program: String,
    source: io::Error,
}

impl SpawnError {
    /// The status a shell would report: 127 for a program that is not there, 126 for one that will not run.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self.source.kind() {
            io::ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}

/// A running program.
#[derive(Debug)]
pub struct Child {
    started: Started,
    /// Held while it has our terminal.
    _foreground: Option<Foreground>,
}

/// The process group of a program; it outlives the program as long as one of the group lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(Pid);

impl Child {
    /// Starts `program` with `args` in a process group of its own, in the foreground of our terminal if we are there; it
    /// has our environment and directory, and the signal mask and dispositions we were started with.
    ///
    /// It does not get the terminal if a change of the terminal's size would stop it.
    pub fn start(
        program: &OsString,
        args: &[OsString],
        stop: &Stop,
    ) -> Result<(Self, Group), SpawnError> {
        let mut command = Command::new(program);
        command
            .args(args)
            .process_group(0)
            .env_remove(sd_notify::SOCKET);
        let foreground = (!stop.is_a_resize()).then(Foreground::ours).flatten();
        syscalls::start_as_we_were(&mut command, foreground.is_some());
        let started = init::start(&mut command).map_err(|source| SpawnError {
            program: program.to_string_lossy().into_owned(),
            source,
        })?;
        let group = Group::of_child(&started);
        let child = Self {
            started,
            _foreground: foreground,
        };
        Ok((child, group))
    }

    /// Waits for the end of the program.
    pub async fn wait(mut self) -> Exit {
        match self.started.wait().await {
            Ok(status) => exit(status),
            // The kernel has lost it: somebody else reaped it. Nobody can say how it ended.
            Err(_) => Exit::Code(u8::MAX),
        }
    }
}

/// Lets a program take the place of this process: it has our process id, environment and directory, the terminal and the
/// service manager's socket, and the signal mask and dispositions that we were started with. Returns only if that fails.
#[must_use]
pub fn become_program(program: &OsStr, args: &[OsString]) -> SpawnError {
    let mut command = Command::new(program);
    command.args(args);
    syscalls::start_as_we_were(&mut command, false);
    SpawnError {
        program: program.to_string_lossy().into_owned(),
        source: command.into_std().exec(),
    }
}

impl Group {
    /// The group of a child that was started with `process_group(0)`.
    pub(super) fn of_child(started: &Started) -> Self {
        Self(started.pid())
    }

    /// The process id of the program itself.
    pub(super) fn leader(self) -> Pid {
        self.0
    }

    /// The same as a number.
    #[must_use]
    pub fn pid(self) -> i32 {
        self.0.as_raw()
    }

    /// Passes on to the program a signal that we got: to it alone, since a master tells its workers itself and in its own
    /// order, or to its whole group if that was asked for. A program that has ended is no error.
    pub fn pass(self, signal: Signal, stop: &Stop) -> io::Result<()> {
        if stop.whole_group {
            self.signal(signal)?;
        } else {
            match syscalls::signal_process(self.0, signal.0) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // A process that somebody has suspended (Ctrl-Z) handles no signal before it continues.
        if stop.begins_with(signal) {
            self.signal(Signal::CONT)?;
        }
        Ok(())
    }

    /// Sends a signal to every process of the group; a group that is gone is no error.
    pub fn signal(self, Signal(number): Signal) -> io::Result<()> {
        match syscalls::signal_group(self.0, number) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether a process of the group is left that has not ended.
    #[must_use]
    pub fn lives(self) -> bool {
        syscalls::signal_group(self.0, 0) != Err(Errno::ESRCH) && group::has_living_member(self.0)
    }

    /// Waits until every process of the group has ended.
    pub async fn wait_until_gone(self) {
        let mut pause = POLL_FIRST;
        while self.lives() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LAST);
        }
    }
}

/// How a process ended, in our words.
pub(super) fn exit(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::Signal(Signal(signal)),
        (None, None) => Exit::Code(u8::MAX),
    }
}
