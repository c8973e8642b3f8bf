//! The workers of before that the proxies of all targets still have, counted. Shell.
//!
//! What a proxy says itself, or its processes do, also of reloads that somebody else has made, or a `sidekick` of before.

use std::collections::HashSet;
use std::time::Duration;

use crate::config::Reload;
use crate::proxy::haproxy::master;
use crate::system::family::{self, Parent};
use crate::system::process::Named;
use crate::system::systemd;
use crate::watch::child::shell::ChildGroup;
use crate::watch::reload::workers::Daemon;
use crate::watch::target::state::TargetState;

/// How long a proxy may take to be found.
const LIMIT: Duration = Duration::from_secs(10);

/// Proxies whose old workers can be counted.
#[derive(Clone)]
pub(crate) struct OldWorkers {
    /// How each of them is told.
    proxies: HashSet<Reload>,
    /// The command of ours.
    child: Option<ChildGroup>,
}

impl OldWorkers {
    pub(crate) fn new(targets: &[TargetState], child: Option<ChildGroup>) -> Self {
        let proxies = targets.iter();
        let proxies = proxies.filter_map(|state| state.loaded.target.reload.clone());
        Self {
            proxies: proxies.collect(),
            child,
        }
    }

    /// The same command, and other targets.
    pub(crate) fn replace(&mut self, targets: &[TargetState]) {
        *self = Self::new(targets, self.child.take());
    }

    /// All of them, as they are now. A proxy that does not run has none.
    pub(crate) async fn count(self) -> usize {
        let mut count = 0;
        for proxy in &self.proxies {
            count += match proxy {
                Reload::HaproxyMaster(socket) => {
                    master::old_workers(&socket.as_path().into(), LIMIT).await
                }
                Reload::Signal {
                    pidfile,
                    verify: true,
                    ..
                } => old_workers_of(Named::read(pidfile).ok().map(|named| named.pid())),
                Reload::Child { verify: true, .. } => {
                    let group = self.child.as_ref().and_then(|child| child.get());
                    old_workers_of(group.map(|group| group.pid()))
                }
                Reload::Unit {
                    unit, verify: true, ..
                } => old_workers_of(systemd::main_pid(unit, LIMIT).await),
                // These are not to be looked at.
                Reload::Signal { verify: false, .. }
                | Reload::Child { verify: false, .. }
                | Reload::Unit { verify: false, .. } => 0,
                // Nobody knows which program it tells.
                Reload::Command(_) => 0,
            };
        }
        count
    }
}

/// Those of the daemon with this process id, if it is one.
fn old_workers_of(pid: Option<i32>) -> usize {
    let look = |pid| {
        let daemon = Daemon::of(&family::program(pid)?)?;
        let family = Parent::find(pid)?.look(daemon.signal())?;
        Some(daemon.old_workers(&family))
    };
    pid.and_then(look).unwrap_or_default()
}
