//! Makes one reload in the way that conf.d names, and watches the program until it runs the new files or refuses them.
//! Shell.

use std::path::Path;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::workers::{Daemon, Lingering, ReloadObserver, Verdict};
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

/// The time between two looks at a daemon that reloads.
const POLL: Duration = Duration::from_millis(10);

/// How long a daemon that has just been started may take to start its first worker.
const FIRST_WORKER: Duration = Duration::from_secs(2);

/// Why a program could not be reloaded, or does not run the new files.
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
    #[error("{unit} has ended at an earlier reload and has not run since: start it again")]
    NotStarted { unit: String },
    #[error("{daemon} does not take a reload: it has been busy with another one for {} s", limit.as_secs_f64())]
    Busy { daemon: Daemon, limit: Duration },
    #[error("the reload was given up")]
    GivenUp,
    #[error("{daemon} has not shown within {} s whether it runs the new configuration", limit.as_secs_f64())]
    Unseen { daemon: Daemon, limit: Duration },
    #[error(
        "the HAProxy behind {address} runs something else: its {name} is {}, and the new file sets it to {value} (does \
         HAProxy read that file, by haproxy -f? does no other file set the variable? {mounted})",
        found.as_deref().unwrap_or("not set")
    )]
    OtherFile {
        address: Address,
        name: String,
        value: String,
        /// The value that HAProxy has, if it knows the variable.
        found: Option<String>,
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

/// The result of a reload that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadResult {
    /// The program does not run; it will read the files when it starts.
    NotRunning,
    /// The program was asked to reload; whether it did was not observed.
    Sent,
    /// The program was seen to load its configuration.
    Verified,
    /// The program was seen to load its configuration, which does not name our files yet.
    Unread,
}

/// Where the operator finds the reason, as the end of a sentence.
fn hint(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Haproxy => "and its own log says why ([ALERT])",
        Daemon::Nginx => "and its error log says why ([emerg])",
        Daemon::Apache => "and its error log says why",
    }
}

impl ReloadError {
    /// Adds to the error what is known of the file that the program should have read, such as a mount that hides it.
    pub(crate) fn about(mut self, dest: &Path) -> Self {
        if let Self::OtherFile { mounted, .. } | Self::OtherGeneration { mounted, .. } = &mut self {
            *mounted = mount::why_stale(dest).into();
        }
        self
    }

    /// The error of the reload command, if that failed.
    pub(crate) fn command(&self) -> Option<&CommandError> {
        match self {
            Self::Command(error) => Some(error),
            Self::Signal(_) | Self::Child(_) | Self::Unit(_) | Self::Master(_) => None,
            Self::NotLoaded { .. } | Self::Ended { .. } | Self::NotStarted { .. } => None,
            Self::Busy { .. } | Self::Unseen { .. } | Self::GivenUp => None,
            Self::OtherFile { .. } | Self::OtherGeneration { .. } => None,
        }
    }

    /// Whether the program reloaded and does not run the new files. Most likely the next try would end the same way.
    pub(crate) fn is_refusal(&self) -> bool {
        let runs_others = matches!(self, Self::OtherFile { .. } | Self::OtherGeneration { .. });
        runs_others || self.keeps_previous_files()
    }

    /// Whether no reload was made, since the process, the socket or the service manager could not be reached.
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

    /// Whether the program has no mark of any of our files, not even of earlier ones, so that it may not read them at all.
    pub(crate) fn has_no_trace(&self) -> bool {
        match self {
            Self::OtherFile { found, .. } => found.is_none(),
            // The caller knows whether the page could show an earlier generation.
            Self::OtherGeneration { .. } => true,
            Self::Command(_) | Self::Signal(_) | Self::Child(_) | Self::Unit(_) => false,
            Self::Master(_) | Self::NotLoaded { .. } | Self::Ended { .. } => false,
            Self::NotStarted { .. } | Self::Busy { .. } | Self::Unseen { .. } | Self::GivenUp => {
                false
            }
        }
    }

    /// Whether the program is known to run on with the previous files.
    pub(crate) fn keeps_previous_files(&self) -> bool {
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

/// One reload that is to be made.
pub(super) struct ReloadRequest<'a> {
    pub(super) reload: &'a Reload,
    /// How long the reload may take, with all waits.
    pub(super) limit: Duration,
    /// The command of `sidekick watch -- COMMAND`, if there is one.
    pub(super) child: Option<&'a ChildGroup>,
    /// Whether a check has judged the new files before.
    pub(super) is_checked: bool,
    pub(super) past: &'a mut PastReloads,
}

/// What earlier reloads have shown of a program.
#[derive(Debug, Default)]
pub(super) struct PastReloads {
    lingering: Lingering,
    /// Whether the program has ended at a reload, and its unit has not been seen to run since.
    has_ended: bool,
}

impl ReloadRequest<'_> {
    /// Makes the reload; returns when the program runs the new files, as far as that can be observed.
    pub(super) async fn send(mut self) -> Result<ReloadResult, ReloadError> {
        let is_to_come = self.is_to_come();
        match self.try_to_send().await {
            // An earlier process may have left the socket or the pidfile.
            Err(error) if is_to_come && error.is_out_of_reach() => {
                debug!(%error, "the command is not started yet, so no reload was made: {error}");
                Ok(ReloadResult::NotRunning)
            }
            result => result,
        }
    }

    async fn try_to_send(&mut self) -> Result<ReloadResult, ReloadError> {
        match self.reload {
            // The reload command most likely reloads the command that is not started yet: it would fail, or start a second
            // one.
            Reload::Command(text) if self.is_to_come() => {
                info!("the command is not started yet, so `{text}` is not run");
                Ok(ReloadResult::NotRunning)
            }
            Reload::Command(text) => {
                let output = command::run(text, self.limit, Left::Alone).await?;
                debug!("reload_cmd `{text}` has been run and printed: {output}");
                Ok(ReloadResult::Sent)
            }
            Reload::Signal {
                signal,
                pidfile,
                verify,
            } => {
                let process = PidfileProcess::read(pidfile)?;
                // The pidfile is an old one: a process of ours has got the id that stands in it.
                if process.is_ours() && self.is_to_come() {
                    return Ok(ReloadResult::NotRunning);
                }
                let send = || Ok(process.signal(*signal)?);
                self.send_signal(process.pid(), *signal, *verify, send)
                    .await
            }
            Reload::Child { signal, verify } => {
                let Some(group) = self.child.and_then(|child| child.get()) else {
                    return Ok(ReloadResult::NotRunning);
                };
                process::wait_until_leader_handles(*group, *signal, self.limit).await?;
                let send = || Ok(process::signal_leader(*group, *signal)?);
                self.send_signal(group.pid(), *signal, *verify, send).await
            }
            Reload::Unit {
                unit,
                signal,
                verify,
            } => self.reload_unit(unit, *signal, *verify).await,
            Reload::HaproxyMaster(socket) => self.reload_master(&socket.as_path().into()).await,
        }
    }

    async fn send_signal(
        &mut self,
        pid: i32,
        signal: Signal,
        verify: bool,
        send: impl FnOnce() -> Result<(), ReloadError>,
    ) -> Result<ReloadResult, ReloadError> {
        let deadline = Instant::now() + self.limit;
        let daemon = daemon(pid, verify).filter(|daemon| daemon.reloads_at(signal));
        let watched = match daemon {
            Some(daemon) => self.watch(pid, daemon, signal, deadline).await?,
            None => None,
        };
        send()?;
        match watched {
            Some(watched) => self.observe(watched).await,
            None => Ok(ReloadResult::Sent),
        }
    }

    /// Whether there is a command that is not started yet. It will read the new files at its start.
    fn is_to_come(&self) -> bool {
        self.child.is_some_and(|child| child.get().is_none())
    }

    async fn reload_unit(
        &mut self,
        unit: &str,
        signal: Option<Signal>,
        verify: bool,
    ) -> Result<ReloadResult, ReloadError> {
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
        let result = match signal {
            Some(signal) => systemd::signal(unit, signal, self.limit).await,
            None => systemd::reload(unit, self.limit).await,
        };
        match result? {
            systemd::Done::Reloaded => self.past.has_ended = false,
            // The new files ended it, so they are refused: the next start should find the previous ones.
            systemd::Done::NotRunning if self.past.has_ended => {
                return Err(ReloadError::NotStarted {
                    unit: unit.to_owned(),
                });
            }
            systemd::Done::NotRunning => {
                info!("{unit} does not run; it will find the new file when it starts");
                return Ok(ReloadResult::NotRunning);
            }
        }
        match watched {
            Some(watched) => self.observe(watched).await,
            None => Ok(ReloadResult::Sent),
        }
    }

    async fn reload_master(&mut self, address: &Address) -> Result<ReloadResult, ReloadError> {
        let is_running = |pid| process::runs_program(pid, "haproxy");
        let live = master::reload(address, self.limit, !self.is_to_come(), is_running).await?;
        self.log_old_workers(Daemon::Haproxy, live.old_workers);
        Ok(ReloadResult::Verified)
    }

    /// Waits until a daemon is ready for a reload, and notes its workers. `None` if it has no workers to observe.
    async fn watch(
        &self,
        pid: i32,
        daemon: Daemon,
        signal: Signal,
        deadline: Instant,
    ) -> Result<Option<Watched>, ReloadError> {
        if daemon == Daemon::Apache && !self.is_checked {
            warn!(
                "Apache ends when it reloads a configuration with a mistake: let a check_cmd run apachectl -t"
            );
        }
        let Some(parent) = Parent::find(pid) else {
            return Ok(None);
        };
        let begun = Instant::now();
        loop {
            // The daemon has ended; the signal, which cannot reach it, makes the error.
            let Some(family) = parent.read(signal) else {
                return Ok(None);
            };
            let now = Instant::now();
            if !family.holds || daemon == Daemon::Apache {
                let observer = ReloadObserver::begin(daemon, &family);
                if observer.is_some() || now >= begun + FIRST_WORKER {
                    let watched = |observer| Watched {
                        pid,
                        daemon,
                        signal,
                        parent,
                        observer,
                        deadline,
                    };
                    return Ok(observer.map(watched));
                }
            }
            if now >= deadline {
                let limit = self.limit;
                return Err(ReloadError::Busy { daemon, limit });
            }
            sleep(POLL).await;
        }
    }

    /// Observes a daemon after its reload signal until it runs the new files, has refused them, or has ended.
    async fn observe(&mut self, watched: Watched) -> Result<ReloadResult, ReloadError> {
        let Watched {
            pid,
            daemon,
            signal,
            parent,
            mut observer,
            deadline,
        } = watched;
        let mut old_worker_wait = OldWorkerWait::default();
        loop {
            let family = parent.read(signal);
            match observer.observe(Instant::now(), family.as_ref()) {
                Verdict::Live { old }
                    if old > 0 && old_worker_wait.may_go_on(Instant::now(), deadline) =>
                {
                    sleep(POLL).await;
                }
                Verdict::Live { old } => {
                    self.log_old_workers(daemon, old);
                    return Ok(ReloadResult::Verified);
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

    /// Logs how many old workers still serve, at level info when there are many.
    fn log_old_workers(&mut self, daemon: Daemon, old: usize) {
        if self.past.lingering.is_news(old) {
            let bound = daemon.limit_of_old_workers();
            info!("{old} old workers of {daemon} still serve old connections; {bound}");
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

/// A daemon whose reload is observed.
struct Watched {
    pid: i32,
    daemon: Daemon,
    /// The signal that the daemon holds back while it loads a configuration.
    signal: Signal,
    parent: Parent,
    observer: ReloadObserver,
    deadline: Instant,
}
