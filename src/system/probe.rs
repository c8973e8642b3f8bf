//! Checks of an instance, carried out: a connection, a request, a command; each within its time. Adapter.

mod http;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::command::{self, CommandError, Left};
use crate::model::check::{At, Check, Checks};
use crate::model::os::{Exit, ProbeResult};

/// As much of what a failed command said as stands in the reason.
const SAID: usize = 200;

/// Why a check failed.
#[derive(Debug, Error)]
enum ProbeError {
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The kernel joined both ends of a connection to a port from its own range, where nobody listens.
    #[error("no connection: nobody listens there")]
    ConnectedToItself,
    #[error("the request is not valid: {0}")]
    Request(hyper::http::Error),
    #[error("no valid answer: {0}")]
    Answer(hyper::Error),
    #[error("status {0}")]
    Status(u16),
    #[error("the first {0} bytes of the body do not hold the expected text")]
    Body(usize),
    #[error("{exit}{}", quote_last_line(output))]
    Failed { exit: Exit, output: String },
    #[error("it did not end within {} s and was killed{}", limit.as_secs_f64(), quote_last_line(output))]
    Hung { limit: Duration, output: String },
    #[error("/bin/sh does not start: {0}")]
    Shell(io::Error),
}

/// The last line of a command's output, as a part of an error.
fn quote_last_line(output: &str) -> String {
    let last = output.lines().map(str::trim).rfind(|line| !line.is_empty());
    let Some(line) = last else {
        return String::new();
    };
    let line: String = line.chars().take(SAID).collect();
    format!(", saying: {}", line.escape_debug())
}

/// Carries the checks out one after the other, until one fails. `announced` is where the instance says it is.
///
/// Each check ends within its time. Dropped, it leaves nothing behind: connections are closed, and a command is killed
/// with its whole process group.
pub async fn round(checks: &Checks, announced: SocketAddr) -> ProbeResult {
    for check in &checks.list {
        if let Err(error) = one(check, announced, checks.timeout).await {
            return ProbeResult::Failed(format!("{check}: {error}"));
        }
    }
    ProbeResult::Passed
}

async fn one(check: &Check, announced: SocketAddr, limit: Duration) -> Result<(), ProbeError> {
    let late = |_| ProbeError::Late(limit);
    match check {
        Check::Tcp(at) => {
            let connected = timeout(limit, connect(at, announced)).await;
            connected.map_err(late)?.map(drop)
        }
        Check::Http(check) => {
            let asked = timeout(limit, http::run_check(check, announced)).await;
            asked.map_err(late)?
        }
        Check::Exec(command) => exec(command, limit).await,
    }
}

async fn connect(at: &At, announced: SocketAddr) -> Result<TcpStream, ProbeError> {
    let (host, port) = address_to_check(at, announced);
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(ProbeError::Connect)?;
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local == peer => Err(ProbeError::ConnectedToItself),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Ok(stream),
    }
}

/// What the check does not say is what is announced.
fn address_to_check(at: &At, announced: SocketAddr) -> (String, u16) {
    let host = at.host.clone();
    let host = host.unwrap_or_else(|| announced.ip().to_string());
    (host, at.port.unwrap_or(announced.port()))
}

async fn exec(command: &str, limit: Duration) -> Result<(), ProbeError> {
    match command::run(command, limit, Left::Killed).await {
        Ok(_) => Ok(()),
        Err(CommandError::Start { source, .. }) => Err(ProbeError::Shell(source)),
        Err(CommandError::Failed { exit, output, .. }) => Err(ProbeError::Failed { exit, output }),
        Err(CommandError::TimedOut { limit, output, .. }) => {
            Err(ProbeError::Hung { limit, output })
        }
    }
}

#[cfg(test)]
mod tests;
