//! A sample: one request, when it was due, how it ended, who answered. Pure.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The size of each right body: its first line names the instance and the request, the rest is filler.
pub(crate) const BODY: usize = 1024;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// When the schedule wanted it sent; response times count from here, so that a proxy that stalls is charged for all
    /// requests that it held up.
    pub(crate) due: Instant,
    /// When it was really sent.
    pub(crate) sent: Instant,
    /// When its answer was whole, or it had failed.
    pub(crate) end: Instant,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Whether an idle connection was closed by the proxy just as the request was written to it, so that it was sent
    /// once more on a new one, as RFC 9110 (9.2.2) lets clients do with GET.
    pub(crate) raced: bool,
}

impl Sample {
    /// The response time.
    pub(crate) fn took(&self) -> Duration {
        self.end.saturating_duration_since(self.due)
    }

    /// Why it failed, if it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match &self.outcome {
            Outcome::Answered(_) => None,
            Outcome::Failed(failure) => Some(*failure),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This instance gave the right answer.
    Answered(Arc<str>),
    /// There was none.
    Failed(Failure),
}

/// Why there was no right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// No connection to the proxy.
    Refused,
    /// A new connection to the proxy was reset before the answer was whole.
    Reset,
    /// The same, closed in order.
    Closed,
    /// No whole answer in time.
    TimedOut,
    /// An answer with this status.
    Status(u16),
    /// The answer to something else, or half of one.
    Wrong,
    /// Not sent: too many were waiting.
    Overload,
}

impl Failure {
    /// What an error of a connection means.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::InvalidData => Self::Wrong,
            _ => Self::Reset,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => write!(f, "refused"),
            Self::Reset => write!(f, "reset"),
            Self::Closed => write!(f, "closed"),
            Self::TimedOut => write!(f, "timeout"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Wrong => write!(f, "wrong"),
            Self::Overload => write!(f, "overload"),
        }
    }
}

/// The right answer of an instance to a request.
pub(crate) fn body(instance: &str, request: &str) -> Vec<u8> {
    let mut body = format!("{instance} {request}\n").into_bytes();
    body.resize(BODY, b'.');
    body
}

/// What an answer is worth.
pub(crate) fn judge(status: u16, got: &[u8], request: &str) -> Outcome {
    if status != 200 {
        return Outcome::Failed(Failure::Status(status));
    }
    let first = got.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let instance = std::str::from_utf8(first)
        .ok()
        .and_then(|line| line.split_once(' '))
        .map(|(instance, _)| instance)
        .filter(|instance| body(instance, request) == got);
    instance.map_or(Outcome::Failed(Failure::Wrong), |instance| {
        Outcome::Answered(instance.into())
    })
}
