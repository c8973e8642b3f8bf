//! A sample: one request with its times and its outcome. Pure.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The size of a right body: its first line names the instance and the request, the rest is filler.
pub(crate) const BODY: usize = 1024;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The time at which the schedule wanted it sent. Response times count from here, so that a stall counts for all requests
    /// that it delays.
    pub(crate) due: Instant,
    /// The time at which it was sent.
    pub(crate) sent: Instant,
    /// The time at which its answer was complete, or it had failed.
    pub(crate) end: Instant,
    /// The outcome.
    pub(crate) outcome: Outcome,
    /// Whether the proxy closed the idle connection just as the request was written to it. The client then sends the request
    /// once more on a new connection, as RFC 9110 (9.2.2) allows for GET.
    pub(crate) raced: bool,
}

impl Sample {
    /// The response time.
    pub(crate) fn took(&self) -> Duration {
        self.end.saturating_duration_since(self.due)
    }

    /// The failure, if it has failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match &self.outcome {
            Outcome::Answered(_) => None,
            Outcome::Failed(failure) => Some(*failure),
        }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This instance gave the right answer.
    Answered(Arc<str>),
    /// There was no right answer.
    Failed(Failure),
}

/// Why there was no right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// No connection to the proxy.
    Refused,
    /// A new connection to the proxy was reset before the answer was whole.
    Reset,
    /// A new connection to the proxy was closed before the answer was whole.
    Closed,
    /// There was no whole answer in time.
    TimedOut,
    /// An answer with this status.
    Status(u16),
    /// The answer belongs to another request, or is damaged.
    Wrong,
    /// The request was not sent, because too many were open.
    Overload,
}

impl Failure {
    /// The failure for an error of a connection.
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

/// Compares an answer with the right one.
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
