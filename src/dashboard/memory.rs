//! What the dashboard knows: what the store says, and since when it has seen it so. The store itself has no times. Pure.
//!
//! Times are since the start of the dashboard, so that no clock that can be stepped is asked. What was there at the first
//! look has been there for at least as long as the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::instance_key::InstanceKey;
use super::journal::{Journal, Mood, tell};
use super::target::{Statuses, Target};
use crate::model::catalog::{Catalog, Instances, What};
use crate::model::instance::{Instance, ServiceName, State};
use crate::model::update::{Prefix, Revision, Update};
use crate::model::watchers::{Watcher, Watchers};

/// How long the absence of a watcher is shown where no other one has taken its place on the same host.
const ABSENCE: Duration = Duration::from_mins(10);
/// How many lost instances are remembered, and for how long, to say which of them a guard may hold.
const LOST: usize = 5000;
const LOST_FOR: Duration = Duration::from_mins(30);

/// Which part of the store something is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The instances.
    Instances,
    /// Those who watch.
    Watchers,
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

/// A watcher that is gone.
#[derive(Debug, Clone)]
pub(super) struct Absent {
    /// When the dashboard saw it go.
    pub(super) at: Duration,
    /// What it had said last.
    pub(super) watcher: Watcher,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Memory {
    catalog: Catalog,
    watchers: Watchers,
    statuses: Statuses,
    revision: Revision,
    heard: (bool, bool),
    outages: (Option<Outage>, Option<Outage>),
    came: BTreeMap<InstanceKey, Since>,
    changed: BTreeMap<InstanceKey, Since>,
    services: BTreeMap<ServiceName, Since>,
    lost: BTreeMap<InstanceKey, Lost>,
    absent: BTreeMap<String, Absent>,
    watchers_came: BTreeMap<String, Since>,
    journal: Journal,
}

/// The store does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    /// Since when.
    pub(super) at: Duration,
    /// Why.
    pub(super) why: String,
}

impl Memory {
    /// Knows nothing yet of the instances below `prefix`.
    pub(super) fn new(prefix: Prefix) -> Self {
        Self {
            catalog: Catalog::new(prefix),
            watchers: Watchers::default(),
            statuses: Statuses::default(),
            revision: Revision::default(),
            heard: (false, false),
            outages: (None, None),
            came: BTreeMap::new(),
            changed: BTreeMap::new(),
            services: BTreeMap::new(),
            lost: BTreeMap::new(),
            absent: BTreeMap::new(),
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
                match scope {
                    Scope::Instances => self.instances(now, update),
                    Scope::Watchers => self.watching(now, update),
                }
            }
            Input::Outage(scope, why) => {
                *self.outage_of(scope) = Some(Outage { at: now, why });
            }
            Input::Restored(scope) => *self.outage_of(scope) = None,
        }
        self.forget(now);
    }

    fn outage_of(&mut self, scope: Scope) -> &mut Option<Outage> {
        match scope {
            Scope::Instances => &mut self.outages.0,
            Scope::Watchers => &mut self.outages.1,
        }
    }

    fn instances(&mut self, now: Duration, update: Update) {
        let is_reset = matches!(update, Update::Reset(_));
        let is_first = !std::mem::replace(&mut self.heard.0, true);
        let revision = update.revision();
        let before = self.catalog.services().clone();
        let prefix = self.catalog.prefix().clone();
        let changes = self.catalog.apply(&prefix, update);
        let since = Since {
            at: now,
            is_exact: !is_reset,
            revision: (!is_reset).then_some(revision),
        };
        for change in changes.instances {
            let key = InstanceKey::of(&change);
            let old = find(&before, &key);
            let new = find(self.catalog.services(), &key);
            if !is_first {
                let (mood, text) = tell(&change, old.map(|one| &**one), new.map(|one| &**one));
                self.journal.write(now, &key.item(), mood, text);
            }
            self.services.insert(key.service.clone(), since);
            match change.what {
                What::Added => {
                    self.lost.remove(&key);
                    self.changed.insert(key.clone(), since);
                    self.came.insert(key, since);
                }
                What::Changed => drop(self.changed.insert(key, since)),
                What::Removed(state) => {
                    self.came.remove(&key);
                    self.changed.remove(&key);
                    if let (State::Up, Some(instance)) = (state, old.cloned()) {
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

    fn watching(&mut self, now: Duration, update: Update) {
        let is_reset = matches!(update, Update::Reset(_));
        let is_first = !std::mem::replace(&mut self.heard.1, true);
        let before = self.watchers.clone();
        self.statuses.apply(&update);
        self.watchers.apply(update);
        let since = Since {
            at: now,
            is_exact: !is_reset,
            revision: None,
        };
        let gone: Vec<(String, Watcher)> = before
            .all()
            .filter(|(id, _)| self.watchers.get(id).is_none())
            .map(|(id, one)| (id.to_owned(), one.clone()))
            .collect();
        for (id, watcher) in gone {
            let item = format!("watcher:{id}");
            let text = format!("the watcher {id} on {} is gone", watcher.host);
            self.journal.write(now, &item, Mood::Bad, text);
            self.watchers_came.remove(&id);
            self.absent.insert(id, Absent { at: now, watcher });
        }
        let new: Vec<(String, String)> = self
            .watchers
            .all()
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
        let hosts: BTreeSet<&str> = self
            .watchers
            .all()
            .map(|(_, one)| one.host.as_str())
            .collect();
        // The watcher that was started anew on the same host is its successor.
        self.absent.retain(|id, absent| {
            now.saturating_sub(absent.at) < ABSENCE
                && !hosts.contains(absent.watcher.host.as_str())
                && self.watchers.get(id).is_none()
        });
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
        self.heard.0 && self.heard.1
    }

    /// The outage, if there is one; that of the instances first.
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.outages.0.as_ref().or(self.outages.1.as_ref())
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(super) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// What a watcher says of its targets.
    pub(super) fn targets(&self, id: &str) -> &[Target] {
        self.statuses.targets(id)
    }

    /// The version of a watcher.
    pub(super) fn version(&self, id: &str) -> Option<&str> {
        self.statuses.version(id)
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

    /// Those who are gone.
    pub(super) fn absent(&self) -> impl Iterator<Item = (&str, &Absent)> {
        self.absent.iter().map(|(id, absent)| (id.as_str(), absent))
    }

    /// The instances of a service that are gone and were in service.
    pub(super) fn lost(&self, service: &str) -> impl Iterator<Item = (&InstanceKey, &Lost)> {
        let lost = self.lost.iter();
        lost.filter(move |(key, _)| key.service.as_str() == service)
    }
}

fn find<'a>(
    services: &'a BTreeMap<ServiceName, Arc<Instances>>,
    key: &InstanceKey,
) -> Option<&'a Arc<Instance>> {
    services.get(&key.service)?.get(&key.id)
}
