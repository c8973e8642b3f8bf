//! One target and where it stands: what it follows, when it is published, and what became of that. Shell.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use similar::TextDiff;
use tokio::task::{AbortHandle, Id};
use tracing::{debug, error, info, warn};

use super::load::Loaded;
use super::publish::{Difference, End, Has, Progress, PublishError, Published};
use super::render::View;
use super::schedule::{Input, Outcome, Schedule};
use super::world::WORLD;
use crate::config::{Output, Sources};
use crate::model::catalog::{Catalog, Changes};
use crate::model::report::chain;
use crate::model::update::Prefix;
use crate::model::watchers::is_of_watcher;
use crate::system::file::How;

/// A publish that has ended.
pub(super) struct Done {
    pub(super) target: usize,
    pub(super) end: End,
    pub(super) took: Duration,
}

/// How the last publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Good,
    Pending,
    Failed,
}

pub(super) struct Kept {
    pub(super) loaded: Arc<Loaded>,
    /// What it follows, as paths.
    pub(super) paths: Vec<Prefix>,
    pub(super) schedule: Schedule,
    pub(super) last: Option<Ended>,
    /// The publish that is under way, and how far it has come.
    running: Option<(AbortHandle, Arc<Progress>)>,
    /// What the running `HAProxies` have, by the last publish.
    has: Has,
    /// It has been told that the file cannot be replaced.
    in_place: bool,
    /// What failed last, and how often in a row: the same is told once.
    trouble: Option<(String, usize)>,
    /// Contradictions between announcements that the log has named.
    disputes: BTreeSet<String>,
}

impl Kept {
    pub(super) fn new(loaded: Loaded, prefix: &Prefix) -> Self {
        let paths = paths(&loaded, prefix);
        Self {
            schedule: Schedule::new(
                loaded.target.pace,
                loaded.haproxies.are_there(),
                fastrand::u64(..),
            ),
            loaded: Arc::new(loaded),
            paths,
            last: None,
            running: None,
            has: Has::Live,
            in_place: false,
            trouble: None,
            disputes: BTreeSet::new(),
        }
    }

    /// Nothing is under way any more, whatever was about to be.
    pub(super) fn rest(&mut self) {
        self.schedule = self.schedule.renewed();
    }

    pub(super) fn concerns(&self, changes: &Changes) -> bool {
        let followed = |key: &str| self.paths.iter().any(|path| path.covers(key));
        let is_news = |key: &str| !is_of_watcher(key);
        changes.keys.iter().any(|key| followed(key) && is_news(key))
    }

    /// What each of its templates sees.
    pub(super) fn views(
        &self,
        catalog: &Arc<Catalog>,
        env: &Arc<BTreeMap<String, String>>,
    ) -> Vec<View> {
        let view = |output: &Output| {
            let (services, keys) = match &output.sources {
                Sources::AllServices => (Vec::new(), vec![catalog.prefix().clone()]),
                Sources::Services(services) => (services.clone(), Vec::new()),
                Sources::Keys(keys) => (Vec::new(), keys.clone()),
            };
            View {
                target: self.loaded.target.name.clone(),
                catalog: Arc::clone(catalog),
                services,
                keys,
                root: output.root.clone(),
                env: Arc::clone(env),
                world: WORLD,
            }
        };
        self.loaded.target.outputs.iter().map(view).collect()
    }

    /// Its guard leaves the files as they are: the last good state, which is what a command can start with, but not what
    /// a single pass was asked for.
    pub(super) fn freeze(&mut self, has_failed: bool) {
        self.last = Some(if has_failed {
            Ended::Failed
        } else {
            Ended::Good
        });
    }

    /// What the running `HAProxies` have, for a publish to begin with. If it does not come to its end, the ledger knows.
    pub(super) fn has(&mut self) -> Has {
        std::mem::take(&mut self.has)
    }

    pub(super) fn started(&mut self, publish: AbortHandle, progress: Arc<Progress>) {
        self.running = Some((publish, progress));
    }

    /// Whether this is its publish.
    pub(super) fn runs(&self, id: Id) -> bool {
        self.running
            .as_ref()
            .is_some_and(|(publish, _)| publish.id() == id)
    }

    /// Ends a publish that has changed nothing yet. One that has swapped its file goes on to its reload.
    pub(super) fn give_up(&self) {
        if let Some((publish, progress)) = &self.running
            && !progress.has_begun()
        {
            publish.abort();
        }
    }

    /// Asks the publish that is under way to make way for newer data.
    pub(super) fn overtake(&self) {
        if let Some((_, progress)) = &self.running {
            progress.overtake();
        }
    }

    /// Takes in what became of a publish; what the schedule has to know of it.
    pub(super) fn done(&mut self, done: &Done, once: bool) -> Input {
        self.running = None;
        self.has = done.end.has.clone();
        let (ended, reloaded) = match &done.end.result {
            Ok(Published::Pending) => (Ended::Pending, false),
            Ok(Published::Swapped(_)) => (Ended::Good, self.loaded.target.reload.is_some()),
            Ok(Published::Live(_) | Published::Converged(_)) => (Ended::Good, false),
            // The files are as good as before, or right already; what they miss is told when it comes.
            Ok(Published::Held | Published::Repeated | Published::Overtaken) => {
                (self.last.unwrap_or(Ended::Pending), false)
            }
            Ok(Published::Reloaded | Published::Unread) => (Ended::Good, true),
            Ok(Published::Same) => (Ended::Good, false),
            Err(PublishError::Reload { .. }) => (Ended::Failed, true),
            Err(_) => (Ended::Failed, false),
        };
        if let Some(disputes) = &done.end.disputes {
            self.warn_of_disputes(disputes);
        }
        self.tell(done, once);
        match &done.end.result {
            Ok(Published::Held) => return Input::Held,
            Ok(Published::Repeated) => return Input::Repeated,
            Ok(Published::Overtaken) => return Input::Overtaken,
            Ok(_) | Err(_) => self.last = Some(ended),
        }
        let outcome = match &done.end.result {
            Ok(_) => Outcome::Good,
            Err(error) if error.is_refusal() => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        Input::Done { outcome, reloaded }
    }

    /// Names each contradiction once, and once more when it is settled.
    fn warn_of_disputes(&mut self, disputes: &BTreeSet<String>) {
        let name = &self.loaded.target.name;
        for new in disputes.difference(&self.disputes) {
            warn!("{name}: {new}");
        }
        for settled in self.disputes.difference(disputes) {
            info!("{name}: this is settled: {settled}");
        }
        self.disputes.clone_from(disputes);
    }

    fn tell(&mut self, done: &Done, once: bool) {
        let target = &self.loaded.target;
        let (name, ms) = (&target.name, done.took.as_millis());
        let dest = listed(target.outputs.iter().map(|output| output.dest.as_path()));
        let (is, has) = match target.outputs.len() {
            1 => ("is", "has"),
            _ => ("are", "have"),
        };
        let after = match self.trouble.as_ref().filter(|_| done.end.result.is_ok()) {
            Some((_, 1)) => ", after a failure".to_owned(),
            Some((_, times)) => format!(", after {times} failures"),
            None => String::new(),
        };
        match &done.end.result {
            Ok(Published::Same) if after.is_empty() => debug!("{name}: {dest} {is} right"),
            Ok(Published::Same) => info!("{name}: {dest} {is} right{after}"),
            Ok(Published::Pending) => info!("{name}: {dest} would change"),
            Ok(Published::Held) => {
                debug!("{name}: {dest} takes a reload, which waits for min_interval");
                return;
            }
            Ok(Published::Repeated) => {
                debug!("{name}: {dest} would be what was refused, which waits for its next try");
                return;
            }
            Ok(Published::Overtaken) => {
                debug!("{name}: HAProxy has been changed; the check made way for newer data");
                return;
            }
            Ok(Published::Converged(changes)) => {
                let servers = if *changes == 1 { "change" } else { "changes" };
                info!(
                    "{name}: HAProxy did not have the servers of {dest}: {changes} {servers} in {ms} ms{after}"
                );
            }
            Ok(Published::Swapped(changes) | Published::Live(changes)) => {
                let without = match &done.end.result {
                    Ok(Published::Live(_)) => ", without a reload",
                    Ok(_) | Err(_) => "",
                };
                let dest = listed(changes.iter().map(|change| change.dest.as_path()));
                let has = if changes.len() == 1 { "has" } else { has };
                info!("{name}: {dest} {has} been updated in {ms} ms{without}{after}");
                let written = changes.iter().find(|change| change.how == How::InPlace);
                if let Some(written) = written.filter(|_| !self.in_place) {
                    self.in_place = true;
                    let dest = written.dest.display();
                    info!(
                        "{name}: {dest} is a mount point, so it is written over instead of replaced; mount its directory to have it replaced at once"
                    );
                }
            }
            Ok(Published::Unread) => debug!("{name}: {dest} {is} still not read"),
            Ok(Published::Reloaded) => {
                info!("{name}: the reload that was owed has been made in {ms} ms{after}");
            }
            Err(error) => return self.trouble(chain(error), once),
        }
        self.trouble = None;
    }

    fn trouble(&mut self, text: String, once: bool) {
        let name = &self.loaded.target.name;
        match &mut self.trouble {
            Some((same, times)) if is_same_trouble(same, &text) => {
                *times += 1;
                debug!("{name}: {text}; {times} times now");
            }
            Some(_) | None => {
                let then = if once { "" } else { "; trying again" };
                error!("{name}: {text}{then}");
                self.trouble = Some((text, 1));
            }
        }
    }
}

/// Whether two failures read the same but for numbers in parentheses: so HAProxy names the process that has checked a
/// file. Any other number may be what is wrong: a line, a port, an instance.
fn is_same_trouble(one: &str, other: &str) -> bool {
    let mut pairs = one.split('(').zip(other.split('('));
    let is_same =
        |(one, other): (&str, &str)| one == other || after_number(one) == after_number(other);
    one.matches('(').count() == other.matches('(').count() && pairs.all(is_same)
}

/// What follows the number that fills the rest of a pair of parentheses; the whole text if there is none.
fn after_number(text: &str) -> &str {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.starts_with(')') { rest } else { text }
}

/// What a target follows, as paths.
pub(super) fn paths(loaded: &Loaded, prefix: &Prefix) -> Vec<Prefix> {
    let outputs = loaded.target.outputs.iter();
    outputs
        .flat_map(|output| followed(output, prefix))
        .collect()
}

/// What an output follows, as paths.
fn followed(output: &Output, prefix: &Prefix) -> Vec<Prefix> {
    match &output.sources {
        Sources::AllServices => vec![prefix.clone()],
        Sources::Services(services) => {
            let names = services.iter().map(|name| prefix.join(name.as_str()));
            names.collect()
        }
        Sources::Keys(keys) => keys.clone(),
    }
}

/// Paths as part of a sentence.
fn listed<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    match paths.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        other => other.concat(),
    }
}

/// Prints a unified diff.
pub(super) fn print(dest: &Path, difference: &Difference) {
    let before = String::from_utf8_lossy(&difference.before);
    let name = dest.display().to_string();
    let diff = TextDiff::from_lines(before.as_ref(), difference.after.as_str());
    let mut unified = diff.unified_diff();
    let text = unified.header(&name, &format!("{name} (new)")).to_string();
    // Nobody reads it any more: that is no reason to stop keeping files.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::is_same_trouble;

    #[test]
    fn a_failure_is_another_one_by_anything_but_the_process_that_tells_it() {
        let told = "[ALERT]    (9401) : line 5: unknown keyword 'x1' (a) (7)";
        for (other, same) in [
            (told, true),
            (
                "[ALERT]    (12) : line 5: unknown keyword 'x1' (a) (8)",
                true,
            ),
            (
                "[ALERT]    (9401) : line 6: unknown keyword 'x1' (a) (7)",
                false,
            ),
            (
                "[ALERT]    (9401) : line 5: unknown keyword 'x2' (a) (7)",
                false,
            ),
            (
                "[ALERT]    (9401) : line 5: unknown keyword 'x1' (b) (7)",
                false,
            ),
            (
                "[ALERT]    (9401) : line 5: unknown keyword 'x1' (a)",
                false,
            ),
            (
                "[ALERT]    (94b1) : line 5: unknown keyword 'x1' (a) (7)",
                false,
            ),
        ] {
            assert_eq!(is_same_trouble(told, other), same, "{other}");
        }
        assert!(!is_same_trouble("1) a", "2) b"));
    }
}
