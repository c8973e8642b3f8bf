//! Cleans up after the benchmark, however it ends. Shell.
//!
//! The benchmark runs as a child of this process, which is the subreaper of all its descendants: the children of a killed
//! sidekick become children of this process. When the benchmark ends, or a signal comes, this process kills the remaining
//! descendants by pid, and removes the network namespaces and the directory of the run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::machine;
use crate::progress::print_progress;

/// The variable that gives the child the directory of the run.
const RUN: &str = "HITLESS_RUN";

/// The directory of the run, in the child.
pub(crate) fn run_dir() -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os(RUN)?);
    // If the parent is killed, the benchmark is killed, too.
    prctl::set_pdeathsig(Signal::SIGKILL).expect("ask for a signal at the keeper's death");
    Some(dir)
}

/// Runs this program again as a child, and cleans up after it. With `files`, the directory of the run stays.
pub(crate) fn run_and_clean_up(files: bool) -> ExitCode {
    prctl::set_child_subreaper(true).expect("become a subreaper");
    let dir = crate::harness::temp_dir();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let status = runtime.block_on(child(dir.path()));
    kill_descendants();
    machine::remove(dir.path());
    if files {
        print_progress(&format!("files and logs: {}", dir.keep().display()));
    }
    status
}

async fn child(dir: &Path) -> ExitCode {
    let mut interrupt = signal(SignalKind::interrupt()).expect("handle signals");
    let mut terminate = signal(SignalKind::terminate()).expect("handle signals");
    let mut hangup = signal(SignalKind::hangup()).expect("handle signals");
    let this = std::env::current_exe().expect("the path of this program");
    #[expect(
        clippy::zombie_processes,
        reason = "it is reaped below, among the orphans"
    )]
    let child = Command::new(this)
        .args(std::env::args_os().skip(1))
        .env(RUN, dir)
        .spawn()
        .expect("start the benchmark");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
    // Orphans end here, too, so all children are reaped until the benchmark is among them.
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            _ = interrupt.recv() => return ExitCode::from(130),
            _ = terminate.recv() => return ExitCode::from(143),
            _ = hangup.recv() => return ExitCode::from(129),
            _ = tick.tick() => {
                if let Some(status) = reap(pid) {
                    return status;
                }
            }
        }
    }
}

/// Reaps all children that have ended. Returns the status of the benchmark, if it is among them.
fn reap(benchmark: Pid) -> Option<ExitCode> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)).ok()? {
            WaitStatus::Exited(pid, code) if pid == benchmark => {
                return Some(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            WaitStatus::Signaled(pid, _, _) if pid == benchmark => return Some(ExitCode::FAILURE),
            WaitStatus::StillAlive => return None,
            _ => (),
        }
    }
}

/// Kills all descendants of this process, again and again, since their children become its own.
fn kill_descendants() {
    loop {
        for pid in crate::harness::descendants(std::process::id().cast_signed()) {
            // The process may have ended with its parent.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if waitpid(None, None).is_err() {
            return;
        }
    }
}
