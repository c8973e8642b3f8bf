//! Reaps the processes that nobody waits for, as PID 1 has to. Our own children are left to those who started them, so that
//! no exit status is lost. Adapter.
//!
//! # Guarantees
//!
//! A child that was started by `start` is never reaped here, even if it ends before `start` has returned: the
//! register of our own children is locked from before the fork, and the reaper holds the lock while it looks there.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, warn};

use super::syscalls;

/// How long an orphan waits at most if its signal was missed.
const TICK: Duration = Duration::from_secs(1);
/// The kernel shows one ended child at a time. While it is one of ours, it hides the rest for so long.
const HIDDEN: Duration = Duration::from_millis(10);

/// What is to become of a child of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Somebody waits for it.
    Waited,
    /// Nobody waits any more; the runtime reaps it in its own time.
    GivenUp,
}

static OWN: Mutex<BTreeMap<i32, Care>> = Mutex::new(BTreeMap::new());

fn own() -> MutexGuard<'static, BTreeMap<i32, Care>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child of our own; nobody else gets its exit status.
#[derive(Debug)]
pub(super) struct Started {
    /// The runtime's part of it: its pipes.
    pub(super) child: Child,
    pid: Pid,
}

/// Starts a command as a child of our own.
pub(super) fn start(command: &mut Command) -> io::Result<Started> {
    let mut own = own();
    let child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let pid = pid.ok_or(io::ErrorKind::Other)?;
    own.insert(pid, Care::Waited);
    Ok(Started {
        child,
        pid: Pid::from_raw(pid),
    })
}

impl Started {
    /// Its process id, which is its group's too if it was given one.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        // At once: from here on the number may be somebody else's.
        own().remove(&self.pid.as_raw());
        status
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Without an id it has been waited for.
        if self.child.id().is_some() {
            own().insert(self.pid.as_raw(), Care::GivenUp);
        }
    }
}

/// Makes us the one who reaps the orphans of our children, also where we are not PID 1: a program's leftovers are then
/// ours to wait for, and whether PID 1 does its duty makes no difference to them.
pub fn adopt_orphans() {
    if getpid().as_raw() != 1
        && let Err(error) = prctl::set_child_subreaper(true)
    {
        debug!(%error, "orphans go to PID 1: {error}");
    }
}

/// Does `work`, and until it is done reaps orphans if that is ours to do: as PID 1, or as a child subreaper.
pub async fn reaping<T>(work: impl Future<Output = T>) -> T {
    // This is needed also where we reap nobody: our parent may have ignored the signal, and without it we get no exit status.
    let ended = signal(SignalKind::child());
    let reap = async {
        match ended {
            Ok(ended) if is_ours_to_do() => reap(ended).await,
            Ok(_) => {}
            Err(error) => warn!(%error, "orphans are not reaped: {error}"),
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        done = work => done,
        never = reap => never,
    }
}

fn is_ours_to_do() -> bool {
    getpid().as_raw() == 1 || prctl::get_child_subreaper().unwrap_or(false)
}

async fn reap(mut ended: tokio::signal::unix::Signal) {
    let mut pause = TICK;
    loop {
        // A child may have ended although no signal came: the kernel delivers pending signals of one kind once.
        let has_signal = tokio::time::timeout(pause, ended.recv()).await.is_ok();
        pause = match sweep() {
            Swept::Clean => TICK,
            // The task that waits for this child reaps it first. If none does, the sweep is repeated, less and less often.
            Swept::Hidden if has_signal || pause == TICK => HIDDEN,
            Swept::Hidden => (pause * 2).min(TICK),
        };
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Swept {
    /// No child is left that has ended.
    Clean,
    /// One of our own has ended, and there may be more behind it.
    Hidden,
}

fn sweep() -> Swept {
    own().retain(|pid, care| *care == Care::Waited || syscalls::is_child(Pid::from_raw(*pid)));
    loop {
        let own = own();
        let Ok(Some(pid)) = syscalls::ended_child() else {
            return Swept::Clean;
        };
        if own.contains_key(&pid.as_raw()) {
            return Swept::Hidden;
        }
        // How an orphan ended concerns nobody.
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        debug!("reaped the orphan {pid}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn care(pid: Pid) -> Option<Care> {
        own().get(&pid.as_raw()).copied()
    }

    #[tokio::test]
    async fn a_child_is_ours_until_it_has_been_waited_for() {
        let mut child = start(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        let pid = child.pid();
        assert_eq!(care(pid), Some(Care::Waited));
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
        assert_eq!(care(pid), None);
        drop(child);
        assert_eq!(care(pid), None);
    }

    #[tokio::test]
    async fn a_child_that_nobody_waits_for_any_more_is_still_not_an_orphan() {
        let mut command = Command::new("sleep");
        let child = start(command.arg("1000").kill_on_drop(true)).unwrap();
        let pid = child.pid();
        drop(child);
        assert_eq!(care(pid), Some(Care::GivenUp));
    }
}
