//! The running `HAProxies` of a target whose servers can be changed without a reload, and what the log says of them. Shell.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::{self, Target};
use crate::model::report::chain;
use crate::proxy::haproxy::diff::{Change, diff};
use crate::proxy::haproxy::error::RuntimeError;
use crate::proxy::haproxy::runtime::{REST, Reconciled, Runtime};
use crate::system::mount;

/// The time between two questions to each HAProxy whether it is still the same process.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// The running `HAProxies` of a target, in the order of its outputs.
#[derive(Debug)]
pub(crate) struct Haproxies(Vec<Option<Haproxy>>);

/// The `HAProxies` that run with one file: one, or several with a socket each.
#[derive(Debug)]
pub(crate) struct Haproxy {
    pub(crate) runtime: Runtime,
    /// The files that HAProxy reads before this one.
    base: Vec<PathBuf>,
    /// The log already says that nobody answers on the socket.
    warned_absent: AtomicBool,
    /// The log already says that this HAProxy is too old to add servers at run time.
    warned_old: AtomicBool,
    /// The hash of the text for which a reload was made because HAProxy had other servers. A second reload for the same text
    /// would not help.
    reloaded_for: AtomicU64,
    /// The log already says that HAProxy has other servers also after a reload.
    warned_differs: AtomicBool,
    /// The log already says that HAProxy did not have the servers of the file right after a reload.
    warned_not_read: AtomicBool,
}

impl Haproxies {
    pub(crate) fn of(target: &Target) -> Self {
        let outputs = target.outputs.iter();
        Self(
            outputs
                .map(|output| output.haproxy.as_ref().map(Haproxy::new))
                .collect(),
        )
    }

    /// Whether the target has any.
    pub(crate) fn are_there(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// How many server changes were made at run time since the last call.
    pub(crate) fn take_changes(&self) -> u64 {
        let all = self.0.iter().flatten();
        all.map(|haproxy| haproxy.runtime.take_changes()).sum()
    }

    pub(crate) fn get(&self, output: usize) -> Option<&Haproxy> {
        self.0.get(output)?.as_ref()
    }

    /// All of them, each with the place of its output.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Haproxy)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(output, haproxy)| Some((output, haproxy.as_ref()?)))
    }
}

impl Haproxy {
    fn new(config: &config::Haproxy) -> Self {
        Self {
            runtime: Runtime::new(config.sockets.clone(), config.timeout, REST),
            base: config.base.clone(),
            warned_absent: AtomicBool::new(false),
            warned_old: AtomicBool::new(false),
            reloaded_for: AtomicU64::new(0),
            warned_differs: AtomicBool::new(false),
            warned_not_read: AtomicBool::new(false),
        }
    }

    /// The text that HAProxy reads before the file. A file that cannot be read counts as empty; new servers need a reload then.
    fn read_base(&self) -> String {
        let texts = self.base.iter().map(|path| {
            std::fs::read_to_string(path).unwrap_or_else(|error| {
                warn!(
                    %error,
                    "cannot read {}: {error}; new servers need a reload",
                    path.display()
                );
                String::new()
            })
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// How to get from the servers of one text to those of another.
    pub(crate) fn compare(&self, now: &str, new: &str) -> Change {
        diff(&self.read_base(), now, new)
    }

    /// Makes the running HAProxies have the servers of this text.
    pub(crate) async fn reconcile(&self, text: &str) -> Result<Reconciled, Vec<RuntimeError>> {
        self.runtime.reconcile(&self.read_base(), text).await
    }

    /// Logs why a reload is needed. That nobody answers, and what to do about an old HAProxy, is logged once.
    pub(crate) fn log_errors(&self, name: &str, errors: &[RuntimeError]) {
        for error in errors {
            let text = chain(error);
            if matches!(error, RuntimeError::TooOld { .. }) {
                info!(target = %name, "{name}: a reload is needed: {text}");
                if !self.warned_old.swap(true, Ordering::Relaxed) {
                    info!(
                        target = %name, "{name}: with spare servers in the template (slots) a new server needs no reload"
                    );
                }
            } else if !error.is_absent() {
                warn!(target = %name, "{name}: {text}; a reload settles it");
            } else if !self.warned_absent.swap(true, Ordering::Relaxed) {
                warn!(
                    target = %name, "{name}: {text}: as long as HAProxy does not answer there, changes need a reload (if HAProxy runs, it has \
                     another `stats socket`, or somebody has removed this one: then only a restart of HAProxy makes it again)"
                );
            }
        }
    }

    /// Logs that HAProxy answers again, if the log says that it does not.
    pub(crate) fn log_answer(&self, name: &str) {
        if self.warned_absent.swap(false, Ordering::Relaxed) {
            info!(target = %name, "{name}: HAProxy answers on its socket");
        }
    }

    /// Whether a reload may still make HAProxy match this text. That is so once for each text; the call counts as the reload.
    pub(crate) fn may_reload_for(&self, text: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        self.reloaded_for.swap(hash, Ordering::Relaxed) != hash
    }

    /// Logs once that HAProxy has other servers than the file also after a reload. A further reload would not help.
    pub(crate) fn log_still_differs(&self, name: &str, dest: &Path, errors: &[RuntimeError]) {
        if !self.warned_differs.swap(true, Ordering::Relaxed) {
            let errors: Vec<String> = errors.iter().map(|error| chain(error)).collect();
            error!(
                target = %name, "{name}: HAProxy runs something else than {} says, also after a reload: {} (does it read that file, by \
                 haproxy -f? {})",
                dest.display(),
                errors.join("; "),
                mount::why_stale(dest)
            );
        }
    }

    /// Suppresses the line of [`Haproxy::log_still_differs`], since the log has another line about the same cause.
    pub(crate) fn suppress_still_differs(&self) {
        self.warned_differs.store(true, Ordering::Relaxed);
    }

    /// Takes in how many changes were needed right after a reload, and warns once if there were any: an HAProxy that reads
    /// the file needs none.
    pub(crate) fn warn_if_not_read(&self, name: &str, dest: &Path, changes: usize) {
        if changes == 0 {
            self.warned_not_read.store(false, Ordering::Relaxed);
        } else if !self.warned_not_read.swap(true, Ordering::Relaxed) {
            warn!(
                target = %name, "{name}: HAProxy has been reloaded, and did not have the servers of {}: {changes} of them were changed at \
                 run time (does it read that file, by haproxy -f? {})",
                dest.display(),
                mount::why_stale(dest)
            );
        }
    }

    /// HAProxy has the servers of its file: later differences are logged again, and a reload may settle them.
    pub(crate) fn reset_differences(&self) {
        self.reloaded_for.store(0, Ordering::Relaxed);
        self.warned_differs.store(false, Ordering::Relaxed);
    }
}

/// Asks every HAProxy every [`ASK_EVERY`] whether it is still the same process: somebody else may restart or reload one.
#[derive(Default)]
pub(crate) struct ProcessWatch(JoinSet<usize>);

impl ProcessWatch {
    /// Watches the `HAProxies` of these targets, and no others from now on. Each target is given with its number.
    pub(crate) fn watch_all<'a>(&mut self, targets: impl Iterator<Item = (usize, &'a Haproxies)>) {
        self.0.abort_all();
        self.0 = JoinSet::new();
        for (target, haproxies) in targets {
            self.watch(target, haproxies);
        }
    }

    /// Watches the `HAProxies` of one target until one of them is another process.
    pub(crate) fn watch(&mut self, target: usize, haproxies: &Haproxies) {
        let runtimes: Vec<Runtime> = haproxies.iter().map(|(_, h)| h.runtime.clone()).collect();
        if runtimes.is_empty() {
            return;
        }
        self.0.spawn(async move {
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                for runtime in &runtimes {
                    if runtime.is_replaced().await {
                        return target;
                    }
                }
            }
        });
    }

    /// Waits until an HAProxy is another process than before; returns the number of its target.
    pub(crate) async fn next_replaced(&mut self) -> usize {
        loop {
            match self.0.join_next().await {
                Some(Ok(target)) => return target,
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
