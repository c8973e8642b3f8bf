//! One reload: the program is told, by the way that conf.d names, and looked at until it runs the new files or will not.
//! Shell.

use std::path::Path;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::workers::{Daemon, Lingering, Proof, Verdict};
use crate::config::Reload;
use crate::model::old_worker_wait::OldWorkerWait;
use crate::model::os::Signal;
use crate::proxy::haproxy::master::{self, MasterError};
use crate::proxy::haproxy::socket::Address;
use crate::system::command::{self, CommandError, Left};
use crate::system::family::{self, Parent};
use crate::system::mount;
use crate::system::process::{self, LeaderError, PidfileProcess, SignalError};
use crate::system::systemd;
use crate::system::systemd::UnitError;
use crate::watch::child::shell::ChildGroup;

/// How often a daemon that reloads is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How long a daemon that has just been started may take for its first worker.
const FIRST_WORKER: Duration = Duration::from_secs(2);

/// Why a program could not be told of a new file, or does not take it.
#[derive(Debug, Error)]
pub(crate) enum ReloadError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Child(#[from] LeaderError),
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error(transparent)]
    Master(#[from] MasterError),
    #[error("{daemon} has not loaded the new configuration: no new worker came, {}", hint(*daemon))]
    NotLoaded { daemon: Daemon },
    #[error(
        "{daemon} (process {pid}) HAS ENDED at its reload, so nobody serves: it has to be started again, and its own \
         log says why it ended"
    )]
    Ended { daemon: Daemon, pid: i32 },
    #[error("{unit} has ended at a reload and does not run since: it has to be started")]
    NotStarted { unit: String },
    #[error("{daemon} does not take a reload: it has been busy with another one for {} s", limit.as_secs_f64())]
    Busy { daemon: Daemon, limit: Duration },
    #[error("it was given up")]
    GivenUp,
    #[error("{daemon} has not said within {} s whether it runs the new configuration", limit.as_secs_f64())]
    Unseen { daemon: Daemon, limit: Duration },
    #[error(
        "the HAProxy behind {address} runs something else: its {name} is {}, and the new file sets it to {value} (does \
         HAProxy read that file, by haproxy -f? does no other file set the variable? {mounted})",
        said.as_deref().unwrap_or("nothing")
    )]
    OtherFile {
        address: Address,
        name: String,
        value: String,
        /// What it is set to, if it is.
        said: Option<String>,
        mounted: Box<str>,
    },
    #[error(
        "the program does not say that it runs generation {generation}, that of the new files (does it read them? {mounted}): \
         {reason}"
    )]
    OtherGeneration {
        generation: String,
        reason: String,
        mounted: Box<str>,
    },
}

/// What is known of a program that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It does not run; it will read the files when it starts.
    Nobody,
    /// It has been told, and nobody saw what came of it.
    Sent,
    /// It has been seen to load what it was told to.
    Seen,
    /// It has been seen to load its configuration, of which our files, which it has never had, are no part yet.
    Unread,
}

fn hint(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Haproxy => "and its own log says why ([ALERT])",
        Daemon::Nginx => "and its error log says why ([emerg])",
        Daemon::Apache => "and its error log says why",
    }
}

impl ReloadError {
    /// The same with what can be found out about the file that the program should have read.
    pub(crate) fn about(mut self, dest: &Path) -> Self {
        if let Self::OtherFile { mounted, .. } | Self::OtherGeneration { mounted, .. } = &mut self {
            *mounted = mount::why_stale(dest).into();
        }
        self
    }

    /// Why the command failed, if it was one.
    pub(crate) fn command(&self) -> Option<&CommandError> {
        match self {
            Self::Command(error) => Some(error),
            Self::Signal(_) | Self::Child(_) | Self::Unit(_) | Self::Master(_) => None,
            Self::NotLoaded { .. } | Self::Ended { .. } | Self::NotStarted { .. } => None,
            Self::Busy { .. } | Self::Unseen { .. } | Self::GivenUp => None,
            Self::OtherFile { .. } | Self::OtherGeneration { .. } => None,
        }
    }

    /// Whether the program has been told and does not run the new files: most likely it will not the next time either.
    pub(crate) fn is_refusal(&self) -> bool {
        let runs_others = matches!(self, Self::OtherFile { .. } | Self::OtherGeneration { .. });
        runs_others || self.leaves_the_old()
    }

    /// Whether nobody was told: the process, the socket or the manager that is to be told cannot be reached.
    fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Signal(_) => true,
            Self::Master(MasterError::Unreachable { .. } | MasterError::NoMaster { .. }) => true,
            Self::Unit(UnitError::Unreachable { .. } | UnitError::Unknown { .. }) => true,
            Self::Master(MasterError::Rejected { .. } | MasterError::TimedOut { .. }) => false,
            Self::Unit(_) | Self::Command(_) | Self::Child(_) | Self::NotLoaded { .. } => false,
            Self::Ended { .. } | Self::NotStarted { .. } => false,
            Self::Busy { .. } | Self::Unseen { .. } | Self::GivenUp => false,
            Self::OtherFile { .. } | Self::OtherGeneration { .. } => false,
        }
    }

    /// Whether the program shows no trace of any of our files, not even of earlier ones, so that it may not read them at all.
    pub(crate) fn has_no_trace(&self) -> bool {
        match self {
            Self::OtherFile { said, .. } => said.is_none(),
            // Whoever asks knows whether the page could show an earlier one.
            Self::OtherGeneration { .. } => true,
            Self::Command(_) | Self::Signal(_) | Self::Child(_) | Self::Unit(_) => false,
            Self::Master(_) | Self::NotLoaded { .. } | Self::Ended { .. } => false,
            Self::NotStarted { .. } | Self::Busy { .. } | Self::Unseen { .. } | Self::GivenUp => {
                false
            }
        }
    }

    /// Whether the program is known to go on with the files of before.
    pub(crate) fn leaves_the_old(&self) -> bool {
        match self {
            Self::Master(MasterError::Rejected { .. }) | Self::NotLoaded { .. } => true,
            Self::Master(
                MasterError::Unreachable { .. }
                | MasterError::NoMaster { .. }
                | MasterError::TimedOut { .. },
            ) => false,
            Self::Command(_) | Self::Signal(_) | Self::Child(_) | Self::Unit(_) => false,
            Self::Ended { .. } | Self::NotStarted { .. } => false,
            Self::Busy { .. } | Self::Unseen { .. } | Self::GivenUp => false,
            Self::OtherFile { .. } | Self::OtherGeneration { .. } => false,
        }
    }
}

/// A program that is told.
pub(crate) struct Telling<'a> {
    pub(crate) reload: &'a Reload,
    /// How long it may take, everything included.
    pub(crate) limit: Duration,
    /// The command of ours.
    pub(crate) child: Option<&'a ChildGroup>,
    /// The new files were checked before.
    pub(crate) is_checked: bool,
    pub(crate) past: &'a mut Past,
}

/// What is known of a program from the times that it was told before.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Its old workers.
    lingering: Lingering,
    /// It has ended at a reload, and its unit has not been seen to run since.
    has_ended: bool,
}

impl Telling<'_> {
    /// Tells it once; returns when it runs the new files, as far as that can be seen.
    pub(crate) async fn tell(mut self) -> Result<Told, ReloadError> {
        let is_to_come = self.is_to_come();
        match self.try_to_tell().await {
            // A socket or a pidfile may lie there that one of before has left.
            Err(error) if is_to_come && error.is_out_of_reach() => {
                debug!(%error, "the command is still to be started, so nobody was told: {error}");
                Ok(Told::Nobody)
            }
            told => told,
        }
    }

    async fn try_to_tell(&mut self) -> Result<Told, ReloadError> {
        match self.reload {
            // Most likely it is the command that it tells: it cannot work yet, or would start another one.
            Reload::Command(text) if self.is_to_come() => {
                info!("the command is still to be started, so `{text}` is not run");
                Ok(Told::Nobody)
            }
            Reload::Command(text) => {
                let output = command::run(text, self.limit, Left::Alone).await?;
                debug!("`{text}` has been run, and prints: {output}");
                Ok(Told::Sent)
            }
            Reload::Signal {
                signal,
                pidfile,
                verify,
            } => {
                let process = PidfileProcess::read(pidfile)?;
                // A process of ours has the id that another one left in the file.
                if process.is_ours() && self.is_to_come() {
                    return Ok(Told::Nobody);
                }
                let send = || Ok(process.signal(*signal)?);
                self.signal(process.pid(), *signal, *verify, send).await
            }
            Reload::Child { signal, verify } => {
                let Some(group) = self.child.and_then(|child| child.get()) else {
                    return Ok(Told::Nobody);
                };
                process::wait_until_leader_handles(*group, *signal, self.limit).await?;
                let send = || Ok(process::signal_leader(*group, *signal)?);
                self.signal(group.pid(), *signal, *verify, send).await
            }
            Reload::Unit {
                unit,
                signal,
                verify,
            } => self.unit(unit, *signal, *verify).await,
            Reload::HaproxyMaster(socket) => self.master(&socket.as_path().into()).await,
        }
    }

    async fn signal(
        &mut self,
        pid: i32,
        signal: Signal,
        verify: bool,
        send: impl FnOnce() -> Result<(), ReloadError>,
    ) -> Result<Told, ReloadError> {
        let deadline = Instant::now() + self.limit;
        let daemon = daemon(pid, verify).filter(|daemon| daemon.reloads_at(signal));
        let watched = match daemon {
            Some(daemon) => self.watch(pid, daemon, signal, deadline).await?,
            None => None,
        };
        send()?;
        match watched {
            Some(watched) => self.see(watched).await,
            None => Ok(Told::Sent),
        }
    }

    /// Whether there is a command of ours that is not started yet. It will find the new file.
    fn is_to_come(&self) -> bool {
        self.child.is_some_and(|child| child.get().is_none())
    }

    async fn unit(
        &mut self,
        unit: &str,
        signal: Option<Signal>,
        verify: bool,
    ) -> Result<Told, ReloadError> {
        let deadline = Instant::now() + self.limit;
        let pid = if verify {
            systemd::main_pid(unit, self.limit).await
        } else {
            None
        };
        let daemon = pid.and_then(|pid| Some((pid, daemon(pid, verify)?)));
        let daemon =
            daemon.filter(|(_, daemon)| signal.is_none_or(|signal| daemon.reloads_at(signal)));
        let watched = match daemon {
            Some((pid, daemon)) => self.watch(pid, daemon, daemon.signal(), deadline).await?,
            None => None,
        };
        let told = match signal {
            Some(signal) => systemd::signal(unit, signal, self.limit).await,
            None => systemd::reload(unit, self.limit).await,
        };
        match told? {
            systemd::Done::Reloaded => self.past.has_ended = false,
            // Whoever starts it again should find the files of before.
            systemd::Done::NotRunning if self.past.has_ended => {
                return Err(ReloadError::NotStarted {
                    unit: unit.to_owned(),
                });
            }
            systemd::Done::NotRunning => {
                info!("{unit} does not run; it will find the new file when it starts");
                return Ok(Told::Nobody);
            }
        }
        match watched {
            Some(watched) => self.see(watched).await,
            None => Ok(Told::Sent),
        }
    }

    async fn master(&mut self, address: &Address) -> Result<Told, ReloadError> {
        let live = master::reload(address, self.limit, !self.is_to_come()).await?;
        self.linger(Daemon::Haproxy, live.old_workers);
        Ok(Told::Seen)
    }

    /// Waits until a daemon is ready for a reload, and remembers its workers.
    async fn watch(
        &self,
        pid: i32,
        daemon: Daemon,
        signal: Signal,
        deadline: Instant,
    ) -> Result<Option<Watched>, ReloadError> {
        if daemon == Daemon::Apache && !self.is_checked {
            warn!(
                "Apache ends when it reloads a configuration that it does not like: let a check_cmd run apachectl -t"
            );
        }
        let Some(parent) = Parent::find(pid) else {
            return Ok(None);
        };
        let begun = Instant::now();
        loop {
            // What has ended meanwhile is told by the signal that does not reach it.
            let Some(family) = parent.read(signal) else {
                return Ok(None);
            };
            let now = Instant::now();
            if !family.holds || daemon == Daemon::Apache {
                let proof = Proof::begin(daemon, &family);
                if proof.is_some() || now >= begun + FIRST_WORKER {
                    let watched = |proof| Watched {
                        pid,
                        daemon,
                        signal,
                        parent,
                        proof,
                        deadline,
                    };
                    return Ok(proof.map(watched));
                }
            }
            if now >= deadline {
                let limit = self.limit;
                return Err(ReloadError::Busy { daemon, limit });
            }
            sleep(POLL).await;
        }
    }

    /// Looks at a daemon that has been told until it is clear what became of it.
    async fn see(&mut self, watched: Watched) -> Result<Told, ReloadError> {
        let Watched {
            pid,
            daemon,
            signal,
            parent,
            mut proof,
            deadline,
        } = watched;
        let mut old_worker_wait = OldWorkerWait::default();
        loop {
            let family = parent.read(signal);
            match proof.see(Instant::now(), family.as_ref()) {
                Verdict::Live { old }
                    if old > 0 && old_worker_wait.may_go_on(Instant::now(), deadline) =>
                {
                    sleep(POLL).await;
                }
                Verdict::Live { old } => {
                    self.linger(daemon, old);
                    return Ok(Told::Seen);
                }
                Verdict::Failed => return Err(ReloadError::NotLoaded { daemon }),
                Verdict::Ended => {
                    self.past.has_ended = true;
                    return Err(ReloadError::Ended { daemon, pid });
                }
                Verdict::Waiting if Instant::now() >= deadline => {
                    let limit = self.limit;
                    return Err(ReloadError::Unseen { daemon, limit });
                }
                Verdict::Waiting => sleep(POLL).await,
            }
        }
    }

    fn linger(&mut self, daemon: Daemon, old: usize) {
        if self.past.lingering.saw(old) {
            let bound = daemon.limit_of_old_workers();
            info!("{old} old workers of {daemon} still serve connections of before; {bound}");
        } else {
            debug!("{daemon} runs the new configuration; {old} old workers still serve");
        }
    }
}

/// The daemon that this process is, if it is one whose reload can be seen.
fn daemon(pid: i32, verify: bool) -> Option<Daemon> {
    let program = verify.then(|| family::program_name(pid)).flatten()?;
    Daemon::of(&program)
}

/// A daemon that is being looked at.
struct Watched {
    pid: i32,
    daemon: Daemon,
    /// The one it holds back while it loads.
    signal: Signal,
    parent: Parent,
    proof: Proof,
    deadline: Instant,
}
