//! The checks that an instance has to pass before it is announced, and while it is. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// All checks of an instance, and how often they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// The checks, one or more; a round passes when each of them does.
    pub list: Vec<Check>,
    /// How long each check may take.
    pub timeout: Duration,
    /// How many rounds decide whether the instance is healthy.
    pub thresholds: Thresholds,
}

impl Checks {
    /// How long a round may take: the limits of all checks, and some time for the task that runs them.
    #[must_use]
    pub fn round_limit(&self) -> Duration {
        let checks = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.timeout.saturating_mul(checks) + Duration::from_secs(10)
    }
}

/// How many rounds in a row make an instance healthy or unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// The pause between the end of a round and the next one.
    pub interval: Duration,
    /// This many passed rounds in a row make an instance healthy.
    pub rise: u32,
    /// This many failed rounds in a row make it unhealthy.
    pub fall: u32,
}

/// One check of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Passes if the instance accepts a connection.
    Tcp(At),
    /// Passes if the instance answers a request as configured.
    Http(HttpCheck),
    /// Passes if this command, run by the shell, ends with status 0.
    Exec(String),
}

/// Where a check goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At {
    /// A name or an address without brackets; `None` stands for the announced address.
    pub host: Option<String>,
    /// `None` stands for the announced port.
    pub port: Option<u16>,
}

/// A request, and the answer that passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Where the request goes.
    pub at: At,
    /// The path that is requested, and the query if there is one.
    pub path: String,
    /// Further headers of the request.
    pub headers: Vec<(String, String)>,
    /// The statuses that pass.
    pub status: RangeInclusive<u16>,
    /// Text that the body must contain.
    pub body: Option<String>,
}

impl fmt::Display for Check {
    /// The check as it is typed on the command line, nearly.
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
