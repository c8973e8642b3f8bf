//! What a watcher says of itself: which revisions its proxies have in use, and when that is worth a write. Pure.
//!
//! The store counts revisions for each path that is followed (a scope). A target has applied a revision when its last good
//! publish was made from it, or when nothing that came since concerns the target. What is said of a path is the least that
//! the targets of this path have applied.
//!
//! Thousands of watchers that write at each change would be a load of their own. So a write comes at once only where
//! somebody may wait for it, when an instance has begun or ceased to drain, and this is in use; all else is gathered, and
//! written at most every [`GATHER`].
//!
//! How the targets stand is said along with that; what becomes wrong or right is said within [`SOON`].
//!
//! Old workers are counted some time after a publish, and from time to time while there are any; that is among what can
//! wait.
//!
//! What it orders has a deadline: a count here; a write in [`crate::model::lease`], which makes it again until it is
//! answered. Publishes are not ordered here, only heard of: each ends, since the schedule of its target has a deadline for it.

use std::time::{Duration, Instant};

use crate::model::backoff::Dice;
use crate::model::catalog::Changes;
use crate::model::key_tree::Tree;
use crate::model::target_status::{TargetStatus, is_alarm};
use crate::model::update::{Prefix, Revision, STATE};
use crate::model::watchers::{Applied, is_of_watcher};

/// What nobody waits for is said this late at the earliest, and half as much again at the latest, so that a fleet that
/// hears the same does not write at the same time.
const GATHER: Duration = Duration::from_secs(10);

/// What has become wrong or right is said within this time, and at a time of its own within it: a check that refuses the
/// newest data does so everywhere at once.
const SOON: Duration = Duration::from_secs(2);

/// Old workers are counted this long after a publish or the last count: most have gone by then, and how many are left is
/// known when what was gathered is said.
const COUNT: Duration = Duration::from_secs(5);

/// A count that has not come by then is not waited for any more, and made again: longer than some dozens of proxies take
/// that do not answer.
const COUNT_WITHIN: Duration = Duration::from_mins(5);

/// How much an update matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpdateKind {
    /// Nothing but entries of watchers.
    Own,
    /// Nothing has changed but the revision.
    Nothing,
    Ordinary,
    /// An instance has begun or ceased to drain.
    Drain,
}

impl UpdateKind {
    /// That of changes, of which `tree` is the outcome.
    pub(crate) fn from_changes(changes: &Changes, tree: &Tree) -> Self {
        let drains = |key: &str| {
            let dir = key.strip_suffix(STATE)?.strip_suffix('/')?;
            // One that is gone has nobody to wait for it.
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

/// A path that is followed.
#[derive(Debug, Clone, Default)]
struct Scope {
    /// The revision of its last update.
    heard: Option<Revision>,
    /// The last change there was of a drain: what comes after it without a change is a part of it.
    is_urgent: bool,
}

/// One target.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// What it serves, in which scope that lies, and what is in use of it.
    paths: Vec<(Prefix, usize, Revision)>,
    /// What has come since the last publish began.
    pending: Option<Pending>,
    /// What the publish that is under way is made from.
    publishing: Option<Publishing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Ordinary,
    Drain,
}

#[derive(Debug, PartialEq, Eq)]
struct Publishing {
    heard: Vec<Revision>,
    pending: Option<Pending>,
}

impl Target {
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

    /// Whether a drain has come that is not in use.
    fn is_waited_for(&self) -> bool {
        let publishing = self.publishing.as_ref().and_then(|one| one.pending);
        self.pending.max(publishing) == Some(Pending::Drain)
    }

    /// Whether all that has come is in use.
    fn is_up_to_date(&self) -> bool {
        self.pending.is_none() && self.publishing.is_none()
    }
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryContent {
    pub(crate) applied: Applied,
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
    /// There are none, and nothing has happened since that was seen.
    None,
    At(Instant),
    /// They are being counted; `again`: something has happened meanwhile.
    UnderWay {
        again: bool,
        until: Instant,
    },
}

/// The machine.
#[derive(Debug)]
pub(crate) struct AppliedRevisions {
    scopes: Vec<Scope>,
    targets: Vec<Target>,
    /// As of the last count.
    old_workers: usize,
    status: Status,
    count: Count,
    /// How often they have been counted, or should have been.
    counts: u64,
    /// What was said last.
    said: Option<EntryContent>,
    /// When to say what there is to say.
    due: Option<Instant>,
    dice: Dice,
}

impl AppliedRevisions {
    /// Targets and the paths they serve; `seed` decides when what can wait is said.
    pub(crate) fn new(scopes: &[Prefix], targets: &[&[Prefix]], seed: u64) -> Self {
        let mut machine = Self {
            scopes: Vec::new(),
            targets: Vec::new(),
            old_workers: 0,
            status: Status::default(),
            count: Count::None,
            counts: 0,
            said: None,
            due: None,
            dice: Dice::new(seed),
        };
        machine.replace(scopes, targets, false);
        machine
    }

    /// From now on it is these; `goes_on`: the scopes are the same, and what was heard of them still holds.
    pub(crate) fn replace(&mut self, scopes: &[Prefix], targets: &[&[Prefix]], goes_on: bool) {
        if !goes_on {
            self.scopes = vec![Scope::default(); scopes.len()];
        }
        let scope = |path: &Prefix| scopes.iter().position(|scope| scope.covers(path.as_str()));
        let old = std::mem::take(&mut self.targets);
        let target = |paths: &&[Prefix]| {
            // Somebody may wait for what was about to be published.
            let shares = |one: &&Target| one.paths.iter().any(|(path, ..)| paths.contains(path));
            let is_urgent = old.iter().filter(shares).any(Target::is_waited_for);
            // Nothing is in use of it as far as is known, unless it was served by the same before.
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

    /// The store has said something about a scope, which concerns these targets.
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
            UpdateKind::Own => return,
            UpdateKind::Nothing => None,
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

    /// The targets stand so from now on.
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

    /// A publish of this target begins.
    pub(crate) fn publish_started(&mut self, target: usize) {
        let target = &mut self.targets[target];
        target.publishing = Some(Publishing {
            heard: target.heard_revisions(&self.scopes),
            pending: target.pending.take(),
        });
    }

    /// It has ended.
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
            // It is still to come, whatever it was.
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
        // Whoever has asked since we came up waits for this.
        let is_first = target.paths.iter().any(|p| p.2 == Revision::default());
        target.set_applied(&applied);
        self.schedule_write(
            now,
            haste(is_first || publishing.pending == Some(Pending::Drain)),
        );
    }

    fn schedule_write(&mut self, now: Instant, haste: Haste) {
        let at = match haste {
            _ if self.said.is_none() => now,
            Haste::AtOnce => now,
            Haste::Soon => now + SOON.mul_f64(self.dice.chance()),
            Haste::Gathered if self.due.is_some() => return,
            Haste::Gathered => now + GATHER.mul_f64(1.0 + self.dice.chance() / 2.0),
        };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When [`AppliedRevisions::take_due_entry`] may have something to say, or old workers are to be counted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let count = match self.count {
            Count::At(at) | Count::UnderWay { until: at, .. } => Some(at),
            Count::None => None,
        };
        self.write_at().into_iter().chain(count).min()
    }

    fn write_at(&self) -> Option<Instant> {
        self.due.filter(|_| self.is_complete())
    }

    /// If old workers are to be counted now: the number of this count. A count of before has not come, and never does.
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

    /// The count of this number has found so many old workers. It counts only if no other one has begun since.
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

    fn is_complete(&self) -> bool {
        self.scopes.iter().all(|scope| scope.heard.is_some())
    }

    /// What is in use, if that is to be said now and is news.
    pub(crate) fn take_due_entry(&mut self, now: Instant) -> Option<EntryContent> {
        if self.write_at().is_none_or(|at| now < at) {
            return None;
        }
        self.due = None;
        let say = EntryContent {
            applied: self.applied(),
            old_workers: self.old_workers,
            status: self.status.clone(),
        };
        if self.said.as_ref() == Some(&say) {
            return None;
        }
        self.said = Some(say.clone());
        Some(say)
    }

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
