//! Other processes that are told something by a signal, and who we are to the system. Adapter.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{self, kill};
use nix::unistd::{Pid, getegid, geteuid};
use thiserror::Error;

use super::child::Group;
use super::raw;
use crate::model::os::Signal;

/// Why a process could not be signalled.
#[derive(Debug, Error)]
pub enum SignalError {
    /// The file with its id cannot be read.
    #[error("the pidfile {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no process id in the file.
    #[error("there is no process id in the pidfile {}", .0.display())]
    NoPid(PathBuf),
    /// The process is not there, or not ours to signal.
    #[error("process {pid} of the pidfile {} cannot be sent {signal}", path.display())]
    Kill {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: i32,
        /// The signal.
        signal: Signal,
        /// Why not.
        source: io::Error,
    },
}

impl SignalError {
    /// Whether there is no such process: no pidfile, or one that was left behind.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::NoPid(_) => true,
            Self::Kill { source, .. } => source.raw_os_error() == Some(nix::libc::ESRCH),
        }
    }
}

/// Why the command was not told to reload.
#[derive(Debug, Error)]
pub enum LeaderError {
    /// It would have ended it.
    #[error(
        "the command does not handle {0}, so it was not sent (HAProxy takes USR2 with -W only)"
    )]
    NotTaken(Signal),
    /// The command is gone.
    #[error("the command cannot be sent {signal}")]
    Kill {
        /// The signal.
        signal: Signal,
        /// Why not.
        source: io::Error,
    },
}

/// How often a program is asked whether it handles a signal by now.
const POLL: Duration = Duration::from_millis(10);
/// A signal that is held back for so long is one that the program fetches.
const STEADY: Duration = Duration::from_secs(1);

/// Waits until the program of a group handles a signal: one that has just been started would be ended by it.
pub async fn leader_is_ready(
    group: Group,
    signal: Signal,
    limit: Duration,
) -> Result<(), LeaderError> {
    let waited = tokio::time::timeout(limit, ready(group.leader(), signal)).await;
    waited.map_err(|_| LeaderError::NotTaken(signal))
}

/// Tells the program of a group to reload.
pub fn reload_leader(group: Group, signal: Signal) -> Result<(), LeaderError> {
    signal_leader(group, signal).map_err(|source| LeaderError::Kill { signal, source })
}

/// Sends a signal to the program of a group, and to it alone.
fn signal_leader(group: Group, Signal(number): Signal) -> io::Result<()> {
    raw::signal_process(group.leader(), number).map_err(io::Error::from)
}

/// What a process does with a signal that comes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stance {
    /// It has a handler for it.
    Catches,
    /// It holds it back: to fetch it from the queue, as an init does, or only while it is at something else.
    Holds,
    /// It would be ended, or not notice.
    Neither,
}

/// Whether the program of a group does something of its own about a signal.
#[must_use]
pub fn handles(group: Group, signal: Signal) -> bool {
    match stance(group.leader(), signal) {
        Stance::Catches | Stance::Holds => true,
        Stance::Neither => false,
    }
}

/// Of a process that cannot be looked at, the best is assumed.
fn stance(pid: Pid, Signal(number): Signal) -> Stance {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return Stance::Catches;
    };
    if masked(&status, "SigCgt:", number) {
        Stance::Catches
    } else if masked(&status, "SigBlk:", number) {
        Stance::Holds
    } else {
        Stance::Neither
    }
}

/// Whether a signal is in one of the masks of `/proc/PID/status`.
pub(super) fn masked(status: &str, mask: &str, number: i32) -> bool {
    let mut masks = status.lines().filter_map(|line| line.strip_prefix(mask));
    let mask = masks
        .next()
        .map(|mask| u64::from_str_radix(mask.trim(), 16));
    matches!(mask, Some(Ok(mask)) if mask >> (number - 1) & 1 == 1)
}

/// Waits until a process is ready for a signal.
async fn ready(pid: Pid, signal: Signal) {
    let mut held = Duration::ZERO;
    loop {
        held = match stance(pid, signal) {
            Stance::Catches => return,
            Stance::Holds if held >= STEADY => return,
            Stance::Holds => held + POLL,
            Stance::Neither => Duration::ZERO,
        };
        tokio::time::sleep(POLL).await;
    }
}

/// A process whose id stands in a file.
#[derive(Debug)]
pub struct Named {
    path: PathBuf,
    pid: i32,
}

/// A field of what the kernel says of a process, counted from its state.
fn stat(pid: i32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(field).map(str::to_owned)
}

impl Named {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, SignalError> {
        let text = std::fs::read_to_string(path).map_err(|source| SignalError::File {
            path: path.to_owned(),
            source,
        })?;
        // HAProxy writes one id per line; the first is the master's.
        let first = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<i32>().ok());
        // 0 and -1 would be our own group, and everybody.
        match first.filter(|pid| *pid > 0) {
            Some(pid) => Ok(Self {
                path: path.to_owned(),
                pid,
            }),
            None => Err(SignalError::NoPid(path.to_owned())),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it is this process, or one that this process has started.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let own = std::process::id();
        u32::try_from(self.pid) == Ok(own) || stat(self.pid, 1) == Some(own.to_string())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        let number = signal::Signal::try_from(signal.0);
        let sent = number.and_then(|number| match stat(self.pid, 0).as_deref() {
            // It has ended, and its parent does not care: it would take the signal without a word.
            Some("Z" | "X") => Err(nix::Error::ESRCH),
            Some(_) | None => kill(Pid::from_raw(self.pid), number),
        });
        sent.map_err(|errno| SignalError::Kill {
            path: self.path.clone(),
            pid: self.pid,
            signal,
            source: errno.into(),
        })
    }
}

/// Whether a process with this id is there, whoever it belongs to.
#[must_use]
pub fn is_there(pid: u32) -> bool {
    let found = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), None));
    matches!(found, Ok(Ok(()) | Err(nix::errno::Errno::EPERM)))
}

/// Our effective user and group.
#[must_use]
pub fn identity() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_not_there_though_its_parent_does_not_care() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let named = Named {
            path: PathBuf::from("/run/a.pid"),
            pid: child.id().cast_signed(),
        };
        assert!(named.is_ours());
        while stat(named.pid, 0).as_deref() != Some("Z") {
            std::thread::sleep(POLL);
        }
        assert!(named.signal(Signal::HUP).unwrap_err().is_absent());
        child.wait().unwrap();
    }

    #[test]
    fn a_pidfile_names_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let signal_by_file = |path: &Path, signal| Named::read(path)?.signal(signal);
        assert!(matches!(
            signal_by_file(&path, Signal::HUP),
            Err(SignalError::File { .. })
        ));
        for text in ["", "-1", "0", "x", "\n1"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                matches!(
                    signal_by_file(&path, Signal::HUP),
                    Err(SignalError::NoPid(_))
                ),
                "{text:?}"
            );
        }
        // Signal 28, a change of the window's size, is ignored by default.
        std::fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        assert!(signal_by_file(&path, Signal(28)).is_ok());
    }

    #[tokio::test]
    async fn a_program_hears_of_a_reload_when_it_is_ready_and_is_not_ended_by_it() {
        use crate::model::os::Exit;
        use crate::system::child::Child;
        let start = |script: &str| {
            let stop = crate::model::stop::Stop::within(Duration::ZERO);
            Child::start(&"sh".into(), &["-c".into(), script.into()], &stop)
        };
        let long = Duration::from_secs(30);
        // Late with its handler, as a proxy that reads a long file is.
        let (child, group) =
            start("sleep 0.2; trap 'exit 7' USR2; while :; do sleep 0.01; done").unwrap();
        leader_is_ready(group, Signal::USR2, long).await.unwrap();
        reload_leader(group, Signal::USR2).unwrap();
        assert_eq!(child.wait().await, Exit::Code(7));

        let (child, group) = start("exec sleep 1000").unwrap();
        let refused = leader_is_ready(group, Signal::USR2, Duration::from_millis(50)).await;
        assert!(matches!(refused, Err(LeaderError::NotTaken(_))));
        signal_leader(group, Signal::TERM).unwrap();
        assert_eq!(child.wait().await, Exit::Signal(Signal::TERM));
    }
}
