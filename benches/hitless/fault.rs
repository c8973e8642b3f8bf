//! What the scenes break on purpose: etcd's leader, web servers, machines. Pure.

use std::time::{Duration, Instant};

/// The periods after a kill: its effects, and the time when they should be over. A lease of 2 s lives 3 s at most.
pub(crate) const DURING: Duration = Duration::from_secs(4);
pub(crate) const AFTER: Duration = Duration::from_millis(1500);

/// What happens to etcd at the moment of each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The leader is killed with SIGKILL.
    Leader,
}

impl Fault {
    /// The suffix for the name of a row.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Leader => " leader",
        }
    }
}

/// The processes that are killed with SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The server alone.
    Server,
    /// The server and its sidekick.
    Instance,
    /// A whole machine.
    Machine,
}

impl Victim {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Server, Self::Instance, Self::Machine];

    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Instance => "server and sidekick",
            Self::Machine => "machine of two",
        }
    }

    /// The numbers of its servers.
    pub(crate) fn numbers(self) -> &'static [u8] {
        match self {
            Self::Server | Self::Instance => &[1],
            Self::Machine => &[100, 101],
        }
    }
}

/// A kill and its effects.
pub(crate) struct Kill {
    /// The start of the quiet period before it.
    pub(crate) from: Instant,
    /// The time of the kill.
    pub(crate) at: Instant,
    /// How long proxies still sent packets to the victim; `None` without a capture.
    pub(crate) last: Option<Duration>,
}

impl Kill {
    /// The periods before it, of its effects, and after them.
    pub(crate) fn times(&self) -> [(Instant, Instant); 3] {
        let over = self.at + DURING;
        [(self.from, self.at), (self.at, over), (over, over + AFTER)]
    }
}
