//! The `HAProxies` of a target whose servers are changed while they run, and what a new text means to them. Shell.

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

/// How often each HAProxy is asked whether it is still the same process.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Those of a target, in the order of its outputs.
#[derive(Debug)]
pub(crate) struct Haproxies(Vec<Option<Haproxy>>);

/// Those that run with one file.
#[derive(Debug)]
pub(crate) struct Haproxy {
    pub(crate) runtime: Runtime,
    base: Vec<PathBuf>,
    /// It has been told that nobody answers.
    is_absent: AtomicBool,
    /// It has been told that it is too old to take new servers.
    is_old: AtomicBool,
    /// The text for which a reload was made because they were not what it says: not to be made again and again.
    settled: AtomicU64,
    /// It has been told that a reload has not settled it.
    is_unsettled: AtomicBool,
    /// It has been told that they do not have what the file says right behind a reload.
    reads_other: AtomicBool,
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

    pub(crate) fn are_there(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// How many servers of them were changed while they ran since this was asked last.
    pub(crate) fn take_changes(&self) -> u64 {
        let all = self.0.iter().flatten();
        all.map(|haproxy| haproxy.runtime.take_changes()).sum()
    }

    pub(crate) fn get(&self, output: usize) -> Option<&Haproxy> {
        self.0.get(output)?.as_ref()
    }

    /// By the places of their outputs.
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
            is_absent: AtomicBool::new(false),
            is_old: AtomicBool::new(false),
            settled: AtomicU64::new(0),
            is_unsettled: AtomicBool::new(false),
            reads_other: AtomicBool::new(false),
        }
    }

    /// What HAProxy reads before the file. What cannot be read is as good as empty: new servers take a reload then.
    pub(crate) fn base(&self) -> String {
        let texts = self.base.iter().map(|path| {
            std::fs::read_to_string(path).unwrap_or_else(|error| {
                warn!(%error, "{} cannot be read: {error}", path.display());
                String::new()
            })
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// What becomes of them by a new text.
    pub(crate) fn compare(&self, now: &str, new: &str) -> Change {
        diff(&self.base(), now, new)
    }

    /// Looks whether they have what this text says, and sees to it.
    pub(crate) async fn look(&self, text: &str) -> Result<Reconciled, Vec<RuntimeError>> {
        self.runtime.reconcile(&self.base(), text).await
    }

    /// Tells why it takes a reload; that nobody answers, or what could be done about it, once.
    pub(crate) fn tell(&self, name: &str, doubts: &[RuntimeError]) {
        for doubt in doubts {
            let text = chain(doubt);
            if matches!(doubt, RuntimeError::TooOld { .. }) {
                info!(target = %name, "{name}: a reload is needed: {text}");
                if !self.is_old.swap(true, Ordering::Relaxed) {
                    info!(
                        target = %name, "{name}: with spare servers in the template (slots) a new one takes no reload"
                    );
                }
            } else if !doubt.is_absent() {
                warn!(target = %name, "{name}: {text}; a reload settles it");
            } else if !self.is_absent.swap(true, Ordering::Relaxed) {
                warn!(
                    target = %name, "{name}: {text}: as long as HAProxy does not answer there, its changes take a reload (if it runs, it has \
                     another `stats socket`, or somebody has removed this one: then only a restart of HAProxy makes it again)"
                );
            }
        }
    }

    /// They do answer.
    pub(crate) fn answers(&self, name: &str) {
        if self.is_absent.swap(false, Ordering::Relaxed) {
            info!(target = %name, "{name}: HAProxy answers on its socket");
        }
    }

    /// Whether a reload may settle what is wrong with them for this text: it may once.
    pub(crate) fn may_settle(&self, text: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        self.settled.swap(hash, Ordering::Relaxed) != hash
    }

    /// A reload has not settled it: told once, since no further one would.
    pub(crate) fn differs_still(&self, name: &str, dest: &Path, doubts: &[RuntimeError]) {
        if !self.is_unsettled.swap(true, Ordering::Relaxed) {
            let doubts: Vec<String> = doubts.iter().map(|doubt| chain(doubt)).collect();
            error!(
                target = %name, "{name}: HAProxy runs something else than {} says, also after a reload: {} (does it read that file, by \
                 haproxy -f? {})",
                dest.display(),
                doubts.join("; "),
                mount::why_stale(dest)
            );
        }
    }

    /// It has been told in other words that what they run is something else, which no reload settles.
    pub(crate) fn needs_no_word(&self) {
        self.is_unsettled.store(true, Ordering::Relaxed);
    }

    /// So many changes were to be made right behind a reload: whoever reads the file needs none. Told once.
    pub(crate) fn has_read(&self, name: &str, dest: &Path, changes: usize) {
        if changes == 0 {
            self.reads_other.store(false, Ordering::Relaxed);
        } else if !self.reads_other.swap(true, Ordering::Relaxed) {
            warn!(
                target = %name, "{name}: HAProxy has been reloaded, and did not have the servers of {}: {changes} of them were changed at \
                 run time (does it read that file, by haproxy -f? {})",
                dest.display(),
                mount::why_stale(dest)
            );
        }
    }

    /// Nothing is wrong with them.
    pub(crate) fn is_settled(&self) {
        self.settled.store(0, Ordering::Relaxed);
        self.is_unsettled.store(false, Ordering::Relaxed);
    }
}

/// Asks every HAProxy from time to time whether it is still the same process: somebody else may restart or reload one.
#[derive(Default)]
pub(crate) struct ProcessWatch(JoinSet<usize>);

impl ProcessWatch {
    /// Watches the `HAProxies` of these targets from now on, and no others. Each target is given with its place.
    pub(crate) fn watch_all<'a>(&mut self, targets: impl Iterator<Item = (usize, &'a Haproxies)>) {
        self.0.abort_all();
        self.0 = JoinSet::new();
        for (target, haproxies) in targets {
            self.watch(target, haproxies);
        }
    }

    /// Watches those of one target until one of them is another process.
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

    /// The target of an HAProxy that is another process than before.
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
