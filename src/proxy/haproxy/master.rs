//! The master of an HAProxy: told by its socket to reload, and asked what became of it. Adapter.
//!
//! A signal that comes while the master loads is lost; a command on its socket is refused meanwhile, so it can be given
//! again. Afterwards the master itself says whether the new configuration is in force.

use std::io::ErrorKind;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::runtime::value_of;
use super::show_proc::{Outcome, Processes, outcome};
use super::socket::{Address, Cli, CliError, Command, Word};

/// How often the master is asked while it loads.
const POLL: Duration = Duration::from_millis(20);
/// A master that answers does so at once; one that loads does not answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the socket may be missing: a command that has just been started is about to make it.
const MISSING: Duration = Duration::from_secs(2);
/// How long it may refuse before it is told: it may be loading for somebody else, or it died and left its socket.
const REFUSING: Duration = Duration::from_secs(10);
/// A master that still answers as before has not heard of the reload: it was loading when it was told.
const UNHEARD: Duration = Duration::from_secs(1);

/// Why HAProxy does not run the new configuration, or nobody knows.
#[derive(Debug, Error)]
pub enum MasterError {
    /// Nobody listens.
    #[error("HAProxy's master does not answer (haproxy -W -S {address})")]
    Unreachable {
        /// The socket.
        address: Address,
        /// Why not.
        source: CliError,
    },
    /// Whoever answers is no master, or does not take commands from us.
    #[error(
        "{address} is not the socket of a master that can be told to reload: {}",
        shown(said)
    )]
    NoMaster {
        /// The socket.
        address: Address,
        /// The answer.
        said: String,
    },
    /// It was tried, and the configuration of before is still in force.
    #[error(
        "HAProxy could not load the new configuration, and the one of before stays in force{}",
        reason(said)
    )]
    Rejected {
        /// What HAProxy said; before 2.7 it says it to its log alone.
        said: String,
    },
    /// The end of it was not seen.
    #[error("HAProxy has not said within {} s whether it runs the new configuration", limit.as_secs_f64())]
    TimedOut {
        /// How long it had.
        limit: Duration,
        /// What was in the way last.
        source: Option<CliError>,
    },
}

impl MasterError {
    /// Whether nobody listens at the socket, if there is one: HAProxy does not run.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_absent(),
            Self::NoMaster { .. } | Self::Rejected { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// The start of an answer.
fn shown(said: &str) -> String {
    let line = said.lines().find(|line| !line.trim().is_empty());
    match line {
        Some(line) => format!("it says {:?}", line.chars().take(200).collect::<String>()),
        None => "it says nothing".to_owned(),
    }
}

/// Why a configuration was not loaded.
fn reason(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| line.escape_debug().collect()).collect();
    match lines.as_slice() {
        [] => "; its own log says why: the check does not see a port that is taken, or too few file descriptors"
            .to_owned(),
        lines => format!(", saying: {}", lines.join(" / ")),
    }
}

/// How long workers of before are waited for. With `option idle-close-on-response` they serve one more request on each
/// kept connection, and may send it to a server that is not in the new file: busy clients have done so by then.
const LEAVING: Duration = Duration::from_secs(1);

/// A configuration that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Workers of earlier configurations that still serve connections.
    pub old_workers: usize,
}

/// The process of a master, where it can be seen: in another PID namespace it cannot.
struct Seen {
    pid: u32,
    is_visible: bool,
}

impl Seen {
    fn of(pid: u32) -> Self {
        let is_visible = runs(pid);
        Self { pid, is_visible }
    }

    /// One that loads does not answer either, but is there.
    fn has_ended(&self) -> bool {
        self.is_visible && !runs(self.pid)
    }
}

/// Whether there is an HAProxy with this id that is no zombie.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.split_once("(haproxy)").map(|(_, rest)| rest.trim());
    after_name.is_some_and(|rest| !rest.starts_with(['Z', 'X']))
}

/// Reloads, and returns when the new configuration is in force. The caller sees to it that nobody else does so at the
/// same time. A master that does not listen is waited for if it `should_run`.
pub async fn reload(
    address: &Address,
    limit: Duration,
    should_run: bool,
) -> Result<Live, MasterError> {
    let cli = Cli::new(address.clone(), ANSWER.min(limit));
    let start = Instant::now();
    let until = start + limit;
    let before = first_look(&cli, start, limit, should_run).await?;
    let master = Seen::of(before.master);
    let patient = Cli::new(address.clone(), limit);
    let mut said = tell(&patient, until, &master).await?;
    let mut told = Instant::now();
    let mut leaving = None;
    loop {
        sleep(POLL).await;
        let now = match look(&cli).await {
            Ok(now) => now,
            Err(Trouble::Cli(source)) if source.is_absent() && master.has_ended() => {
                let address = address.clone();
                return Err(MasterError::Unreachable { address, source });
            }
            // It loads, or has just begun to.
            Err(Trouble::Cli(source)) if Instant::now() >= until => {
                let source = Some(source);
                return Err(MasterError::TimedOut { limit, source });
            }
            Err(Trouble::Cli(_)) => continue,
            Err(Trouble::Other(error)) => return Err(error),
        };
        match outcome(&before, &now) {
            Outcome::Live if before.serves_still(&now) && is_within(&mut leaving, until) => {}
            Outcome::Live => {
                let old_workers = now.old.len();
                return Ok(Live { old_workers });
            }
            Outcome::Failed => return Err(MasterError::Rejected { said: log(&said) }),
            Outcome::Pending if refused(&said) => {
                return Err(MasterError::Rejected { said: log(&said) });
            }
            Outcome::Pending if Instant::now() >= until => {
                let source = None;
                return Err(MasterError::TimedOut { limit, source });
            }
            Outcome::Pending if now == before && told.elapsed() >= UNHEARD => {
                said = tell(&patient, until, &master).await?;
                told = Instant::now();
            }
            Outcome::Pending => {}
        }
    }
}

/// How many workers of earlier configurations still serve connections; none if HAProxy does not run.
pub async fn old_workers(address: &Address, limit: Duration) -> usize {
    let cli = Cli::new(address.clone(), ANSWER.min(limit));
    // It may be loading just now.
    let list = first_look(&cli, Instant::now(), limit, true).await;
    list.map_or(0, |list| list.old.len())
}

/// Whether workers of before may still be waited for: for a moment from the first time on.
fn is_within(leaving: &mut Option<Instant>, until: Instant) -> bool {
    let now = Instant::now();
    now < until.min(*leaving.get_or_insert(now + LEAVING))
}

/// Why there is no list of processes.
enum Trouble {
    Cli(CliError),
    Other(MasterError),
}

async fn look(cli: &Cli) -> Result<Processes, Trouble> {
    let said = cli
        .ask(&Command::new("show proc"))
        .await
        .map_err(Trouble::Cli)?;
    match Processes::parse(&said) {
        Some(processes) => Ok(processes),
        // Its master went away while it answered.
        None if said.is_empty() => Err(Trouble::Cli(CliError::Broken {
            address: cli.address().clone(),
            source: ErrorKind::UnexpectedEof.into(),
        })),
        None => Err(Trouble::Other(MasterError::NoMaster {
            address: cli.address().clone(),
            said,
        })),
    }
}

/// The list of before. A master that loads something else just now does not answer yet.
async fn first_look(
    cli: &Cli,
    start: Instant,
    limit: Duration,
    should_run: bool,
) -> Result<Processes, MasterError> {
    loop {
        let source = match look(cli).await {
            // A worker that is not there yet could not be told from the one that is to come.
            Ok(processes) if !processes.workers.is_empty() => return Ok(processes),
            Ok(_) if start.elapsed() >= limit => {
                let source = None;
                return Err(MasterError::TimedOut { limit, source });
            }
            Ok(_) => {
                sleep(POLL).await;
                continue;
            }
            Err(Trouble::Other(error)) => return Err(error),
            Err(Trouble::Cli(source)) => source,
        };
        let patience = if !should_run && source.is_absent() {
            Duration::ZERO
        } else if is_missing(&source) {
            MISSING.min(limit)
        } else {
            REFUSING.min(limit)
        };
        if start.elapsed() >= patience {
            let address = cli.address().clone();
            return Err(MasterError::Unreachable { address, source });
        }
        sleep(POLL).await;
    }
}

/// Gives the command until somebody takes it; what is answered, which is nothing before HAProxy 2.7.
async fn tell(cli: &Cli, until: Instant, master: &Seen) -> Result<String, MasterError> {
    loop {
        match cli.ask(&Command::new("reload")).await {
            // HAProxy 3.2 answers while it loads.
            Ok(said) if is_busy(&said) && Instant::now() < until => sleep(POLL).await,
            Ok(said) if said.is_empty() || said.starts_with("Success=") => return Ok(said),
            Ok(said) => {
                let address = cli.address().clone();
                return Err(MasterError::NoMaster { address, said });
            }
            Err(source)
                if source.is_absent() && (Instant::now() >= until || master.has_ended()) =>
            {
                let address = cli.address().clone();
                return Err(MasterError::Unreachable { address, source });
            }
            Err(source) if source.is_absent() => sleep(POLL).await,
            // It went away in the middle, as it does when it reloads.
            Err(_) => return Ok(String::new()),
        }
    }
}

/// What a variable of the environment is set to in the worker that serves; an error if the master does not answer.
pub async fn variable(address: &Address, name: &Word) -> Result<Option<String>, CliError> {
    let cli = Cli::new(address.clone(), ANSWER);
    let said = cli.ask(&Command::new("@1 show env").word(name)).await?;
    Ok(said.lines().find_map(|line| value_of(name, line)))
}

/// Whether the answer says that it loads something else just now.
fn is_busy(said: &str) -> bool {
    refused(said) && said.contains("reload is still in progress")
}

/// Whether the answer says that the reload has failed.
fn refused(said: &str) -> bool {
    said.starts_with("Success=0")
}

/// What HAProxy has to say on a reload, without the mark in front.
fn log(said: &str) -> String {
    said.split_once("--\n")
        .map_or("", |(_, log)| log)
        .to_owned()
}

fn is_missing(error: &CliError) -> bool {
    match error {
        CliError::Connect { source, .. } => source.kind() == ErrorKind::NotFound,
        CliError::Broken { .. } | CliError::Silent { .. } | CliError::Count { .. } => false,
    }
}
