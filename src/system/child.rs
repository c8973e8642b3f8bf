//! The program under our care: started in a process group of its own, signalled as a group, waited for. Adapter.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{self, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::Command;

use super::notify;
use crate::model::facts::{Exit, Signal};

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
pub struct Child(tokio::process::Child);

/// The process group of a program; it outlives the program as long as one of the group lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(Pid);

impl Child {
    /// Starts `program` with `args` in a process group of its own; it has our terminal, environment and directory.
    pub fn start(program: &OsString, args: &[OsString]) -> Result<(Self, Group), SpawnError> {
        let mut command = Command::new(program);
        command
            .args(args)
            .process_group(0)
            .env_remove(notify::SOCKET);
        let failed = |source| SpawnError {
            program: program.to_string_lossy().into_owned(),
            source,
        };
        let child = command.spawn().map_err(failed)?;
        let group = group_of(&child).ok_or_else(|| failed(io::ErrorKind::Other.into()))?;
        Ok((Self(child), group))
    }

    /// Waits for the end of the program.
    pub async fn wait(mut self) -> Exit {
        match self.0.wait().await {
            Ok(status) => exit(status),
            // The kernel has lost it: somebody else reaped it. Nobody can say how it ended.
            Err(_) => Exit::Code(u8::MAX),
        }
    }
}

impl Group {
    /// The process id of the program itself.
    pub(super) fn leader(self) -> Pid {
        self.0
    }

    /// Sends a signal to every process of the group; a group that is gone is no error.
    pub fn signal(self, Signal(number): Signal) -> io::Result<()> {
        let sent = signal::Signal::try_from(number).and_then(|signal| killpg(self.0, signal));
        match sent {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The process group of a child that was started with `process_group(0)` and is not reaped yet.
pub(super) fn group_of(child: &tokio::process::Child) -> Option<Group> {
    let pid = i32::try_from(child.id()?).ok()?;
    Some(Group(Pid::from_raw(pid)))
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
