//! The view: all items that the page shows, by name, and the difference to send to a page that has an earlier view. Pure.
//!
//! An item is sent again only when it has changed. Items have times and no ages, which the page computes itself; so nothing
//! is sent while nothing changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::instance_key::InstanceKey;
use super::journal::{Event, millis};
use super::memory::{Lost, Memory, Since};
use super::problems::{Problem, problems};
use crate::model::instance::{Instance, State};
use crate::model::target_status::{HeldService, TargetStatus};
use crate::model::update::Revision;
use crate::model::watcher_entry::{Seen, Watcher};

/// The store, as the page names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Store {
    /// A description of the store, without secrets.
    pub(super) name: String,
    /// The path of the instances in it.
    pub(super) prefix: String,
}

/// One thing that the page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Item {
    /// The store.
    Store(StoreItem),
    /// A service.
    Service(ServiceItem),
    /// An instance that is announced, or that a guard holds.
    Instance(InstanceItem),
    /// A watcher that runs or is missing.
    Watcher(WatcherItem),
    /// All problems.
    Problems {
        /// The worst first.
        list: Vec<Problem>,
    },
    /// A change of the journal.
    Event(Event),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct StoreItem {
    version: &'static str,
    name: String,
    prefix: String,
    revision: u64,
    /// Whether it has sent all instances and watchers once.
    is_complete: bool,
    /// The beginning of an outage, and its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    outage: Option<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub(super) struct ServiceItem {
    name: String,
    up: usize,
    drain: usize,
    maint: usize,
    held: Vec<HeldItem>,
    /// How many watchers serve it; the page finds them by their paths.
    serving: usize,
}

/// The instances of a service that one target holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct HeldItem {
    watcher: String,
    target: String,
    #[serde(flatten)]
    held: HeldService,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct InstanceItem {
    service: String,
    id: String,
    addr: String,
    host: String,
    /// `up`, `drain`, `maint`, or `held` for an instance that is gone from the store and still served.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    ports: BTreeMap<String, u16>,
    attrs: BTreeMap<String, String>,
    /// When it was announced, in seconds since 1970, by the clock of its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    announced_at: Option<u64>,
    /// Since when it has its state, likewise, and who has put it into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_by: Option<&'static str>,
    /// The time at which it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    came: Option<Time>,
    /// The time of its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Time>,
    /// The time at which it went, if it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
    /// How many watchers serve it.
    serving: usize,
    /// How many of them have applied its last change, if the dashboard has seen that change.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<usize>,
}

/// A time, in milliseconds since the start of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Time {
    at: u64,
    /// Whether it began then; otherwise it may have begun earlier.
    is_exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

impl From<Since> for Time {
    fn from(since: Since) -> Self {
        Self {
            at: millis(since.at),
            is_exact: since.is_exact,
            revision: since.revision.map(|revision| revision.0),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub(super) struct WatcherItem {
    id: String,
    host: String,
    /// The paths that it serves, each with its applied revision.
    applied: BTreeMap<String, u64>,
    old_workers: usize,
    targets: Vec<TargetStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    came: Option<Time>,
    /// Whether it is missing: it has ended without a clean stop.
    is_missing: bool,
    /// The time at which it went, if the dashboard has seen it go.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
}

/// All items by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct View(BTreeMap<String, Item>);

/// The message for a page that has an earlier view, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference<'a> {
    /// Now, in milliseconds since the start of the dashboard.
    pub(super) now: u64,
    /// Whether this is the whole view, so that the page drops all items that it has.
    pub(super) whole: bool,
    /// Items that are new or different.
    pub(super) set: BTreeMap<&'a str, &'a Item>,
    /// Items that are gone.
    pub(super) gone: Vec<&'a str>,
}

impl View {
    /// The view of this memory.
    pub(super) fn of(memory: &Memory, store: &Store, now: Duration) -> Self {
        let mut items = BTreeMap::new();
        let mut put = |name: String, item: Item| drop(items.insert(name, item));
        put("store".to_owned(), store_item(memory, store));
        let list = problems(memory, now);
        put("problems".to_owned(), Item::Problems { list });
        for (id, watcher) in memory.watchers().iter() {
            put(format!("watcher:{id}"), watcher_item(memory, id, watcher));
        }
        for (id, seen, at) in memory.missing() {
            put(format!("watcher:{id}"), missing_watcher_item(id, seen, at));
        }
        let held = held_by_service(memory);
        let mut names: BTreeSet<String> = held.keys().cloned().collect();
        names.extend(memory.catalog().services().keys().map(ToString::to_string));
        for name in names {
            let held = held.get(&name).cloned().unwrap_or_default();
            put_service(memory, &name, held, &mut put);
        }
        for event in memory.journal().events() {
            put(
                format!("event:{:020}", event.number),
                Item::Event(event.clone()),
            );
        }
        Self(items)
    }

    /// The message for a page that has the view `before`, or no view yet.
    pub(super) fn difference<'a>(
        &'a self,
        before: Option<&'a Self>,
        now: Duration,
    ) -> Difference<'a> {
        let old = |name: &String| before.and_then(|before| before.0.get(name));
        let set = self.0.iter();
        let set = set.filter(|(name, item)| old(name) != Some(*item));
        let gone = before.into_iter().flat_map(|before| before.0.keys());
        Difference {
            now: millis(now),
            whole: before.is_none(),
            set: set.map(|(name, item)| (name.as_str(), item)).collect(),
            gone: gone
                .filter(|name| !self.0.contains_key(*name))
                .map(String::as_str)
                .collect(),
        }
    }
}

fn store_item(memory: &Memory, store: &Store) -> Item {
    Item::Store(StoreItem {
        version: env!("CARGO_PKG_VERSION"),
        name: store.name.clone(),
        prefix: store.prefix.clone(),
        revision: memory.revision().0,
        is_complete: memory.is_complete(),
        outage: memory
            .outage()
            .map(|outage| (millis(outage.at), outage.text.clone())),
    })
}

fn watcher_item(memory: &Memory, id: &str, watcher: &Watcher) -> Item {
    let applied = watcher.applied.iter();
    let version = &watcher.version;
    Item::Watcher(WatcherItem {
        id: id.to_owned(),
        host: watcher.host.clone(),
        applied: applied
            .map(|(path, revision)| (path.to_string(), revision.0))
            .collect(),
        old_workers: watcher.old_workers,
        targets: watcher.targets.clone(),
        version: (!version.is_empty()).then(|| version.clone()),
        config: watcher.config.clone(),
        came: memory.watcher_came(id).map(Time::from),
        ..WatcherItem::default()
    })
}

fn missing_watcher_item(id: &str, seen: &Seen, at: Option<Duration>) -> Item {
    let named = |name: &String| TargetStatus {
        name: name.clone(),
        ..TargetStatus::default()
    };
    Item::Watcher(WatcherItem {
        id: id.to_owned(),
        host: seen.host.clone(),
        targets: seen.targets.iter().map(named).collect(),
        is_missing: true,
        gone: at.map(millis),
        ..WatcherItem::default()
    })
}

/// The held instances of all targets, by service.
fn held_by_service(memory: &Memory) -> BTreeMap<String, Vec<HeldItem>> {
    let mut all: BTreeMap<String, Vec<HeldItem>> = BTreeMap::new();
    for (id, watcher) in memory.watchers().iter() {
        for target in &watcher.targets {
            for held in &target.held {
                let Some(service) = &held.service else {
                    continue;
                };
                all.entry(service.clone()).or_default().push(HeldItem {
                    watcher: id.to_owned(),
                    target: target.name.clone(),
                    held: held.clone(),
                });
            }
        }
    }
    all
}

fn put_service(
    memory: &Memory,
    name: &str,
    held: Vec<HeldItem>,
    put: &mut impl FnMut(String, Item),
) {
    let dir = memory.catalog().prefix().join(name);
    let serving: Vec<(&str, Revision)> = memory
        .watchers()
        .serving(&dir)
        .map(|(id, _, applied)| (id, applied))
        .collect();
    let mut item = ServiceItem {
        name: name.to_owned(),
        serving: serving.len(),
        ..ServiceItem::default()
    };
    for instance in memory.catalog().instances(name) {
        match instance.state {
            State::Up => item.up += 1,
            State::Drain => item.drain += 1,
            State::Maint => item.maint += 1,
        }
        let key = InstanceKey {
            service: instance.service.clone(),
            id: instance.id.clone(),
        };
        put(
            key.item(),
            Item::Instance(announced_item(memory, &key, instance, &serving)),
        );
    }
    for (key, lost) in find_held(memory, name, &held) {
        put(key.item(), Item::Instance(held_item(lost, held.len())));
    }
    item.held = held;
    put(format!("service:{name}"), Item::Service(item));
}

/// The held instances, if it is clear which ones they are: a watcher reports only how many it holds.
fn find_held<'a>(
    memory: &'a Memory,
    service: &str,
    held: &[HeldItem],
) -> Vec<(&'a InstanceKey, &'a Lost)> {
    let most = held.iter().map(|one| one.held.count).max();
    let lost: Vec<_> = memory.lost(service).collect();
    if most.is_some_and(|most| lost.len() <= most) {
        lost
    } else {
        Vec::new()
    }
}

fn instance_item(instance: &Instance) -> InstanceItem {
    let named = instance.ports.named().iter();
    let mut ports: BTreeMap<String, u16> = named
        .map(|(name, port)| (name.as_str().to_owned(), *port))
        .collect();
    ports.extend(instance.ports.main().map(|port| (String::new(), port)));
    let attrs = instance.attrs.iter();
    InstanceItem {
        service: instance.service.to_string(),
        id: instance.id.to_string(),
        addr: instance.addr().to_string(),
        host: instance.host(),
        state: instance.state.as_str(),
        weight: instance.weight,
        ports,
        attrs: attrs
            .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
            .collect(),
        announced_at: instance.times.announced_at,
        state_since: instance.times.state_since.map(|since| since.at),
        state_by: instance.times.state_since.map(|since| since.by.as_str()),
        came: None,
        changed: None,
        gone: None,
        serving: 0,
        applied: None,
    }
}

fn announced_item(
    memory: &Memory,
    key: &InstanceKey,
    instance: &Instance,
    serving: &[(&str, Revision)],
) -> InstanceItem {
    let changed = memory.changed(key);
    let have = |wanted: Revision| serving.iter().filter(|(_, has)| *has >= wanted).count();
    InstanceItem {
        came: memory.came(key).map(Time::from),
        changed: changed.map(Time::from),
        serving: serving.len(),
        applied: changed.and_then(|since| since.revision).map(have),
        ..instance_item(instance)
    }
}

fn held_item(lost: &Lost, targets: usize) -> InstanceItem {
    InstanceItem {
        state: "held",
        gone: Some(millis(lost.at)),
        serving: targets,
        ..instance_item(&lost.instance)
    }
}
