//! Decides which applied revisions a watcher reports, and when that is worth a write. Pure.
//!
//! Each followed path (a scope) has its own revision of the store. A target has applied a revision when its last good
//! publish was made from it, or when nothing that came since concerns the target. The entry says of a path the lowest
//! revision that the targets of this path have applied.
//!
//! Thousands of watchers that write at each change would be a load of their own. So a watcher writes at once only where
//! somebody may wait for that: when an instance has begun or ceased to drain, and the proxies have this in use. It
//! gathers everything else and writes it at most every [`GATHER`].
//!
//! The entry also says how the targets stand; when one begins to fail or recovers, the entry says so within [`SOON`].
//!
//! Old workers are counted [`COUNT`] after a publish, and again as long as there are any; nobody waits for their
//! number.
//!
//! What the machine asks for has a deadline: a count has one here; a write has one in [`crate::model::lease`], which
//! repeats it until the store answers. The machine orders no publishes; it takes in their beginnings and ends. Each ends,
//! since the schedule of its target has a deadline for it.

use std::time::{Duration, Instant};

use crate::model::backoff::Dice;
use crate::model::catalog::Changes;
use crate::model::key_tree::Tree;
use crate::model::prefix::Prefix;
use crate::model::state_change::STATE;
use crate::model::target_status::{TargetStatus, is_alarm};
use crate::model::update::Revision;
use crate::model::watcher_entry::{Applied, is_of_watcher};

/// How long the machine gathers what nobody waits for: between this and one and a half times this, at random, so that
/// watchers that hear the same change do not write at the same time.
const GATHER: Duration = Duration::from_secs(10);

/// The longest time until the entry says that something has begun to fail or has recovered. Each watcher writes at a
/// random time within it, since a check that refuses the newest data does so everywhere at once.
const SOON: Duration = Duration::from_secs(2);

/// How long after a publish, or after the last count, old workers are counted. Most of them have ended by then, and the
/// number is known before the gathered entry is written.
const COUNT: Duration = Duration::from_secs(5);

/// How long a count may take before the machine asks for a new one. It is longer than some dozens of proxies take that
/// do not answer (ten seconds each).
const COUNT_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What an update of the store is about, and so whether somebody may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpdateKind {
    /// Nothing has changed but entries of watchers, ours among them.
    Own,
    /// Nothing has changed but the revision.
    Nothing,
    /// Something else than a drain has changed.
    Ordinary,
    /// An instance has begun or ceased to drain.
    Drain,
}

impl UpdateKind {
    /// The kind of an update that made these changes. `tree` holds all keys after the update.
    pub(crate) fn from_changes(changes: &Changes, tree: &Tree) -> Self {
        let drains = |key: &str| {
            let dir = key.strip_suffix(STATE)?.strip_suffix('/')?;
            // Nobody waits for an instance that is gone.
            tree.get(&format!("{dir}/ip"))
        };
        let mut keys = changes.keys.iter();
        if keys.len() == 0 {
            Self::Nothing
        } else if keys.clone().all(|key| is_of_watcher(key)) {
            Self::Own
        } else if keys.any(|key| drains(key).is_some()) {
            Self::Drain
        } else {
            Self::Ordinary
        }
    }
}

/// What has been heard of one followed path.
#[derive(Debug, Clone, Default)]
struct Scope {
    /// The revision of its last update; `None` before the first one.
    heard: Option<Revision>,
    /// Whether its last change was a drain. An update without a change that follows it belongs to the drain, so
    /// somebody may wait for its revision.
    is_urgent: bool,
}

/// What one target serves, and what its proxies have in use of it.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// The paths that it serves, each with its scope and with the applied revision (0 if none is known).
    paths: Vec<(Prefix, usize, Revision)>,
    /// What has come since the last publish began, and still has to be published.
    pending: Option<Pending>,
    /// The publish that is under way.
    publishing: Option<Publishing>,
}

/// What still has to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Ordinary,
    Drain,
}

/// What a publish is made from.
#[derive(Debug, PartialEq, Eq)]
struct Publishing {
    /// The last revision of each path of the target when the publish began.
    heard: Vec<Revision>,
    /// The change that it publishes.
    pending: Option<Pending>,
}

impl Target {
    /// The last revision that the store has sent of each path of this target.
    fn heard_revisions(&self, scopes: &[Scope]) -> Vec<Revision> {
        let paths = self.paths.iter();
        let heard = paths.map(|(_, scope, _)| scopes[*scope].heard.unwrap_or_default());
        heard.collect()
    }

    fn set_applied(&mut self, revisions: &[Revision]) {
        for ((_, _, applied), revision) in self.paths.iter_mut().zip(revisions) {
            *applied = *revision;
        }
    }

    /// Whether a drain has come that the proxies do not have in use yet.
    fn is_waited_for(&self) -> bool {
        let publishing = self.publishing.as_ref().and_then(|one| one.pending);
        self.pending.max(publishing) == Some(Pending::Drain)
    }

    /// Whether the proxies have everything in use that has come.
    fn is_up_to_date(&self) -> bool {
        self.pending.is_none() && self.publishing.is_none()
    }
}

/// What the entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryContent {
    pub(crate) applied: Applied,
    /// How many old workers the proxies of all targets have.
    pub(crate) old_workers: usize,
    pub(crate) status: Status,
}

/// How the targets stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Status {
    pub(crate) targets: Vec<TargetStatus>,
    /// What is wrong with the configuration as a whole.
    pub(crate) config: Option<String>,
}

/// How soon something is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Haste {
    /// Somebody may wait for it.
    AtOnce,
    /// Something has become wrong or right.
    Soon,
    /// Nobody waits for it.
    Gathered,
}

fn haste(is_waited_for: bool) -> Haste {
    if is_waited_for {
        Haste::AtOnce
    } else {
        Haste::Gathered
    }
}

/// When old workers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    /// The last count found none, and no publish has ended since.
    None,
    At(Instant),
    /// A count is under way, and may take until `until`. `again`: a publish has ended meanwhile, so another count
    /// follows.
    UnderWay {
        again: bool,
        until: Instant,
    },
}

/// The applied revisions of all targets of this process.
#[derive(Debug)]
pub(crate) struct AppliedRevisions {
    scopes: Vec<Scope>,
    targets: Vec<Target>,
    /// The result of the last count.
    old_workers: usize,
    status: Status,
    count: Count,
    /// The number of the last count that was asked for; the result of an earlier one is ignored.
    counts: u64,
    /// The entry as it was written last; `None` before the first write.
    written: Option<EntryContent>,
    /// When to write the entry, if it has changed; `None` if nothing has happened.
    due: Option<Instant>,
    dice: Dice,
}

impl AppliedRevisions {
    /// `scopes` are the followed paths, `targets` the paths that each target serves. `seed` is for the random part of
    /// [`GATHER`].
    pub(crate) fn new(scopes: &[Prefix], targets: &[&[Prefix]], seed: u64) -> Self {
        let mut machine = Self {
            scopes: Vec::new(),
            targets: Vec::new(),
            old_workers: 0,
            status: Status::default(),
            count: Count::None,
            counts: 0,
            written: None,
            due: None,
            dice: Dice::new(seed),
        };
        machine.replace(scopes, targets, false);
        machine
    }

    /// Replaces the scopes and targets after a config reload. `goes_on`: the scopes are the same as before, so what was
    /// heard of them still holds.
    pub(crate) fn replace(&mut self, scopes: &[Prefix], targets: &[&[Prefix]], goes_on: bool) {
        if !goes_on {
            self.scopes = vec![Scope::default(); scopes.len()];
        }
        let scope = |path: &Prefix| scopes.iter().position(|scope| scope.covers(path.as_str()));
        let old = std::mem::take(&mut self.targets);
        let target = |paths: &&[Prefix]| {
            // A drain that an old target was about to publish is now up to the targets that share a path with it.
            let shares = |one: &&Target| one.paths.iter().any(|(path, ..)| paths.contains(path));
            let is_urgent = old.iter().filter(shares).any(Target::is_waited_for);
            // The applied revision of a path is unknown, unless a target served the same path before.
            let paths = paths.iter().filter_map(|path| {
                let before = old.iter().filter(|_| goes_on);
                let before = before.flat_map(|one| &one.paths).filter(|p| p.0 == *path);
                let applied = before.map(|(_, _, applied)| *applied).min();
                Some((path.clone(), scope(path)?, applied.unwrap_or_default()))
            });
            Target {
                paths: paths.collect(),
                pending: Some(if is_urgent {
                    Pending::Drain
                } else {
                    Pending::Ordinary
                }),
                publishing: None,
            }
        };
        self.targets = targets.iter().map(target).collect();
    }

    /// The entry goes to another store from now on, which has sent nothing yet.
    pub(crate) fn move_to_other_store(&mut self, scopes: &[Prefix], targets: &[&[Prefix]]) {
        self.replace(scopes, targets, false);
        (self.written, self.due) = (None, None);
    }

    /// The store has sent an update of a scope. `concerned` says whether it changes something for a target, which is
    /// given by its number.
    pub(crate) fn store_updated(
        &mut self,
        now: Instant,
        scope: usize,
        revision: Revision,
        kind: UpdateKind,
        concerned: impl Fn(usize) -> bool,
    ) {
        let heard = &mut self.scopes[scope];
        let pending = match kind {
            UpdateKind::Own if heard.heard.is_some() => return,
            UpdateKind::Own | UpdateKind::Nothing => None,
            UpdateKind::Ordinary => Some(Pending::Ordinary),
            UpdateKind::Drain => Some(Pending::Drain),
        };
        heard.is_urgent = pending.map_or(heard.is_urgent, |pending| pending == Pending::Drain);
        heard.heard = Some(revision);
        let is_urgent = heard.is_urgent;
        for (number, target) in self.targets.iter_mut().enumerate() {
            if pending.is_some() && concerned(number) {
                target.pending = target.pending.max(pending);
            } else if target.is_up_to_date() {
                let heard = target.heard_revisions(&self.scopes);
                target.set_applied(&heard);
            }
        }
        self.schedule_write(now, haste(is_urgent));
    }

    /// The targets stand so from now on; the entry says it with its next write.
    pub(crate) fn set_status(&mut self, now: Instant, status: Status) {
        if self.status == status {
            return;
        }
        let is_alarm =
            self.status.config != status.config || is_alarm(&self.status.targets, &status.targets);
        self.status = status;
        self.schedule_write(
            now,
            if is_alarm {
                Haste::Soon
            } else {
                Haste::Gathered
            },
        );
    }

    /// A publish of this target begins: it is made from all that has come so far.
    pub(crate) fn publish_started(&mut self, target: usize) {
        let target = &mut self.targets[target];
        target.publishing = Some(Publishing {
            heard: target.heard_revisions(&self.scopes),
            pending: target.pending.take(),
        });
    }

    /// The publish of this target has ended. `good`: the proxies have its files in use.
    pub(crate) fn publish_ended(&mut self, now: Instant, target: usize, good: bool) {
        self.count = match self.count {
            Count::None => Count::At(now + COUNT),
            Count::At(at) => Count::At(at),
            Count::UnderWay { until, .. } => Count::UnderWay { again: true, until },
        };
        let target = &mut self.targets[target];
        let Some(publishing) = target.publishing.take() else {
            return;
        };
        if !good {
            // What it was to publish is still to be published.
            target.pending = target
                .pending
                .max(publishing.pending)
                .or(Some(Pending::Ordinary));
            return;
        }
        let applied = match target.pending {
            Some(_) => publishing.heard,
            None => target.heard_revisions(&self.scopes),
        };
        // Somebody may wait since this process started: its entry says nothing of these paths until now.
        let is_first = target.paths.iter().any(|p| p.2 == Revision::default());
        target.set_applied(&applied);
        self.schedule_write(
            now,
            haste(is_first || publishing.pending == Some(Pending::Drain)),
        );
    }

    pub(crate) fn old_workers(&self) -> usize {
        self.old_workers
    }

    /// Sets the time of the next write, or brings it forward. The first write is due at once.
    fn schedule_write(&mut self, now: Instant, haste: Haste) {
        let at = match haste {
            _ if self.written.is_none() => now,
            Haste::AtOnce => now,
            Haste::Soon => now + SOON.mul_f64(self.dice.chance()),
            Haste::Gathered if self.due.is_some() => return,
            Haste::Gathered => now + GATHER.mul_f64(1.0 + self.dice.chance() / 2.0),
        };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When [`AppliedRevisions::take_due_entry`] or [`AppliedRevisions::begin_due_count`] may have something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let count = match self.count {
            Count::At(at) | Count::UnderWay { until: at, .. } => Some(at),
            Count::None => None,
        };
        self.write_at().into_iter().chain(count).min()
    }

    /// When the next write is due. Nothing is written before the store has sent every scope.
    fn write_at(&self) -> Option<Instant> {
        self.due.filter(|_| self.is_complete())
    }

    /// If old workers are to be counted now: the number of the new count. The caller has to end a count that is still
    /// under way.
    pub(crate) fn begin_due_count(&mut self, now: Instant) -> Option<u64> {
        let is_due = match self.count {
            Count::At(at) | Count::UnderWay { until: at, .. } => now >= at,
            Count::None => false,
        };
        is_due.then(|| {
            let until = now + COUNT_WITHIN;
            self.count = Count::UnderWay {
                again: false,
                until,
            };
            self.counts += 1;
            self.counts
        })
    }

    /// The count with this number has found so many old workers. The result is ignored if another count has begun
    /// since.
    pub(crate) fn count_ended(&mut self, now: Instant, number: u64, old_workers: usize) {
        let Count::UnderWay { again, .. } = self.count else {
            return;
        };
        if number != self.counts {
            return;
        }
        self.count = if again || old_workers > 0 {
            Count::At(now + COUNT)
        } else {
            Count::None
        };
        if std::mem::replace(&mut self.old_workers, old_workers) != old_workers {
            self.schedule_write(now, Haste::Gathered);
        }
    }

    /// Whether the store has sent every scope.
    fn is_complete(&self) -> bool {
        self.scopes.iter().all(|scope| scope.heard.is_some())
    }

    /// The new content of the entry, if a write is due and the content has changed since the last one.
    pub(crate) fn take_due_entry(&mut self, now: Instant) -> Option<EntryContent> {
        if self.write_at().is_none_or(|at| now < at) {
            return None;
        }
        self.due = None;
        let entry = EntryContent {
            applied: self.applied(),
            old_workers: self.old_workers,
            status: self.status.clone(),
        };
        if self.written.as_ref() == Some(&entry) {
            return None;
        }
        self.written = Some(entry.clone());
        Some(entry)
    }

    /// For each path the lowest revision that the targets of this path have applied.
    fn applied(&self) -> Applied {
        let mut all = Applied::new();
        for (path, _, applied) in self.targets.iter().flat_map(|target| &target.paths) {
            let least = all.entry(path.clone()).or_insert(*applied);
            *least = (*least).min(*applied);
        }
        all
    }
}

#[cfg(test)]
mod tests;
