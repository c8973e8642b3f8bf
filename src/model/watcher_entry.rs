//! The entries of watchers in the store. This is the only file that knows the keys
//! `/sidekick/watchers/<id>/{host,version,applied,targets,config,old_workers}` and `/sidekick/seen/<id>/{host,targets}`.
//! Pure.
//!
//! `applied` has a line for each path that the watcher serves: the last revision of the store that its proxies have in use,
//! a space, the path. The revision is 0 until the first one is applied. `targets` is the JSON of [`super::target_status`].
//! `config` is the first mistake of a configuration that is not in force because of it, and `old_workers` the number of old
//! workers; both keys exist only while they apply.
//!
//! The keys below `/sidekick/seen` have a lease of their own with a much longer TTL. A watcher with an entry there and none
//! below `/sidekick/watchers` has ended without a clean stop, and is reported as missing until that lease ends.

use std::collections::{BTreeMap, BTreeSet};

use super::key::{Key, Value};
use super::prefix::Prefix;
use super::publication::{Claim, Publication};
use super::target_status::{self, TargetStatus};
use super::update::{Change, Revision, Update};

/// Instances that were marked, each with the revision of its mark.
pub type Marks = BTreeMap<Prefix, Revision>;
/// The last revision that is in use, for each path that a watcher serves.
pub type Applied = BTreeMap<Prefix, Revision>;

const HOST: &str = "host";
const APPLIED: &str = "applied";
const OLD_WORKERS: &str = "old_workers";
const VERSION: &str = "version";
const TARGETS: &str = "targets";
const CONFIG: &str = "config";

/// The path of the watchers' entries.
#[must_use]
pub fn root() -> Prefix {
    Prefix::root().join("sidekick").join("watchers")
}

/// The path of the entries that outlive a watcher.
#[must_use]
pub fn seen_root() -> Prefix {
    Prefix::root().join("sidekick").join("seen")
}

/// Whether a key belongs to an entry of a watcher; such a key is of no interest to a proxy.
#[must_use]
pub fn is_of_watcher(key: &str) -> bool {
    key.starts_with("/sidekick/watchers/") || key.starts_with("/sidekick/seen/")
}

/// The entry of a running `sidekick watch`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watcher {
    /// The name of its host.
    pub host: String,
    /// The paths that it serves, and the revision of each that its proxies have in use.
    pub applied: Applied,
    /// How many old workers its proxies have.
    pub old_workers: usize,
    /// The version of its `sidekick`; empty for versions that do not write it.
    pub version: String,
    /// The status of its targets.
    pub targets: Vec<TargetStatus>,
    /// A mistake in its configuration, because of which the previous one is still in force.
    pub config: Option<String>,
}

impl Watcher {
    /// The keys of its entry.
    #[must_use]
    pub fn encode(&self, id: &str) -> Publication {
        let lines = self.applied.iter();
        let lines = lines.map(|(path, revision)| format!("{revision} {path}"));
        let lines: Vec<String> = lines.collect();
        let old_workers = (self.old_workers > 0).then(|| self.old_workers.to_string());
        let fields = [
            (HOST, Some(self.host.clone())),
            (APPLIED, Some(lines.join("\n"))),
            (OLD_WORKERS, old_workers),
            (VERSION, Some(self.version.clone())),
            (TARGETS, Some(target_status::encode(&self.targets))),
            (CONFIG, self.config.clone()),
        ];
        publication(root().join(id), fields)
    }

    /// The keys of the entry that outlives it.
    #[must_use]
    pub fn encode_seen(&self, id: &str) -> Publication {
        let names: Vec<&str> = self.targets.iter().map(|one| one.name.as_str()).collect();
        let fields = [
            (HOST, Some(self.host.clone())),
            (TARGETS, Some(names.join("\n"))),
        ];
        publication(seen_root().join(id), fields)
    }

    /// The last revision that all its proxies have in use for the keys at `dir`; `None` if it does not serve them.
    #[must_use]
    pub fn applied_at(&self, dir: &Prefix) -> Option<Revision> {
        let serving = self.applied.iter();
        let serving = serving.filter(|(path, _)| path.covers(dir.as_str()));
        serving.map(|(_, revision)| *revision).min()
    }

    /// Whether its proxies may still send requests to one of these instances as before its mark.
    fn is_behind(&self, marks: &Marks) -> bool {
        marks.iter().any(|(dir, since)| {
            let applied = self.applied_at(dir);
            applied.is_some_and(|applied| applied < *since)
        })
    }

    fn serves(&self, marks: &Marks) -> bool {
        marks.keys().any(|dir| self.applied_at(dir).is_some())
    }
}

fn publication<const N: usize>(dir: Prefix, fields: [(&str, Option<String>); N]) -> Publication {
    let fields = fields
        .into_iter()
        .filter_map(|(field, text)| Some((field.to_owned(), text?.into_bytes())));
    Publication {
        dir,
        fields: fields.collect(),
        state: None,
        claim: Claim::Whole,
        predecessors: BTreeSet::new(),
    }
}

fn decode_applied(text: &str) -> Applied {
    let line = |line: &str| {
        let (revision, path) = line.split_once(' ')?;
        let revision = revision.parse().ok()?;
        Some((Prefix::parse(path).ok()?, Revision(revision)))
    };
    text.lines().filter_map(line).collect()
}

/// All watchers, by id: a fold of the store's updates for [`root`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watchers(BTreeMap<String, Watcher>);

impl Watchers {
    /// Applies an update of the store.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Reset(snapshot) => {
                self.0.clear();
                for (key, value) in snapshot.entries {
                    self.put(&key, &value);
                }
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(key, value) => self.put(&key, &value),
                        Change::Delete(key) => self.delete(&key),
                    }
                }
            }
        }
    }

    fn put(&mut self, key: &Key, value: &Value) {
        let Some((id, field)) = split_key(key) else {
            return;
        };
        let text = String::from_utf8_lossy(value);
        let watcher = self.0.entry(id.to_owned()).or_default();
        match field {
            HOST => watcher.host = text.into_owned(),
            APPLIED => watcher.applied = decode_applied(&text),
            OLD_WORKERS => watcher.old_workers = text.parse().unwrap_or_default(),
            VERSION => watcher.version = text.into_owned(),
            TARGETS => watcher.targets = target_status::decode(&text),
            CONFIG => watcher.config = Some(text.into_owned()),
            // A later version may have further fields.
            _ => {}
        }
    }

    /// A watcher is gone with its first key, since all go together. `old_workers` and `config` may go alone.
    fn delete(&mut self, key: &Key) {
        match split_key(key) {
            Some((id, HOST | APPLIED)) => {
                self.0.remove(id);
            }
            Some((id, OLD_WORKERS)) => {
                if let Some(watcher) = self.0.get_mut(id) {
                    watcher.old_workers = 0;
                }
            }
            Some((id, CONFIG)) => {
                if let Some(watcher) = self.0.get_mut(id) {
                    watcher.config = None;
                }
            }
            Some(_) | None => {}
        }
    }

    /// All watchers, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Watcher)> {
        self.0.iter().map(|(id, one)| (id.as_str(), one))
    }

    /// The watcher with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Watcher> {
        self.0.get(id)
    }

    /// The watchers that serve the keys at `dir`, with the revision that they have applied.
    pub fn serving<'a>(
        &'a self,
        dir: &'a Prefix,
    ) -> impl Iterator<Item = (&'a str, &'a Watcher, Revision)> {
        let all = self.0.iter();
        all.filter_map(|(id, one)| Some((id.as_str(), one, one.applied_at(dir)?)))
    }

    /// The watchers that serve one of these instances.
    #[must_use]
    pub fn concerned(&self, marks: &Marks) -> BTreeSet<String> {
        self.ids(|watcher| watcher.serves(marks))
    }

    /// The watchers that have not applied the mark of one of these instances.
    #[must_use]
    pub fn behind(&self, marks: &Marks) -> BTreeSet<String> {
        self.ids(|watcher| watcher.is_behind(marks))
    }

    fn ids(&self, is_meant: impl Fn(&Watcher) -> bool) -> BTreeSet<String> {
        let meant = self.0.iter().filter(|(_, watcher)| is_meant(watcher));
        meant.map(|(id, _)| id.clone()).collect()
    }
}

/// The watcher and the field of a key below [`root`].
fn split_key(key: &str) -> Option<(&str, &str)> {
    split_key_below(&root(), key)
}

fn split_key_below<'a>(root: &Prefix, key: &'a str) -> Option<(&'a str, &'a str)> {
    let below = key.strip_prefix(root.as_str())?.strip_prefix('/')?;
    below.split_once('/')
}

/// The entry that outlives a watcher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The name of its host.
    pub host: String,
    /// The names of its targets.
    pub targets: BTreeSet<String>,
}

/// The missing watchers: those of `seen`, the keys below [`seen_root`], that have no entry any more. A watcher is replaced,
/// and therefore not missing, if its host has another watcher now that has all its targets.
#[must_use]
pub fn missing<'a, K: AsRef<str>>(
    seen: impl Iterator<Item = (K, &'a [u8])>,
    present: &Watchers,
) -> BTreeMap<String, Seen> {
    let mut all: BTreeMap<String, Seen> = BTreeMap::new();
    for (key, value) in seen {
        let Some((id, field)) = split_key_below(&seen_root(), key.as_ref()) else {
            continue;
        };
        let one = all.entry(id.to_owned()).or_default();
        let text = String::from_utf8_lossy(value);
        match field {
            HOST => one.host = text.into_owned(),
            TARGETS => one.targets = text.lines().map(str::to_owned).collect(),
            _ => {}
        }
    }
    let is_replaced = |seen: &Seen| {
        let of_host = present.0.values().filter(|one| one.host == seen.host);
        let mut names = of_host.map(|one| one.targets.iter().map(|target| &target.name).collect());
        names.any(|names: BTreeSet<&String>| seen.targets.iter().all(|name| names.contains(name)))
    };
    all.retain(|id, seen| !present.0.contains_key(id) && !is_replaced(seen));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::Entries;
    use crate::model::update::Snapshot;

    fn path(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    fn watcher(applied: &[(&str, u64)]) -> Watcher {
        let applied = applied.iter().map(|(p, r)| (path(p), Revision(*r)));
        Watcher {
            host: "proxy-1".to_owned(),
            applied: applied.collect(),
            version: "0.1.0".to_owned(),
            ..Watcher::default()
        }
    }

    fn entries(id: &str, watcher: &Watcher) -> Entries {
        let publication = watcher.encode(id);
        let key = |field: &String| Key::from(publication.key(field));
        let fields = publication.fields.iter();
        fields
            .map(|(field, value)| (key(field), Value::from(value.as_slice())))
            .collect()
    }

    fn listed(all: &[(&str, &Watcher)]) -> Watchers {
        let mut watchers = Watchers::default();
        let entries = all.iter().flat_map(|(id, one)| entries(id, one));
        watchers.apply(Update::Reset(Snapshot {
            revision: Revision(1),
            entries: entries.collect(),
        }));
        watchers
    }

    #[test]
    fn a_watcher_is_read_as_it_is_written() {
        let one = watcher(&[("/", 3), ("/services/web", 7), ("/a b", 0)]);
        let all = listed(&[("proxy-1-7", &one)]);
        assert_eq!(all.0.get("proxy-1-7"), Some(&one));
        let text = &one.encode("x").fields[APPLIED];
        assert_eq!(text, b"3 /\n0 /a b\n7 /services/web");
    }

    #[test]
    fn the_key_of_old_workers_exists_while_there_are_some() {
        let none = watcher(&[("/", 3)]);
        let some = Watcher {
            old_workers: 12,
            ..none.clone()
        };
        assert_eq!(some.encode("x").fields[OLD_WORKERS], b"12");
        assert_eq!(none.encode("x").fields.len(), 4, "no old workers, no key");
        let mut all = listed(&[("x", &some)]);
        assert_eq!(all.0["x"], some);
        let key = |field: &str| Key::from(some.encode("x").key(field));
        let mut deleted = |field: &str| {
            all.apply(Update::Changed {
                revision: Revision(2),
                changes: vec![Change::Delete(key(field))],
            });
            all.0.get("x").map(|one| one.old_workers)
        };
        assert_eq!(deleted(OLD_WORKERS), Some(0));
        assert_eq!(deleted(HOST), None);
        // The order in which the keys go does not matter.
        assert_eq!(deleted(OLD_WORKERS), None);
    }

    #[test]
    fn a_watcher_is_missing_until_it_returns_or_is_replaced() {
        let target = |name: &str| TargetStatus {
            name: name.to_owned(),
            ..TargetStatus::default()
        };
        let gone = Watcher {
            targets: vec![target("haproxy"), target("nginx")],
            ..watcher(&[])
        };
        let publication = gone.encode_seen("gone");
        let seen: Entries = publication
            .fields
            .iter()
            .map(|(field, value)| {
                let key = Key::from(publication.key(field));
                (key, Value::from(value.as_slice()))
            })
            .collect();
        let missing = |all: &[(&str, &Watcher)]| {
            missing(
                seen.iter().map(|(key, value)| (key, &**value)),
                &listed(all),
            )
        };
        let expected = Seen {
            host: "proxy-1".to_owned(),
            targets: ["haproxy", "nginx"].map(str::to_owned).into(),
        };
        let it = BTreeMap::from([("gone".to_owned(), expected)]);
        assert_eq!(missing(&[]), it);
        let half = Watcher {
            targets: vec![target("haproxy")],
            ..gone.clone()
        };
        let elsewhere = Watcher {
            host: "proxy-2".to_owned(),
            ..gone.clone()
        };
        assert_eq!(missing(&[("x", &half), ("y", &elsewhere)]), it);
        assert_eq!(missing(&[("gone", &half)]), BTreeMap::new());
        assert_eq!(missing(&[("x", &gone)]), BTreeMap::new());
    }

    #[test]
    fn a_watcher_has_applied_what_its_slowest_path_has() {
        let one = watcher(&[("/services", 5), ("/services/web", 7), ("/other", 1)]);
        assert_eq!(one.applied_at(&path("/services/web/a")), Some(Revision(5)));
        assert_eq!(one.applied_at(&path("/services/db/a")), Some(Revision(5)));
        assert_eq!(one.applied_at(&path("/servicesx/db/a")), None);
        assert_eq!(one.applied_at(&path("/other/x/y")), Some(Revision(1)));
    }

    #[test]
    fn a_watcher_is_behind_until_it_catches_up_or_goes() {
        let (slow, fast) = (
            watcher(&[("/services/web", 4)]),
            watcher(&[("/services", 9)]),
        );
        let mut all = listed(&[("slow", &slow), ("fast", &fast)]);
        let marks = Marks::from([(path("/services/web/a"), Revision(5))]);
        let names = |ids: BTreeSet<String>| ids.into_iter().collect::<Vec<_>>();
        assert_eq!(names(all.concerned(&marks)), ["fast", "slow"]);
        assert_eq!(names(all.behind(&marks)), ["slow"]);
        let caught_up = entries("slow", &watcher(&[("/services/web", 5)]));
        let puts = caught_up.into_iter().map(|(k, v)| Change::Put(k, v));
        let mut then = all.clone();
        then.apply(Update::Changed {
            revision: Revision(6),
            changes: puts.collect(),
        });
        assert_eq!(names(then.behind(&marks)), [""; 0]);
        let gone = entries("slow", &slow).into_keys().map(Change::Delete);
        all.apply(Update::Changed {
            revision: Revision(6),
            changes: gone.collect(),
        });
        assert_eq!(names(all.concerned(&marks)), ["fast"]);
        assert_eq!(names(all.behind(&marks)), [""; 0]);
    }

    #[test]
    fn other_keys_and_later_fields_are_ignored() {
        let mut all = Watchers::default();
        let put =
            |key: &str, value: &str| Change::Put(Key::from(key), Value::from(value.as_bytes()));
        all.apply(Update::Changed {
            revision: Revision(1),
            changes: vec![
                put("/sidekick/watchers/a", "x"),
                put("/sidekick/watchersx/a/host", "x"),
                put(
                    "/sidekick/watchers/b/applied",
                    "x\n7\n8 no-path\n9 /services",
                ),
                put("/sidekick/watchers/b/later", "x"),
            ],
        });
        let ids: Vec<_> = all.0.keys().collect();
        assert_eq!(ids, ["b"]);
        assert_eq!(all.0["b"].applied, watcher(&[("/services", 9)]).applied);
    }
}
