//! The system calls that no safe interface covers, and the only `unsafe` of the crate: how we were started, read before
//! Rust's runtime changes it; giving it back to a child between fork and exec; signals that have no name; how much memory the allocator keeps. Adapter.
//!
//! - `std` ignores SIGPIPE before `main` begins, and sets it to its default in every child. Whether it was ignored
//!   before can only be seen earlier, in an initializer; and a child is only given it back between fork and exec.
//! - `std` also puts `/dev/null` where standard output is closed, so that whatever is printed seems to arrive.
//! - `tokio` waits for a descriptor of any kind only if it is promised that it stays the same one.
//! - `nix` knows signals by an enum, in which the real-time signals are missing: it can neither send them nor report the
//!   end of a child that died of one.

#![expect(
    unsafe_code,
    reason = "see above; each use says why it is sound, and none is outside this file"
)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;

/// The signal mask and dispositions that we were started with and change for ourselves. Our children get them as they were.
#[derive(Debug, Clone, Copy)]
struct AtStart {
    mask: Option<SigSet>,
    ignores_pipe: bool,
    /// Whether SIGCHLD was ignored. We need the signal for our own children; a command gets it ignored again.
    ignores_child: bool,
    has_stdout: bool,
}

static AT_START: OnceLock<AtStart> = OnceLock::new();

extern "C" fn remember_start() {
    let _ = AT_START.set(AtStart {
        mask: SigSet::thread_get_mask().ok(),
        ignores_pipe: is_ignored(libc::SIGPIPE),
        ignores_child: is_ignored(libc::SIGCHLD),
        has_stdout: is_open(libc::STDOUT_FILENO),
    });
}

// SAFETY: the loader calls what stands in this section before `main`, on the only thread there is, with arguments that
// a C function may leave alone. `remember_start` needs nothing of the runtime: it makes four system calls and fills a static.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_START: extern "C" fn() = remember_start;

fn is_ignored(number: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills the old one, which has the right type, and of which all zeroes
    // is a value.
    unsafe {
        libc::sigaction(number, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn is_open(descriptor: i32) -> bool {
    // SAFETY: the call takes and returns numbers, and touches no memory of ours.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

/// Whether we were started with a standard output.
pub(super) fn has_stdout() -> bool {
    AT_START.get().is_none_or(|at_start| at_start.has_stdout)
}

fn ignore(number: i32) {
    // SAFETY: to ignore a signal installs no code of ours.
    unsafe {
        libc::signal(number, libc::SIG_IGN);
    }
}

/// Brings the group that we lead to the foreground of the terminal at standard input. Our mask holds SIGTTOU back, and a
/// terminal that went away meanwhile is no reason not to start.
fn take_foreground() {
    // SAFETY: both calls take and return numbers, and touch no memory of ours.
    unsafe {
        libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpid());
    }
}

impl AtStart {
    fn restore(&self) {
        // `std` has just set SIGPIPE to its default, and exec does so with what has a handler.
        if self.ignores_pipe {
            ignore(libc::SIGPIPE);
        }
        if self.ignores_child {
            ignore(libc::SIGCHLD);
        }
        if let Some(mask) = &self.mask {
            // It cannot fail with a mask that was read.
            let _ = mask.thread_set_mask();
        }
    }
}

/// Lets a command start with the signal mask and the dispositions that we were started with, and in the foreground of
/// the terminal at its standard input if `foreground` says so. It needs a process group of its own for that.
pub(super) fn start_as_we_were(command: &mut Command, foreground: bool) {
    let at_start = AT_START.get().copied();
    let prepare = move || -> io::Result<()> {
        if foreground {
            take_foreground();
        }
        if let Some(at_start) = at_start {
            at_start.restore();
        }
        Ok(())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done. `prepare` calls tcsetpgrp, getpid,
    // signal and pthread_sigmask, which are, and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Lets the runtime tell when there are signals to read.
pub(super) fn readable(signals: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a `SignalFd` owns its descriptor, keeps it open as long as it lives, and never changes it.
    let watched = unsafe { AsyncFd::register_with_interest(signals, Interest::READABLE) };
    Ok(watched?)
}

/// Lets the allocator of the C library give back what is freed: it has one arena for all threads, and gets each block of a
/// megabyte from the system. Without that it keeps for each thread what the largest render has taken.
#[cfg(target_env = "gnu")]
pub(super) fn keep_little_memory() {
    const BLOCK: i32 = 1024 * 1024;
    let options = [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, BLOCK),
        (libc::M_TRIM_THRESHOLD, BLOCK),
    ];
    for (option, value) in options {
        // SAFETY: the call takes two numbers and touches no memory of ours. An option that it does not know stays as it is.
        unsafe {
            libc::mallopt(option, value);
        }
    }
}

/// Other allocators keep little by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn keep_little_memory() {}

/// Gives the system all pages that have nothing on them. By itself the allocator gives back only what is free at the end of its
/// memory, and what was in use for a moment lies before what has come since and stays.
#[cfg(target_env = "gnu")]
pub(super) fn give_back_memory() {
    // SAFETY: the call takes a number and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators do it by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back_memory() {}

/// Sends a signal, by its number, to a process group; 0 only asks whether there is such a group.
pub(super) fn signal_group(group: Pid, number: i32) -> Result<(), Errno> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    Errno::result(unsafe { libc::killpg(group.as_raw(), number) }).map(drop)
}

/// Sends a signal, by its number, to one process.
pub(super) fn signal_process(process: Pid, number: i32) -> Result<(), Errno> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(process.as_raw(), number) }).map(drop)
}

/// A child that has ended and that nobody has waited for yet; it stays as it is. `None` if there is no such child.
pub(super) fn ended_child() -> Result<Option<Pid>, Errno> {
    look_at(libc::P_ALL, 0)
}

/// Whether `pid` is still a child of ours, running or not waited for.
pub(super) fn is_child(pid: Pid) -> bool {
    let id = libc::id_t::try_from(pid.as_raw()).unwrap_or_default();
    look_at(libc::P_PID, id) != Err(Errno::ECHILD)
}

fn look_at(kind: libc::idtype_t, id: libc::id_t) -> Result<Option<Pid>, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the call fills `info`, which has the right type; all zeroes, as it is left if there is no such child, is
    // a value of it too.
    let pid = unsafe {
        Errno::result(libc::waitid(kind, id, info.as_mut_ptr(), options))?;
        info.assume_init().si_pid()
    };
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}
