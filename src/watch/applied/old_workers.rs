//! Counts old workers: worker processes that the proxies of all targets still have from before their last reload.
//! Shell.
//!
//! HAProxy's master lists them itself; of other daemons this file looks at the processes. So the count includes workers of
//! reloads that somebody else or an earlier `sidekick` has made.
//!
//! The number goes into the entry in the store, since a daemon that gathers old workers (long connections without
//! `hard-stop-after`) is seen nowhere else without a login on its host: `sidekick status` and the dashboard show it.

use std::collections::HashSet;
use std::time::Duration;

use crate::config::Reload;
use crate::proxy::haproxy::master;
use crate::system::family::{self, Parent};
use crate::system::process::PidfileProcess;
use crate::system::systemd;
use crate::watch::child::shell::ChildGroup;
use crate::watch::reload::workers::Daemon;
use crate::watch::target::state::TargetState;

/// How long one proxy may take to answer, or systemd to name its process.
const LIMIT: Duration = Duration::from_secs(10);

/// The proxies whose old workers can be counted.
#[derive(Clone)]
pub(crate) struct OldWorkers {
    /// How each of them is reloaded, which says where its processes are found.
    proxies: HashSet<Reload>,
    /// The process group of our command, if there is one.
    child: Option<ChildGroup>,
}

impl OldWorkers {
    /// The proxies of these targets.
    pub(crate) fn new(targets: &[TargetState], child: Option<ChildGroup>) -> Self {
        let proxies = targets.iter();
        let proxies = proxies.filter_map(|state| state.loaded.target.reload.clone());
        Self {
            proxies: proxies.collect(),
            child,
        }
    }

    /// Replaces the targets after a config reload; the command stays the same.
    pub(crate) fn replace(&mut self, targets: &[TargetState]) {
        *self = Self::new(targets, self.child.take());
    }

    /// The number of old workers that all proxies have now. A proxy that does not run or does not answer counts as
    /// having none.
    pub(crate) async fn count(self) -> usize {
        let mut count = 0;
        for proxy in &self.proxies {
            count += match proxy {
                Reload::HaproxyMaster(socket) => {
                    master::count_old_workers(&socket.as_path().into(), LIMIT).await
                }
                Reload::Signal {
                    pidfile,
                    verify: true,
                    ..
                } => old_workers_of(PidfileProcess::read(pidfile).ok().map(|named| named.pid())),
                Reload::Child { verify: true, .. } => {
                    let group = self.child.as_ref().and_then(|child| child.get());
                    old_workers_of(group.map(|group| group.pid()))
                }
                Reload::Unit {
                    unit, verify: true, ..
                } => old_workers_of(systemd::main_pid(unit, LIMIT).await),
                // With `verify = false` the operator has asked us not to look at the processes.
                Reload::Signal { verify: false, .. }
                | Reload::Child { verify: false, .. }
                | Reload::Unit { verify: false, .. } => 0,
                // Nobody knows which program a `reload_cmd` reloads.
                Reload::Command(_) => 0,
            };
        }
        count
    }
}

/// The old workers of the daemon with this process id; 0 if the process is no daemon that we know.
fn old_workers_of(pid: Option<i32>) -> usize {
    let look = |pid| {
        let daemon = Daemon::of(&family::program_name(pid)?)?;
        let family = Parent::find(pid)?.read(daemon.signal())?;
        Some(daemon.old_workers(&family))
    };
    pid.and_then(look).unwrap_or_default()
}
