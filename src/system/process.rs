//! Other processes that we send signals to, and the user and group that we run as. Adapter.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{self, kill};
use nix::unistd::{Pid, getegid, geteuid};
use thiserror::Error;

use super::child::Group;
use super::procfs::{self, SignalMasks, Stat};
use super::syscalls;
use crate::model::os::Signal;

/// Lets this process give back memory that it has freed. To be called before it has other threads.
pub fn keep_little_memory() {
    super::syscalls::keep_little_memory();
}

/// Gives back what is free now. It takes some milliseconds with much memory, and what is needed again has to be got again: to be
/// called after much was taken that is not needed any more.
pub fn give_back_memory() {
    super::syscalls::give_back_memory();
}

/// Why a process could not be signalled.
#[derive(Debug, Error)]
pub enum SignalError {
    /// The pidfile cannot be read.
    #[error("the pidfile {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The first line of the pidfile is no process id.
    #[error("there is no process id in the pidfile {}", .0.display())]
    NoPid(PathBuf),
    /// The process has ended, or we may not signal it.
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

/// Why the command that runs under us was not sent the signal to reload.
#[derive(Debug, Error)]
pub enum LeaderError {
    /// The signal would have ended the command.
    #[error(
        "the command does not handle {0}, so it was not sent (HAProxy takes USR2 with -W only)"
    )]
    NotTaken(Signal),
    /// The kernel refuses the signal: the command has ended.
    #[error("the command cannot be sent {signal}")]
    Kill {
        /// The signal.
        signal: Signal,
        /// Why not.
        source: io::Error,
    },
}

/// How often we look whether a program handles a signal by now.
const POLL: Duration = Duration::from_millis(10);
/// A program that blocks a signal for so long without a break fetches it from its queue.
const STEADY: Duration = Duration::from_secs(1);

/// Waits until the program of a group handles a signal, for at most `limit`: a program that has just been started has no
/// handler yet, and the signal would end it.
pub async fn wait_until_leader_handles(
    group: Group,
    signal: Signal,
    limit: Duration,
) -> Result<(), LeaderError> {
    let waited = tokio::time::timeout(limit, wait_until_handled(group.leader(), signal)).await;
    waited.map_err(|_| LeaderError::NotTaken(signal))
}

/// Sends a signal to the program of a group, and to it alone.
pub fn signal_leader(group: Group, signal: Signal) -> Result<(), LeaderError> {
    let sent = syscalls::signal_process(group.leader(), signal.0);
    sent.map_err(|errno| LeaderError::Kill {
        signal,
        source: errno.into(),
    })
}

/// What a process does with a signal that comes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stance {
    /// The process has a handler for the signal.
    Catches,
    /// The process blocks the signal: to fetch it from its queue, as an init does, or for the moment only.
    Blocks,
    /// The signal would end the process, or the process ignores it.
    Neither,
}

/// Whether the program of a group catches or blocks a signal, so that the signal neither ends it nor is ignored.
#[must_use]
pub fn leader_handles(group: Group, signal: Signal) -> bool {
    match stance(group.leader(), signal) {
        Stance::Catches | Stance::Blocks => true,
        Stance::Neither => false,
    }
}

/// A process whose masks cannot be read is taken to have a handler.
fn stance(pid: Pid, Signal(number): Signal) -> Stance {
    match SignalMasks::read(pid.as_raw()) {
        None => Stance::Catches,
        Some(masks) if masks.is_caught(number) => Stance::Catches,
        Some(masks) if masks.is_blocked(number) => Stance::Blocks,
        Some(_) => Stance::Neither,
    }
}

/// Waits until a process catches a signal, or has blocked it for [`STEADY`].
async fn wait_until_handled(pid: Pid, signal: Signal) {
    let mut blocked = Duration::ZERO;
    loop {
        blocked = match stance(pid, signal) {
            Stance::Catches => return,
            Stance::Blocks if blocked >= STEADY => return,
            Stance::Blocks => blocked + POLL,
            Stance::Neither => Duration::ZERO,
        };
        tokio::time::sleep(POLL).await;
    }
}

/// A process whose id stands in a pidfile.
#[derive(Debug)]
pub struct PidfileProcess {
    path: PathBuf,
    pid: i32,
}

impl PidfileProcess {
    /// Reads the id from the first line of a pidfile.
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

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it is this very process, or a child of it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let own = std::process::id();
        let is_own = |pid: i32| u32::try_from(pid) == Ok(own);
        is_own(self.pid) || Stat::read(self.pid).is_some_and(|stat| is_own(stat.parent))
    }

    /// Sends the process a signal; one that has ended is an error, also if its parent has not reaped it.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        let number = signal::Signal::try_from(signal.0);
        let has_ended = Stat::read(self.pid).is_some_and(|stat| stat.has_ended);
        let sent = number.and_then(|number| {
            if has_ended {
                // The kernel would accept the signal for a process that nobody has reaped.
                return Err(nix::Error::ESRCH);
            }
            kill(Pid::from_raw(self.pid), number)
        });
        sent.map_err(|errno| SignalError::Kill {
            path: self.path.clone(),
            pid: self.pid,
            signal,
            source: errno.into(),
        })
    }
}

/// Whether a process with this id exists, whoever owns it; one that nobody has reaped exists, too.
#[must_use]
pub fn exists(pid: u32) -> bool {
    let found = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), None));
    matches!(found, Ok(Ok(()) | Err(nix::errno::Errno::EPERM)))
}

/// Whether a process with this id runs the program `name` (its first 15 bytes, as the kernel cuts names), and has not ended.
#[must_use]
pub fn runs_program(pid: u32, name: &str) -> bool {
    i32::try_from(pid).is_ok_and(|pid| {
        procfs::program_name(pid).as_deref() == Some(name)
            && Stat::read(pid).is_some_and(|stat| !stat.has_ended)
    })
}

/// The ids of our effective user and group.
#[must_use]
pub fn effective_ids() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_not_there_though_its_parent_does_not_care() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let named = PidfileProcess {
            path: PathBuf::from("/run/a.pid"),
            pid: child.id().cast_signed(),
        };
        assert!(named.is_ours());
        while !Stat::read(named.pid).unwrap().has_ended {
            std::thread::sleep(POLL);
        }
        assert!(!runs_program(child.id(), "true"));
        assert!(named.signal(Signal::HUP).unwrap_err().is_absent());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_runs_the_program_of_its_name_only() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let limit = std::time::Instant::now() + Duration::from_secs(30);
        // Between the fork and the exec it is still this program.
        while !runs_program(child.id(), "sleep") && std::time::Instant::now() < limit {
            std::thread::sleep(POLL);
        }
        assert!(runs_program(child.id(), "sleep") && !runs_program(child.id(), "haproxy"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!runs_program(child.id(), "sleep"));
    }

    #[test]
    fn a_pidfile_names_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let signal_by_file = |path: &Path, signal| PidfileProcess::read(path)?.signal(signal);
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
        wait_until_leader_handles(group, Signal::USR2, long)
            .await
            .unwrap();
        signal_leader(group, Signal::USR2).unwrap();
        assert_eq!(child.wait().await, Exit::Code(7));

        let (child, group) = start("exec sleep 1000").unwrap();
        let refused =
            wait_until_leader_handles(group, Signal::USR2, Duration::from_millis(50)).await;
        assert!(matches!(refused, Err(LeaderError::NotTaken(_))));
        signal_leader(group, Signal::TERM).unwrap();
        assert_eq!(child.wait().await, Exit::Signal(Signal::TERM));
    }
}
