//! What the operating system reports: signals, ends of programs, results of checks, daemons and their children, records of
//! the DNS. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An SRV record: where a service is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// The host, with a dot at its end.
    pub target: String,
    /// The port.
    pub port: u16,
    /// Clients try lower priorities first.
    pub priority: u16,
    /// The share of the load among records of one priority.
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
    /// The terminal's size has changed; to Apache, a request to finish and leave.
    pub const WINCH: Self = Self(28);

    /// The real-time signals that programs may use.
    const REAL_TIME: RangeInclusive<i32> = 34..=64;
}

/// The names of the signals from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// By name, with or without `SIG`, or by number.
impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().position(|known| *known == name);
        let number = match named {
            Some(index) => i32::try_from(index + 1).ok(),
            None => real_time(name).or_else(|| text.parse().ok()),
        };
        let is_signal = |number: &i32| (1..=*Self::REAL_TIME.end()).contains(number);
        let signal = number.filter(is_signal).map(Self);
        signal.ok_or_else(|| format!("{text:?} is not a signal such as HUP, USR2 or 3"))
    }
}

fn real_time(name: &str) -> Option<i32> {
    let (first, last) = (*Signal::REAL_TIME.start(), *Signal::REAL_TIME.end());
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => first,
        (_, Some("")) => last,
        (Some(offset), _) => first + offset.strip_prefix('+')?.parse::<i32>().ok()?,
        (_, Some(offset)) => last - offset.strip_prefix('-')?.parse::<i32>().ok()?,
        (None, None) => return None,
    };
    // An offset that leads out of the range is no signal at all.
    Some(number).filter(|number| Signal::REAL_TIME.contains(number))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0 - 1).ok();
        match index.and_then(|index| NAMES.get(index)) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// A daemon and its children, as `/proc` shows them at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Family {
    /// Whether the signal that was asked about would have to wait: the daemon blocks it, or has not taken an earlier one yet.
    pub holds: bool,
    /// The children.
    pub children: Vec<Member>,
}

/// A child of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its process id.
    pub pid: i32,
    /// Its command line, which a program can replace by a title of its own.
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
    /// Nobody could tell how the program ended.
    pub const UNKNOWN: Self = Self::Code(u8::MAX);

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
    /// All checks have passed.
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
