//! What an instance has to pass before it is announced, and while it is. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// All that is asked of an instance, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// One or more; a round passes when each of them does.
    pub list: Vec<Check>,
    /// How long each of them may take.
    pub timeout: Duration,
    /// When the outcome of rounds counts.
    pub thresholds: Thresholds,
}

impl Checks {
    /// When a round must have ended: each check ends within its time, and whoever runs them gets some more.
    #[must_use]
    pub fn round_limit(&self) -> Duration {
        let checks = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.timeout.saturating_mul(checks) + Duration::from_secs(10)
    }
}

/// How many rounds it takes to believe them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// The pause between the end of a round and the next one.
    pub interval: Duration,
    /// So many passed rounds in a row make an instance healthy.
    pub rise: u32,
    /// So many failed rounds in a row make it unhealthy.
    pub fall: u32,
}

/// One question to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Does it accept a connection?
    Tcp(At),
    /// Does it answer a request as it should?
    Http(HttpCheck),
    /// Does this command, run by the shell, end with status 0?
    Exec(String),
}

/// Where a check goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At {
    /// A name or an address without brackets; the announced address if it was not said.
    pub host: Option<String>,
    /// The announced port if it was not said.
    pub port: Option<u16>,
}

/// A request, and what answer is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Whom to ask.
    pub at: At,
    /// What to ask for: a path, and a query if there is one.
    pub path: String,
    /// Further headers of the request.
    pub headers: Vec<(String, String)>,
    /// The right statuses.
    pub status: RangeInclusive<u16>,
    /// Text that the body of a right answer holds.
    pub body: Option<String>,
}

impl fmt::Display for Check {
    /// As it was typed, nearly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(At {
                host: None,
                port: None,
            }) => f.write_str("tcp"),
            Self::Tcp(at) => write!(f, "tcp:{at}"),
            Self::Http(http) => write!(f, "http://{}{}", http.at, http.path),
            Self::Exec(command) => write!(f, "exec:{}", command.escape_debug()),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(v6) if v6.contains(':') => write!(f, "[{v6}]:")?,
            Some(host) => write!(f, "{host}:")?,
            None => {}
        }
        self.port.map_or(Ok(()), |port| write!(f, "{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_reads_as_it_was_typed() {
        let at = |host: Option<&str>, port| At {
            host: host.map(ToOwned::to_owned),
            port,
        };
        for (at, want) in [
            (at(None, None), "tcp"),
            (at(None, Some(80)), "tcp:80"),
            (at(Some("a"), Some(80)), "tcp:a:80"),
            (at(Some("::1"), Some(80)), "tcp:[::1]:80"),
        ] {
            assert_eq!(Check::Tcp(at).to_string(), want);
        }
        assert_eq!(Check::Exec("a\nb".to_owned()).to_string(), "exec:a\\nb");
    }
}
