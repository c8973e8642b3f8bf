//! The signals sent to this process, as one stream, in their order and as often as they came. Adapter.
//!
//! We block the signals and read them from a file descriptor. No handler is installed, so that our children ignore what was
//! ignored when we were started, and a signal that comes while we start is not lost. A thread that does not block them
//! would take them away from the stream, hence [`BlockedSignals`]: it blocks them while there is only one thread.

use std::io;

use nix::sys::signal::{SigSet, Signal as Named};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use super::syscalls;
use crate::model::os::Signal;
use crate::model::stop::Stop;

/// Signals that we never pass on: they report an error in this very process, or concern our own children. Nobody can block
/// KILL and STOP.
const OWN: [Named; 8] = [
    Named::SIGILL,
    Named::SIGTRAP,
    Named::SIGABRT,
    Named::SIGBUS,
    Named::SIGFPE,
    Named::SIGSEGV,
    Named::SIGSYS,
    Named::SIGCHLD,
];
/// Signals about our own place at the terminal. Blocked, they allow us to write to it and to hand it over.
const TERMINAL: [Named; 2] = [Named::SIGTTIN, Named::SIGTTOU];
/// `SI_KERNEL`, as <asm-generic/siginfo.h> has it.
const SENT_BY_THE_KERNEL: i32 = 0x80;

/// Signals that are held back until somebody listens.
#[derive(Debug)]
pub struct BlockedSignals(SignalFd);

impl BlockedSignals {
    /// Holds every signal that can be passed on to a child, the real-time signals with them.
    pub fn forwardable() -> io::Result<Self> {
        Self::hold(forwardable())
    }

    /// The same, but for the key that suspends: for a sidecar, which has nobody to pass it on to.
    pub fn sidecar() -> io::Result<Self> {
        let mut set = forwardable();
        set.remove(Named::SIGTSTP);
        Self::hold(set)
    }

    /// Holds what concerns a daemon: HUP, INT and TERM, and the signal that was chosen to stop it. A real-time signal has
    /// no name, and keeps its usual meaning.
    pub fn daemon(stop: Option<Signal>) -> io::Result<Self> {
        let stop = stop.and_then(|stop| Named::try_from(stop.0).ok());
        let set = [Named::SIGHUP, Named::SIGINT, Named::SIGTERM];
        Self::hold(set.into_iter().chain(stop).collect())
    }

    fn hold(set: SigSet) -> io::Result<Self> {
        let mut blocked = set;
        blocked.extend(TERMINAL);
        blocked.thread_block()?;
        // Our parent may have blocked it; we need it for the ends of our children.
        SigSet::from(Named::SIGCHLD).thread_unblock()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&set, flags)?))
    }

    /// The stream, in a runtime.
    pub fn listen(self, stop: Stop) -> io::Result<Signals> {
        let fd = syscalls::readable(self.0)?;
        Ok(Signals { fd, stop })
    }
}

fn forwardable() -> SigSet {
    let mut set = SigSet::all();
    OWN.iter()
        .chain(&TERMINAL)
        .for_each(|signal| set.remove(*signal));
    set
}

/// The stream.
#[derive(Debug)]
pub struct Signals {
    fd: AsyncFd<SignalFd>,
    stop: Stop,
}

impl Signals {
    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        loop {
            let Ok(mut ready) = self.fd.readable().await else {
                // The runtime is shutting down.
                return std::future::pending().await;
            };
            let read = ready.try_io(|fd| match fd.get_ref().read_signal() {
                Ok(Some(info)) => Ok(info),
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Err(errno) => Err(errno.into()),
            });
            if let Ok(Ok(info)) = read
                && let Ok(number) = i32::try_from(info.ssi_signo)
                && !is_our_own_pipe(number, info.ssi_pid)
                && !(self.stop.is_a_resize() && is_resize(number, info.ssi_code))
            {
                return Signal(number);
            }
        }
    }
}

/// Whether the terminal's size has changed. What another process has sent carries another code.
fn is_resize(number: i32, code: i32) -> bool {
    number == Named::SIGWINCH as i32 && code == SENT_BY_THE_KERNEL
}

/// Whether the kernel tells us that we wrote to a pipe nobody reads: the write said so too.
fn is_our_own_pipe(number: i32, sender: u32) -> bool {
    number == Named::SIGPIPE as i32 && sender == std::process::id()
}
