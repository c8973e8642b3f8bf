//! What the dashboard knows: what the store says, and since when it has seen it so. The store itself has no times. Pure.
//!
//! Times are since the start of the dashboard, so that no clock that can be stepped is asked. What was there at the first
//! look has been there for at least as long as the dashboard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::instance_key::InstanceKey;
use super::journal::{Journal, Mood, tell};
use crate::model::catalog::Catalog;
use crate::model::instance::{Instance, ServiceName, State};
use crate::model::key_tree::Tree;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Update};
use crate::model::watchers::{self, Seen, Watcher, Watchers, seen_root};

/// How many lost instances are remembered, and for how long, to say which of them a guard may hold.
const LOST: usize = 5000;
const LOST_FOR: Duration = Duration::from_mins(30);

/// Which part of the store something is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// The instances.
    Instances,
    /// Those who watch.
    Watchers,
    /// Those who have watched.
    Seen,
}

/// What happens to the dashboard.
#[derive(Debug)]
pub(super) enum Input {
    /// The store said something.
    Update(Scope, Update),
    /// The store does not answer, and why.
    Outage(Scope, String),
    /// It answers again.
    Restored(Scope),
}

/// Since when something has been so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    /// When the dashboard saw it first.
    pub(super) at: Duration,
    /// Whether it began then; otherwise it may have been so before, when the dashboard did not look.
    pub(super) is_exact: bool,
    /// The revision that made it so, if that is known.
    pub(super) revision: Option<Revision>,
}

/// An instance that is gone, and was in service.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    /// When the dashboard saw it go.
    pub(super) at: Duration,
    /// What it was.
    pub(super) instance: Arc<Instance>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Memory {
    catalog: Catalog,
    watchers: Watchers,
    revision: Revision,
    seen: Tree,
    missing: BTreeMap<String, Seen>,
    scopes: BTreeMap<Scope, Heard>,
    came: BTreeMap<InstanceKey, Since>,
    changed: BTreeMap<InstanceKey, Since>,
    services: BTreeMap<ServiceName, Since>,
    lost: BTreeMap<InstanceKey, Lost>,
    watchers_went: BTreeMap<String, Duration>,
    watchers_came: BTreeMap<String, Since>,
    journal: Journal,
}

/// What is known of a part of the store.
#[derive(Debug, Default)]
struct Heard {
    /// Whether the store has said all of it once.
    is_complete: bool,
    outage: Option<Outage>,
}

/// The store does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    /// Since when.
    pub(super) at: Duration,
    /// What there is no news of, and why.
    pub(super) text: String,
}

impl Memory {
    /// Knows nothing yet of the instances below `prefix`.
    pub(super) fn new(prefix: Prefix) -> Self {
        Self {
            catalog: Catalog::new(prefix),
            watchers: Watchers::default(),
            revision: Revision::default(),
            seen: Tree::default(),
            missing: BTreeMap::new(),
            scopes: BTreeMap::new(),
            came: BTreeMap::new(),
            changed: BTreeMap::new(),
            services: BTreeMap::new(),
            lost: BTreeMap::new(),
            watchers_went: BTreeMap::new(),
            watchers_came: BTreeMap::new(),
            journal: Journal::default(),
        }
    }

    /// Takes in what happened.
    pub(super) fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Update(scope, update) => {
                // A store that was rebuilt begins at a lower revision.
                self.revision = match &update {
                    Update::Reset(snapshot) => snapshot.revision,
                    Update::Changed { revision, .. } => *revision.max(&self.revision),
                };
                let heard = self.scopes.entry(scope).or_default();
                let is_first = !std::mem::replace(&mut heard.is_complete, true);
                match scope {
                    Scope::Instances => self.instances(now, update, is_first),
                    Scope::Watchers => self.watching(now, update, is_first),
                    Scope::Seen => self.seen(update),
                }
                self.miss();
            }
            Input::Outage(scope, why) => {
                let text = match scope {
                    Scope::Instances => format!("The store does not answer: {why}"),
                    Scope::Watchers | Scope::Seen => format!("Who watches is not known: {why}"),
                };
                self.scopes.entry(scope).or_default().outage = Some(Outage { at: now, text });
            }
            Input::Restored(scope) => self.scopes.entry(scope).or_default().outage = None,
        }
        self.forget(now);
    }

    fn seen(&mut self, update: Update) {
        match update {
            Update::Reset(snapshot) => drop(self.seen.reset(&seen_root(), snapshot.entries)),
            Update::Changed { changes, .. } => drop(self.seen.apply(changes)),
        }
    }

    /// Finds out who is missing, once it is known who is there.
    fn miss(&mut self) {
        let knows = |scope| {
            self.scopes
                .get(&scope)
                .is_some_and(|heard| heard.is_complete)
        };
        if knows(Scope::Watchers) && knows(Scope::Seen) {
            self.missing = watchers::missing(self.seen.under(&seen_root()), &self.watchers);
        }
        let missing = &self.missing;
        self.watchers_went.retain(|id, _| missing.contains_key(id));
    }

    fn instances(&mut self, now: Duration, update: Update, is_first: bool) {
        let is_reset = matches!(update, Update::Reset(_));
        let revision = update.revision();
        let prefix = self.catalog.prefix().clone();
        let changes = self.catalog.apply(&prefix, update);
        let since = Since {
            at: now,
            is_exact: !is_reset,
            revision: (!is_reset).then_some(revision),
        };
        for change in changes.instances {
            let key = InstanceKey::of(&change);
            if !is_first {
                let (mood, text) = tell(&change);
                self.journal.write(now, &key.item(), mood, text);
            }
            self.services.insert(key.service.clone(), since);
            match (change.before, change.now) {
                (None, _) => {
                    self.lost.remove(&key);
                    self.changed.insert(key.clone(), since);
                    self.came.insert(key, since);
                }
                (Some(_), Some(_)) => drop(self.changed.insert(key, since)),
                (Some(instance), None) => {
                    self.came.remove(&key);
                    self.changed.remove(&key);
                    if instance.state == State::Up {
                        self.lost.insert(key, Lost { at: now, instance });
                    }
                }
            }
        }
        for (dir, error) in changes.skipped.into_iter().filter(|_| !is_first) {
            let text = format!("{dir} breaks a rule and is left out: {error}");
            let item = format!("skipped:{dir}");
            self.journal.write(now, &item, Mood::Bad, text);
        }
    }

    fn watching(&mut self, now: Duration, update: Update, is_first: bool) {
        let is_reset = matches!(update, Update::Reset(_));
        let before = self.watchers.clone();
        self.watchers.apply(update);
        let since = Since {
            at: now,
            is_exact: !is_reset,
            revision: None,
        };
        let gone: Vec<(String, Watcher)> = before
            .iter()
            .filter(|(id, _)| self.watchers.get(id).is_none())
            .map(|(id, one)| (id.to_owned(), one.clone()))
            .collect();
        for (id, watcher) in gone {
            let item = format!("watcher:{id}");
            let text = format!("the watcher {id} on {} is gone", watcher.host);
            self.journal.write(now, &item, Mood::Bad, text);
            self.watchers_came.remove(&id);
            self.watchers_went.insert(id, now);
        }
        let new: Vec<(String, String)> = self
            .watchers
            .iter()
            .filter(|(id, _)| !self.watchers_came.contains_key(*id))
            .map(|(id, one)| (id.to_owned(), one.host.clone()))
            .collect();
        for (id, host) in new {
            if !is_first {
                let text = format!("a watcher has come on {host}: {id}");
                let item = format!("watcher:{id}");
                self.journal.write(now, &item, Mood::Good, text);
            }
            self.watchers_came.insert(id, since);
        }
    }

    /// Lets go what nobody needs any more.
    fn forget(&mut self, now: Duration) {
        self.lost
            .retain(|_, lost| now.saturating_sub(lost.at) < LOST_FOR);
        while self.lost.len() > LOST {
            self.lost.pop_first();
        }
        let known = self.catalog.services();
        self.services
            .retain(|service, _| known.contains_key(service));
    }

    /// The time passes.
    pub(super) fn tick(&mut self, now: Duration) {
        self.forget(now);
    }

    /// Whether the store has said all of it once.
    pub(super) fn is_complete(&self) -> bool {
        let needed = [Scope::Instances, Scope::Watchers];
        needed.iter().all(|scope| {
            self.scopes
                .get(scope)
                .is_some_and(|heard| heard.is_complete)
        })
    }

    /// The outage, if there is one; that of the instances first.
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.scopes.values().find_map(|heard| heard.outage.as_ref())
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(super) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// When an instance came.
    pub(super) fn came(&self, key: &InstanceKey) -> Option<Since> {
        self.came.get(key).copied()
    }

    /// When an instance last changed.
    pub(super) fn changed(&self, key: &InstanceKey) -> Option<Since> {
        self.changed.get(key).copied()
    }

    /// When something last changed in a service.
    pub(super) fn service_changed(&self, service: &ServiceName) -> Option<Since> {
        self.services.get(service).copied()
    }

    /// When a watcher came.
    pub(super) fn watcher_came(&self, id: &str) -> Option<Since> {
        self.watchers_came.get(id).copied()
    }

    /// Those who are gone without having stopped in order.
    pub(super) fn missing_watchers(&self) -> &BTreeMap<String, Seen> {
        &self.missing
    }

    /// When one of them went, if the dashboard has seen that.
    pub(super) fn watcher_went(&self, id: &str) -> Option<Duration> {
        self.watchers_went.get(id).copied()
    }

    /// Those who are gone without having stopped in order, and when they went, if the dashboard has seen that.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&str, &Seen, Option<Duration>)> {
        let missing = self.missing.iter();
        missing.map(|(id, seen)| (id.as_str(), seen, self.watchers_went.get(id).copied()))
    }

    /// The instances of a service that are gone and were in service.
    pub(super) fn lost(&self, service: &str) -> impl Iterator<Item = (&InstanceKey, &Lost)> {
        let lost = self.lost.iter();
        lost.filter(move |(key, _)| key.service.as_str() == service)
    }
}
