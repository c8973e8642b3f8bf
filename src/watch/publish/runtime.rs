//! Changes servers of a running HAProxy for a publish: before the file is checked and swapped. After the swap it reads back
//! whether HAProxy has them. Shell.
//!
//! The check of a file with ten thousand servers takes seconds, and a dead server must not get requests for that long. If
//! the check fails, HAProxy is changed back to what the live file says. If newer data come before the check has ended, the
//! check is given up; the next publish changes HAProxy from what it has by then to the newest text, and checks that.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info};

use super::cancel::Step;
use super::steps::Differs;
use super::{Job, run_blocking};
use crate::model::report::chain;
use crate::proxy::haproxy::change::ServerChange;
use crate::proxy::haproxy::diff::Change;
use crate::proxy::haproxy::error::RuntimeError;
use crate::watch::conf::haproxy::Haproxy;
use crate::watch::conf::load::Loaded;
use crate::watch::reload::send::ReloadResult;

/// Which servers the running `HAProxies` of a target have.
#[derive(Debug, Clone, Default)]
pub(in crate::watch) enum RunningConfig {
    /// Those of the live files, unless the loaded state says otherwise.
    #[default]
    LiveFiles,
    /// Those of these texts, in the order of the outputs. The files follow when they have been checked.
    Ahead(Arc<Vec<String>>),
    /// Nobody knows. No publish ends like this: either HAProxy matches the live files again, or a reload is owed.
    Unknown,
}

impl RunningConfig {
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self, Self::Ahead(_))
    }

    /// The text that HAProxy has for an output, which is `live` unless HAProxy is ahead.
    fn text<'a>(&'a self, output: usize, live: &'a str) -> &'a str {
        match self {
            Self::Ahead(texts) => &texts[output],
            Self::LiveFiles | Self::Unknown => live,
        }
    }
}

/// How the new files come into force.
pub(super) enum Activation {
    /// By a reload.
    Reload,
    /// By changes of the running `HAProxies`. There are none where the new files mean the same as the live ones.
    AtRuntime(RuntimeChanges),
}

/// The changes of the running `HAProxies` that make them match the new files.
pub(super) struct RuntimeChanges {
    outputs: Vec<OutputChanges>,
    /// The new texts of all outputs.
    texts: Arc<Vec<String>>,
}

/// The changes for the HAProxies of one output.
struct OutputChanges {
    output: usize,
    /// Those from what HAProxy has now.
    from_running: Vec<ServerChange>,
    /// Those from what the live file says.
    from_live: Vec<ServerChange>,
}

impl Activation {
    /// Compares the texts. If only a reload will do, the log says why, at level debug where `is_retry`.
    pub(super) fn choose(
        loaded: &Loaded,
        differs: &Differs,
        running_config: &RunningConfig,
        is_retry: bool,
    ) -> Self {
        let mut outputs = Vec::new();
        for (output, live, new) in differs.texts() {
            let live = live.map(std::str::from_utf8);
            let (Some(haproxy), Some(Ok(live))) = (loaded.haproxies.get(output), live) else {
                if differs.is_new(output) {
                    return Self::Reload;
                }
                continue;
            };
            let now = running_config.text(output, live);
            let from_running = haproxy.compare(now, new);
            // Where HAProxy is not ahead, both comparisons would be the same.
            let from_live = (now != live).then(|| haproxy.compare(live, new));
            match (from_running, from_live) {
                (Change::Reload(why), _) | (_, Some(Change::Reload(why))) => {
                    let name = &loaded.target.name;
                    if is_retry {
                        debug!(target = %name, "{name}: a reload is needed: {why}");
                    } else {
                        info!(target = %name, "{name}: a reload is needed: {why}");
                    }
                    return Self::Reload;
                }
                (Change::None, None) => {}
                (from_running, from_live) => {
                    let from_running = server_changes(from_running);
                    let from_live = from_live.map_or_else(|| from_running.clone(), server_changes);
                    outputs.push(OutputChanges {
                        output,
                        from_running,
                        from_live,
                    });
                }
            }
        }
        let texts = differs.texts().map(|(_, _, new)| new.to_owned());
        Self::AtRuntime(RuntimeChanges {
            outputs,
            texts: Arc::new(texts.collect()),
        })
    }

    pub(super) fn needs_reload(&self) -> bool {
        matches!(self, Self::Reload)
    }
}

impl Job {
    /// Changes the running `HAProxies`. If one of them cannot be changed, the result is a reload.
    pub(super) async fn change_running(&mut self, way: Activation) -> Activation {
        let Activation::AtRuntime(changes) = way else {
            return way;
        };
        if changes.outputs.is_empty() {
            return Activation::AtRuntime(changes);
        }
        let name = self.name();
        let counts = changes
            .outputs
            .iter()
            .map(|output| output.from_running.len());
        let count: usize = counts.sum();
        debug!(
            target = name,
            "{name}: the difference is one of servers only: {count} changes at run time"
        );
        self.mark_unknown();
        self.running_config = RunningConfig::Unknown;
        self.progress.enter(Step::Change);
        let start = Instant::now();
        let way = self.apply_changes(changes).await;
        self.record_step("runtime", start);
        way
    }

    async fn apply_changes(&mut self, changes: RuntimeChanges) -> Activation {
        for changes_of_output in &changes.outputs {
            let Some(haproxy) = self.loaded.haproxies.get(changes_of_output.output) else {
                return Activation::Reload;
            };
            if let Err(errors) = haproxy.runtime.apply(&changes_of_output.from_running).await {
                haproxy.log_errors(self.name(), &errors);
                return Activation::Reload;
            }
            haproxy.log_answer(self.name());
        }
        self.running_config = RunningConfig::Ahead(Arc::clone(&changes.texts));
        Activation::AtRuntime(changes)
    }

    /// Reads back, after the swap, whether the HAProxies have all changes since the previous file. If not, the result is a
    /// reload.
    pub(super) async fn read_back(&mut self, way: Activation) -> Activation {
        let start = Instant::now();
        let way = self.verify(way).await;
        if !way.needs_reload() {
            self.record_step("verify", start);
        }
        way
    }

    async fn verify(&self, way: Activation) -> Activation {
        let Activation::AtRuntime(changes) = way else {
            return way;
        };
        self.progress.enter(Step::Change);
        for changes_of_output in &changes.outputs {
            let Some(haproxy) = self.loaded.haproxies.get(changes_of_output.output) else {
                return Activation::Reload;
            };
            if let Err(errors) = haproxy.runtime.verify(&changes_of_output.from_live).await {
                haproxy.log_errors(self.name(), &errors);
                return Activation::Reload;
            }
        }
        Activation::AtRuntime(changes)
    }

    /// Changes the `HAProxies` back to what the live files say. Returns whether that was read back; if not, only a reload
    /// is certain.
    pub(super) async fn revert_running(&mut self, lives: Vec<Option<Vec<u8>>>) -> bool {
        let RunningConfig::Ahead(texts) = mem::take(&mut self.running_config) else {
            return false;
        };
        let loaded = Arc::clone(&self.loaded);
        let compare = move || {
            let backs = loaded.haproxies.iter().map(|(output, haproxy)| {
                let live = std::str::from_utf8(lives[output].as_deref()?).ok()?;
                match haproxy.compare(&texts[output], live) {
                    Change::Reload(_) => None,
                    change => Some((output, server_changes(change))),
                }
            });
            backs.collect::<Option<Vec<_>>>()
        };
        let Ok(Some(backs)) = run_blocking(&self.progress, compare).await else {
            return false;
        };
        for (output, back) in backs {
            let Some(haproxy) = self.loaded.haproxies.get(output) else {
                return false;
            };
            let mut done = haproxy.runtime.apply(&back).await;
            if done.is_ok() {
                done = haproxy.runtime.verify(&back).await;
            }
            if let Err(errors) = done {
                haproxy.log_errors(self.name(), &errors);
                return false;
            }
        }
        true
    }

    /// Makes the running `HAProxies` have the servers of live files that have not changed, and returns how many changes that
    /// took. `None` if it needs a reload.
    pub(super) async fn reconcile_running<'a>(
        &self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> Option<usize> {
        let mut changed = 0;
        self.progress.enter(Step::Change);
        for (output, haproxy, text) in self.haproxies(live) {
            match haproxy.reconcile(text).await {
                Ok(found) => {
                    haproxy.log_answer(self.name());
                    haproxy.reset_differences();
                    self.loaded_state.mark_read(self.dest(output));
                    changed += found.changed;
                }
                // No HAProxy runs; the next one reads the file when it starts.
                Err(errors) if errors.iter().all(RuntimeError::is_absent) => {}
                Err(errors) if haproxy.may_reload_for(text) => {
                    haproxy.log_errors(self.name(), &errors);
                    return None;
                }
                Err(errors) => haproxy.log_still_differs(self.name(), self.dest(output), &errors),
            }
        }
        Some(changed)
    }

    /// The same right after a verified reload. An HAProxy that reads these files needs no change now, so any difference
    /// shows that it does not read them.
    pub(super) async fn reconcile_after_reload<'a>(
        &self,
        result: ReloadResult,
        is_first: bool,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) {
        if result != ReloadResult::Verified {
            return;
        }
        self.progress.enter(Step::Change);
        for (output, haproxy, text) in self.haproxies(live) {
            match haproxy.reconcile(text).await {
                Ok(found) => {
                    haproxy.log_answer(self.name());
                    haproxy.reset_differences();
                    self.loaded_state.mark_read(self.dest(output));
                    haproxy.warn_if_not_read(self.name(), self.dest(output), found.changed);
                }
                Err(errors) if is_first && errors.iter().all(RuntimeError::is_of_servers) => {
                    let reasons: Vec<String> = errors.iter().map(|error| chain(error)).collect();
                    haproxy.may_reload_for(text);
                    haproxy.suppress_still_differs();
                    self.loaded_state.mark_unread(self.dest(output));
                    self.warn_unread(&reasons.join("; "));
                }
                Err(errors) if errors.iter().all(RuntimeError::is_of_servers) => {
                    // Another reload would not settle it either.
                    haproxy.may_reload_for(text);
                    haproxy.log_still_differs(self.name(), self.dest(output), &errors);
                }
                // The socket does not answer; the next publish asks again.
                Err(_) => {}
            }
        }
    }

    /// The outputs that have HAProxies, with their texts.
    fn haproxies<'a>(
        &self,
        live: impl Iterator<Item = (usize, &'a str)>,
    ) -> impl Iterator<Item = (usize, &Haproxy, &'a str)> {
        live.filter_map(|(output, text)| Some((output, self.loaded.haproxies.get(output)?, text)))
    }

    fn name(&self) -> &str {
        &self.target().name
    }
}

/// The server changes; none if the change is a reload.
fn server_changes(change: Change) -> Vec<ServerChange> {
    match change {
        Change::Runtime(from_running) => from_running,
        Change::None | Change::Reload(_) => Vec::new(),
    }
}
