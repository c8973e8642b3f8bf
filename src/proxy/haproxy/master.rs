//! The master process of an HAProxy: sidekick orders a reload over its socket, and asks what became of it. Adapter.
//!
//! A signal that comes while the master loads a configuration is lost. A command on its socket is refused at that time, so
//! it can be given again. Afterwards the master itself says whether the new configuration is in force.

use std::io::ErrorKind;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::runtime::value_of;
use super::show_proc::{Processes, ReloadOutcome, compare};
use super::socket::{Address, Command, CommandSocket, SocketError, Word};
use crate::model::old_worker_wait::OldWorkerWait;

/// How often the master is asked while it loads.
const POLL: Duration = Duration::from_millis(20);
/// How long one answer may take. A master answers at once, except while it loads a configuration.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the socket may be missing: an HAProxy that has just been started is about to make it.
const MISSING: Duration = Duration::from_secs(2);
/// How long the socket may refuse connections before the reload is ordered: the master may be loading a configuration for
/// somebody else, or it has died and left its socket.
const REFUSING: Duration = Duration::from_secs(10);
/// A master that answers for this long as before has missed the command, because it was loading: it gets it again.
const UNHEARD: Duration = Duration::from_secs(1);

/// Why HAProxy does not run the new configuration, or why that is not known.
#[derive(Debug, Error)]
pub enum MasterError {
    /// The master does not answer on its socket.
    #[error("HAProxy's master does not answer (haproxy -W -S {address})")]
    Unreachable {
        /// The socket.
        address: Address,
        /// The last failure.
        source: SocketError,
    },
    /// What answers is not a master, or does not allow sidekick to give commands.
    #[error(
        "{address} is not the socket of an HAProxy master that takes the command to reload: {}",
        describe_answer(answer)
    )]
    NoMaster {
        /// The socket.
        address: Address,
        /// The answer.
        answer: String,
    },
    /// HAProxy has tried to load the new configuration and failed; the previous one is still in force.
    #[error(
        "HAProxy could not load the new configuration, and the previous one stays in force{}",
        describe_log(answer)
    )]
    Rejected {
        /// HAProxy's own account of the failure. Before version 2.7 HAProxy writes it to its log only, and this is empty.
        answer: String,
    },
    /// HAProxy did not say in time how the reload ended.
    #[error("HAProxy has not said within {} s whether it runs the new configuration", limit.as_secs_f64())]
    TimedOut {
        /// How long HAProxy had.
        limit: Duration,
        /// The last failure of a question, if there was one.
        source: Option<SocketError>,
    },
}

impl MasterError {
    /// Whether HAProxy does not run: nobody listens at the socket, or there is none.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_absent(),
            Self::NoMaster { .. } | Self::Rejected { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// The first line of an answer, shortened.
fn describe_answer(answer: &str) -> String {
    let line = answer.lines().find(|line| !line.trim().is_empty());
    match line {
        Some(line) => format!("it says {:?}", line.chars().take(200).collect::<String>()),
        None => "it says nothing".to_owned(),
    }
}

/// HAProxy's account of a failure on one line, or where to look for it.
fn describe_log(answer: &str) -> String {
    let lines = answer
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| line.escape_debug().collect()).collect();
    match lines.as_slice() {
        [] => "; HAProxy's own log says why (the check cannot see a port that is taken, or too few file descriptors)"
            .to_owned(),
        lines => format!(", saying: {}", lines.join(" / ")),
    }
}

/// The new configuration is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// How many workers of earlier configurations still serve connections.
    pub old_workers: usize,
}

/// Whether a process with this id runs HAProxy.
pub type IsRunning = fn(pid: u32) -> bool;

/// The master's process. In another PID namespace it is not visible, and nothing is known of its end.
struct MasterProcess {
    pid: u32,
    is_running: IsRunning,
    is_visible: bool,
}

impl MasterProcess {
    fn new(pid: u32, is_running: IsRunning) -> Self {
        Self {
            pid,
            is_running,
            is_visible: is_running(pid),
        }
    }

    /// Whether the master has certainly ended. One that loads does not answer either, but its process is there.
    fn has_ended(&self) -> bool {
        self.is_visible && !(self.is_running)(self.pid)
    }
}

/// Orders a reload, and returns when the new configuration is in force, within `limit`. The caller makes sure that nothing
/// else of sidekick reloads the same master at the same time. If HAProxy `should_run`, a master that does not listen yet is
/// waited for; otherwise its absence is an error at once. `is_running` shows whether the master has ended.
pub async fn reload(
    address: &Address,
    limit: Duration,
    should_run: bool,
    is_running: IsRunning,
) -> Result<Reloaded, MasterError> {
    let socket = CommandSocket::new(address.clone(), ANSWER.min(limit));
    let start = Instant::now();
    let until = start + limit;
    let before = list_before(&socket, start, limit, should_run).await?;
    let master = MasterProcess::new(before.master, is_running);
    let patient = CommandSocket::new(address.clone(), limit);
    let mut answer = order_reload(&patient, until, &master).await?;
    let mut ordered_at = Instant::now();
    let mut old_worker_wait = OldWorkerWait::default();
    loop {
        sleep(POLL).await;
        let now = match list_processes(&socket).await {
            Ok(now) => now,
            Err(ListError::Socket(source)) if source.is_absent() && master.has_ended() => {
                let address = address.clone();
                return Err(MasterError::Unreachable { address, source });
            }
            // The master is loading the configuration.
            Err(ListError::Socket(source)) if Instant::now() >= until => {
                let source = Some(source);
                return Err(MasterError::TimedOut { limit, source });
            }
            Err(ListError::Socket(_)) => continue,
            Err(ListError::Other(error)) => return Err(error),
        };
        match compare(&before, &now) {
            ReloadOutcome::InForce
                if before.still_serves_in(&now)
                    && old_worker_wait.may_go_on(Instant::now().into_std(), until.into_std()) => {}
            ReloadOutcome::InForce => {
                let old_workers = now.old.len();
                return Ok(Reloaded { old_workers });
            }
            ReloadOutcome::Failed => {
                return Err(MasterError::Rejected {
                    answer: log_of(&answer),
                });
            }
            ReloadOutcome::Pending if says_failed(&answer) => {
                return Err(MasterError::Rejected {
                    answer: log_of(&answer),
                });
            }
            ReloadOutcome::Pending if Instant::now() >= until => {
                let source = None;
                return Err(MasterError::TimedOut { limit, source });
            }
            ReloadOutcome::Pending if now == before && ordered_at.elapsed() >= UNHEARD => {
                answer = order_reload(&patient, until, &master).await?;
                ordered_at = Instant::now();
            }
            ReloadOutcome::Pending => {}
        }
    }
}

/// How many workers of earlier configurations still serve connections; 0 if HAProxy does not answer within `limit`.
pub async fn count_old_workers(address: &Address, limit: Duration) -> usize {
    let socket = CommandSocket::new(address.clone(), ANSWER.min(limit));
    // The master may be loading, so its answer is waited for.
    let list = list_before(&socket, Instant::now(), limit, true).await;
    list.map_or(0, |list| list.old.len())
}

/// Why there is no list of processes.
enum ListError {
    Socket(SocketError),
    Other(MasterError),
}

async fn list_processes(socket: &CommandSocket) -> Result<Processes, ListError> {
    let answer = socket
        .ask(&Command::new("show proc"))
        .await
        .map_err(ListError::Socket)?;
    match Processes::parse(&answer) {
        Some(processes) => Ok(processes),
        // The master closed the connection without an answer, as it does when it starts to load.
        None if answer.is_empty() => Err(ListError::Socket(SocketError::Broken {
            address: socket.address().clone(),
            source: ErrorKind::UnexpectedEof.into(),
        })),
        None => Err(ListError::Other(MasterError::NoMaster {
            address: socket.address().clone(),
            answer,
        })),
    }
}

/// The list of processes before the reload. A master that is loading something else does not answer yet, and is waited for.
async fn list_before(
    socket: &CommandSocket,
    start: Instant,
    limit: Duration,
    should_run: bool,
) -> Result<Processes, MasterError> {
    loop {
        let source = match list_processes(socket).await {
            // Without a worker in this list, the first worker to appear would look like the new one.
            Ok(processes) if !processes.workers.is_empty() => return Ok(processes),
            Ok(_) if start.elapsed() >= limit => {
                let source = None;
                return Err(MasterError::TimedOut { limit, source });
            }
            Ok(_) => {
                sleep(POLL).await;
                continue;
            }
            Err(ListError::Other(error)) => return Err(error),
            Err(ListError::Socket(source)) => source,
        };
        let patience = if !should_run && source.is_absent() {
            Duration::ZERO
        } else if is_missing(&source) {
            MISSING.min(limit)
        } else {
            REFUSING.min(limit)
        };
        if start.elapsed() >= patience {
            let address = socket.address().clone();
            return Err(MasterError::Unreachable { address, source });
        }
        sleep(POLL).await;
    }
}

/// Gives the command to reload until the master takes it, and returns its answer, which is empty before HAProxy 2.7.
async fn order_reload(
    socket: &CommandSocket,
    until: Instant,
    master: &MasterProcess,
) -> Result<String, MasterError> {
    loop {
        match socket.ask(&Command::new("reload")).await {
            // HAProxy 3.2 answers while it loads, and refuses.
            Ok(answer) if is_busy(&answer) && Instant::now() < until => sleep(POLL).await,
            Ok(answer) if answer.is_empty() || answer.starts_with("Success=") => return Ok(answer),
            Ok(answer) => {
                let address = socket.address().clone();
                return Err(MasterError::NoMaster { address, answer });
            }
            Err(source)
                if source.is_absent() && (Instant::now() >= until || master.has_ended()) =>
            {
                let address = socket.address().clone();
                return Err(MasterError::Unreachable { address, source });
            }
            Err(source) if source.is_absent() => sleep(POLL).await,
            // The connection broke in the middle, as it does when the master reloads.
            Err(_) => return Ok(String::new()),
        }
    }
}

/// The value of an environment variable in the current worker, if it is set there.
pub async fn variable(address: &Address, name: &Word) -> Result<Option<String>, SocketError> {
    let socket = CommandSocket::new(address.clone(), ANSWER);
    let answer = socket.ask(&Command::new("@1 show env").word(name)).await?;
    Ok(answer.lines().find_map(|line| value_of(name, line)))
}

/// Whether the answer says that the master is loading something else.
fn is_busy(answer: &str) -> bool {
    says_failed(answer) && answer.contains("reload is still in progress")
}

/// Whether the answer says that the reload has failed.
fn says_failed(answer: &str) -> bool {
    answer.starts_with("Success=0")
}

/// HAProxy's log of a reload, which follows the line with the result.
fn log_of(answer: &str) -> String {
    answer
        .split_once("--\n")
        .map_or("", |(_, log_of)| log_of)
        .to_owned()
}

fn is_missing(error: &SocketError) -> bool {
    match error {
        SocketError::Connect { source, .. } => source.kind() == ErrorKind::NotFound,
        SocketError::Broken { .. } | SocketError::Silent { .. } | SocketError::Count { .. } => {
            false
        }
    }
}
