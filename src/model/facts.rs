//! What the operating system can say: signals that arrive, programs that end, checks that pass or fail, daemons and
//! their children, records of the DNS. Pure.

use std::fmt;

/// An SRV record: where a service is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// The host, with a dot at its end.
    pub target: String,
    /// The port.
    pub port: u16,
    /// Lower ones are asked first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
}

/// A signal by its number, as the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub i32);

impl Signal {
    /// Reload.
    pub const HUP: Self = Self(1);
    /// Reload, of Apache.
    pub const USR1: Self = Self(10);
    /// Reload, of HAProxy.
    pub const USR2: Self = Self(12);
    /// The interrupt key.
    pub const INT: Self = Self(2);
    /// Stop and leave a core.
    pub const QUIT: Self = Self(3);
    /// Go on.
    pub const CONT: Self = Self(18);
    /// Cannot be caught.
    pub const KILL: Self = Self(9);
    /// Please stop.
    pub const TERM: Self = Self(15);
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("SIGHUP"),
            2 => f.write_str("SIGINT"),
            3 => f.write_str("SIGQUIT"),
            9 => f.write_str("SIGKILL"),
            10 => f.write_str("SIGUSR1"),
            12 => f.write_str("SIGUSR2"),
            15 => f.write_str("SIGTERM"),
            28 => f.write_str("SIGWINCH"),
            number => write!(f, "signal {number}"),
        }
    }
}

/// A daemon and its children, as they are at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Family {
    /// A certain signal would have to wait: it is blocked, or has been sent and not been taken.
    pub holds: bool,
    /// The children.
    pub children: Vec<Member>,
}

/// A child of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its process id.
    pub pid: i32,
    /// What it calls itself.
    pub title: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this status.
    Code(u8),
    /// By this signal.
    Signal(Signal),
}

impl Exit {
    /// The status a shell would report: the program's own, or 128 plus the signal.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            // Signals end at 64, so this stays below 256.
            Self::Signal(Signal(number)) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "killed by {signal}"),
        }
    }
}

/// What a round of checks found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// All is well.
    Passed,
    /// Which check failed, and why: one line.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_shell_s() {
        assert_eq!(Exit::Code(3).status(), 3);
        assert_eq!(Exit::Signal(Signal::KILL).status(), 137);
        assert_eq!(Exit::Signal(Signal(64)).status(), 192);
    }
}
