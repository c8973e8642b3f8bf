//! The memory of the dashboard: the content of the store, and the times at which the dashboard saw it change, since the store
//! itself has no times. Pure.
//!
//! Times count from the start of the dashboard, so that a step of the system's clock does not matter. Entries that were there
//! at the start may be older than the dashboard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::instance_key::InstanceKey;
use super::journal::{Journal, Mood, describe};
use crate::model::catalog::Catalog;
use crate::model::instance::{Instance, ServiceName, State};
use crate::model::key_tree::Tree;
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Update};
use crate::model::watcher_entry::{self, Seen, Watcher, Watchers, seen_root};

/// How many lost instances are remembered, and for how long, to show which of them a guard may hold.
const MAX_LOST: usize = 5000;
const LOST_FOR: Duration = Duration::from_secs(30 * 60);

/// The parts of the store that the dashboard follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// The instances.
    Instances,
    /// The entries of running watchers.
    Watchers,
    /// The entries that outlive watchers.
    Seen,
}

/// What happens to the dashboard.
#[derive(Debug)]
pub(super) enum Input {
    /// The store has sent an update.
    Update(Scope, Update),
    /// The store does not answer, for this reason.
    Outage(Scope, String),
    /// The store answers again.
    Restored(Scope),
}

/// The time since which something has been as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    /// The time at which the dashboard saw it first.
    pub(super) at: Duration,
    /// Whether it began then; otherwise it may have begun earlier, while the dashboard did not watch.
    pub(super) is_exact: bool,
    /// The revision of the change, if it is known.
    pub(super) revision: Option<Revision>,
}

/// An instance that is gone without a drain.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    /// The time at which the dashboard saw it go.
    pub(super) at: Duration,
    /// The instance before it went.
    pub(super) instance: Arc<Instance>,
}

/// The memory of the dashboard.
#[derive(Debug)]
pub(super) struct Memory {
    catalog: Catalog,
    watchers: Watchers,
    revision: Revision,
    seen: Tree,
    missing: BTreeMap<String, Seen>,
    scopes: BTreeMap<Scope, ScopeState>,
    came: BTreeMap<InstanceKey, Since>,
    changed: BTreeMap<InstanceKey, Since>,
    services: BTreeMap<ServiceName, Since>,
    lost: BTreeMap<InstanceKey, Lost>,
    watchers_went: BTreeMap<String, Duration>,
    watchers_came: BTreeMap<String, Since>,
    journal: Journal,
}

/// The state of the connection for a part of the store.
#[derive(Debug, Default)]
struct ScopeState {
    /// Whether the store has sent all of it once.
    is_complete: bool,
    outage: Option<Outage>,
}

/// An outage of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    /// Its beginning.
    pub(super) at: Duration,
    /// Which part of the store is not known any more, and why.
    pub(super) text: String,
}

impl Memory {
    /// An empty memory for the instances below `prefix`.
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

    /// Applies an input.
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
                    Scope::Instances => self.update_instances(now, update, is_first),
                    Scope::Watchers => self.update_watchers(now, update, is_first),
                    Scope::Seen => self.update_seen(update),
                }
                self.update_missing();
            }
            Input::Outage(scope, why) => {
                let text = match scope {
                    Scope::Instances => format!("The store does not answer: {why}"),
                    Scope::Watchers | Scope::Seen => format!("The watchers are not known: {why}"),
                };
                self.scopes.entry(scope).or_default().outage = Some(Outage { at: now, text });
            }
            Input::Restored(scope) => self.scopes.entry(scope).or_default().outage = None,
        }
        self.forget(now);
    }

    fn update_seen(&mut self, update: Update) {
        match update {
            Update::Reset(snapshot) => drop(self.seen.reset(&seen_root(), snapshot.entries)),
            Update::Changed { changes, .. } => drop(self.seen.apply(changes)),
        }
    }

    /// Determines the missing watchers, once both lists are complete.
    fn update_missing(&mut self) {
        let knows = |scope| {
            self.scopes
                .get(&scope)
                .is_some_and(|heard| heard.is_complete)
        };
        if knows(Scope::Watchers) && knows(Scope::Seen) {
            let root = seen_root();
            let seen = self.seen.under(&root);
            let seen = seen.map(|(key, value)| (key.to_key(), value));
            self.missing = watcher_entry::missing(seen, &self.watchers);
        }
        let missing = &self.missing;
        self.watchers_went.retain(|id, _| missing.contains_key(id));
    }

    fn update_instances(&mut self, now: Duration, update: Update, is_first: bool) {
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
                let (mood, text) = describe(&change);
                self.journal.add(now, &key.item(), mood, text);
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
            let text = format!("{dir} is invalid and is left out: {error}");
            let item = format!("skipped:{dir}");
            self.journal.add(now, &item, Mood::Bad, text);
        }
    }

    fn update_watchers(&mut self, now: Duration, update: Update, is_first: bool) {
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
            self.journal.add(now, &item, Mood::Bad, text);
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
                self.journal.add(now, &item, Mood::Good, text);
            }
            self.watchers_came.insert(id, since);
        }
    }

    /// Forgets old lost instances, and services that are gone.
    fn forget(&mut self, now: Duration) {
        self.lost
            .retain(|_, lost| now.saturating_sub(lost.at) < LOST_FOR);
        while self.lost.len() > MAX_LOST {
            self.lost.pop_first();
        }
        let known = self.catalog.services();
        self.services
            .retain(|service, _| known.contains_key(service));
    }

    /// Tells the memory the time when nothing else happens.
    pub(super) fn tick(&mut self, now: Duration) {
        self.forget(now);
    }

    /// Whether the store has sent all instances and watchers once.
    pub(super) fn is_complete(&self) -> bool {
        let needed = [Scope::Instances, Scope::Watchers];
        needed.iter().all(|scope| {
            self.scopes
                .get(scope)
                .is_some_and(|heard| heard.is_complete)
        })
    }

    /// The outage, if there is one; an outage of the instances first.
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

    /// The time at which an instance came.
    pub(super) fn came(&self, key: &InstanceKey) -> Option<Since> {
        self.came.get(key).copied()
    }

    /// The time of the last change of an instance.
    pub(super) fn changed(&self, key: &InstanceKey) -> Option<Since> {
        self.changed.get(key).copied()
    }

    /// The time of the last change in a service.
    pub(super) fn service_changed(&self, service: &ServiceName) -> Option<Since> {
        self.services.get(service).copied()
    }

    /// The time at which a watcher came.
    pub(super) fn watcher_came(&self, id: &str) -> Option<Since> {
        self.watchers_came.get(id).copied()
    }

    /// The missing watchers, which have ended without a clean stop.
    pub(super) fn missing_watchers(&self) -> &BTreeMap<String, Seen> {
        &self.missing
    }

    /// The time at which a missing watcher went, if the dashboard has seen it go.
    pub(super) fn watcher_went(&self, id: &str) -> Option<Duration> {
        self.watchers_went.get(id).copied()
    }

    /// The missing watchers, each with the time at which it went, if the dashboard has seen it go.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&str, &Seen, Option<Duration>)> {
        let missing = self.missing.iter();
        missing.map(|(id, seen)| (id.as_str(), seen, self.watchers_went.get(id).copied()))
    }

    /// The instances of a service that are gone without a drain.
    pub(super) fn lost(&self, service: &str) -> impl Iterator<Item = (&InstanceKey, &Lost)> {
        let lost = self.lost.iter();
        lost.filter(move |(key, _)| key.service.as_str() == service)
    }
}
