//! Why a target is published: describes what has happened since its files were right, for the log and the history. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::model::catalog::{Changes, InstanceChange};
use crate::model::instance::{AttrName, Instance, InstanceId, ServiceName};
use crate::model::key::Key;
use crate::model::keyspace;
use crate::model::prefix::Prefix;

/// How many raw keys, and how many other reasons, are remembered; a longer list would help nobody.
const REMEMBERED: usize = 20;

/// The events since the files of one target were right, as far as they concern it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Causes {
    /// For each instance that has changed: how it was when the files were right, and how it is now.
    instances: BTreeMap<(ServiceName, InstanceId), BeforeAndNow>,
    /// Changed keys that belong to no instance.
    keys: BTreeSet<Key>,
    /// How many more such keys have changed.
    more_keys: usize,
    /// Causes that did not come from the store, in the order in which they happened.
    others: Vec<String>,
}

type BeforeAndNow = (Option<Arc<Instance>>, Option<Arc<Instance>>);

impl Causes {
    /// Adds changes of the store; `follows` says whether a path concerns the target.
    pub(crate) fn add_changes(
        &mut self,
        changes: &Changes,
        prefix: &Prefix,
        follows: impl Fn(&str) -> bool,
    ) {
        for change in &changes.instances {
            let dir = keyspace::dir(prefix, change.service.as_str(), change.id.as_str());
            if follows(dir.as_str()) {
                self.add_instance(change);
            }
        }
        let is_raw = |key: &&Key| keyspace::locate(prefix, key).is_none() && follows(key);
        for key in changes.keys.iter().filter(is_raw) {
            if self.keys.len() < REMEMBERED {
                self.keys.insert(Key::clone(key));
            } else if !self.keys.contains(key) {
                self.more_keys += 1;
            }
        }
    }

    fn add_instance(&mut self, change: &InstanceChange) {
        let place = (change.service.clone(), change.id.clone());
        let before = || (change.before.clone(), None);
        let both = self.instances.entry(place).or_insert_with(before);
        both.1.clone_from(&change.now);
    }

    /// Adds a cause that did not come from the store, as a part of a sentence.
    pub(crate) fn add(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.others.len() < REMEMBERED && !self.others.contains(&what) {
            self.others.push(what);
        }
    }

    /// These causes, and later ones.
    pub(crate) fn followed_by(mut self, later: Self) -> Self {
        for (place, (before, now)) in later.instances {
            let both = self.instances.entry(place).or_insert((before, None));
            both.1 = now;
        }
        self.keys.extend(later.keys);
        self.more_keys += later.more_keys;
        later.others.into_iter().for_each(|what| self.add(what));
        self
    }

    /// The causes in words: `+web/b -web/a, weight of web/c 100→0`. It names at most `limit` instances and keys. Empty if no
    /// cause is known.
    pub(crate) fn describe(&self, limit: usize) -> String {
        let mut presence = Vec::new();
        let mut changes = Vec::new();
        for ((service, id), both) in &self.instances {
            match both {
                (None, Some(_)) => presence.push(format!("+{service}/{id}")),
                (Some(_), None) => presence.push(format!("-{service}/{id}")),
                (Some(before), Some(now)) if before != now => {
                    changes.extend(differences(before, now));
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        changes.extend(self.keys.iter().map(|key| format!("{key} changed")));
        let all = presence.len() + changes.len() + self.more_keys;
        presence.truncate(limit);
        changes.truncate(limit - presence.len());
        let left_out = all - presence.len() - changes.len();
        let mut text = presence.join(" ");
        for part in changes.iter().chain(&self.others) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{part}");
        }
        if left_out > 0 {
            let _ = write!(text, " and {left_out} more");
        }
        text
    }
}

/// The differences of an instance in words.
fn differences(before: &Instance, now: &Instance) -> Vec<String> {
    let name = format!("{}/{}", now.service, now.id);
    let mut parts = Vec::new();
    let mut part = |what: &str, before: String, now: String| {
        if before != now {
            parts.push(format!("{what} of {name} {before}→{now}"));
        }
    };
    let weight = |one: &Instance| one.weight.map_or("default".to_owned(), |w| w.to_string());
    part("address", before.addr().to_string(), now.addr().to_string());
    part("weight", weight(before), weight(now));
    part(
        "state",
        before.state.as_str().to_owned(),
        now.state.as_str().to_owned(),
    );
    let names = before.attrs.keys().chain(now.attrs.keys());
    let names: BTreeSet<_> = names
        .filter(|name| before.attrs.get(*name) != now.attrs.get(*name))
        .map(AttrName::as_str)
        .collect();
    let mut rest: Vec<&str> = names.into_iter().collect();
    if before.host != now.host {
        rest.push("host");
    }
    if before.ports != now.ports && before.addr() == now.addr() {
        rest.push("ports");
    }
    if !rest.is_empty() {
        parts.push(format!("{} of {name} changed", rest.join(", ")));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::Catalog;
    use crate::model::key::Value;
    use crate::model::update::{Change, Revision, Update};

    struct Scene {
        catalog: Catalog,
        causes: Causes,
    }

    impl Scene {
        fn new() -> Self {
            let catalog = Catalog::new(Prefix::parse("/services").unwrap());
            let mut scene = Self {
                catalog,
                causes: Causes::default(),
            };
            for id in ["a", "c"] {
                scene.put(id, &[("ip", "10.0.0.1"), ("port", "80"), ("weight", "100")]);
            }
            scene.causes = Causes::default();
            scene
        }

        fn apply(&mut self, changes: Vec<Change>) {
            let scope = Prefix::parse("/").unwrap();
            let update = Update::Changed {
                revision: Revision(1),
                changes,
            };
            let changes = self.catalog.apply(&scope, update);
            let prefix = self.catalog.prefix().clone();
            let follows = |path: &str| !path.starts_with("/services/db");
            self.causes.add_changes(&changes, &prefix, follows);
        }

        fn put(&mut self, id: &str, fields: &[(&str, &str)]) {
            self.put_below(&format!("/services/web/{id}"), fields);
        }

        fn put_below(&mut self, dir: &str, fields: &[(&str, &str)]) {
            let put = |(field, value): &(&str, &str)| {
                let key = format!("{dir}/{field}");
                Change::Put(Key::from(key.as_str()), Value::from(value.as_bytes()))
            };
            self.apply(fields.iter().map(put).collect());
        }

        fn delete(&mut self, id: &str) {
            let keys = ["ip", "port", "weight"].map(|field| format!("/services/web/{id}/{field}"));
            self.apply(
                keys.map(|key| Change::Delete(Key::from(key.as_str())))
                    .into(),
            );
        }

        fn description(&self) -> String {
            self.causes.describe(5)
        }
    }

    #[test]
    fn instances_that_came_went_and_changed_are_named() {
        let mut scene = Scene::new();
        assert_eq!(scene.description(), "");
        scene.put("b", &[("ip", "10.0.0.2"), ("port", "80")]);
        scene.delete("a");
        scene.put(
            "c",
            &[
                ("weight", "0"),
                ("state", "drain"),
                ("check", "/x"),
                ("host", "h"),
            ],
        );
        assert_eq!(
            scene.description(),
            "-web/a +web/b, weight of web/c 100→0, state of web/c up→drain, check, host of web/c changed"
        );
        scene.causes = Causes::default();
        scene.put("c", &[("ip", "10.0.0.9")]);
        scene.put_below("/services/db/x", &[("ip", "10.0.0.1"), ("port", "1")]);
        scene.put_below("/config", &[("motd", "hello")]);
        assert_eq!(
            scene.description(),
            "address of web/c 10.0.0.1:80→10.0.0.9:80, /config/motd changed"
        );
    }

    #[test]
    fn a_change_that_was_undone_is_no_cause_and_one_whose_publish_failed_stays_one() {
        let mut scene = Scene::new();
        scene.delete("a");
        let failed = std::mem::take(&mut scene.causes);
        scene.put(
            "a",
            &[("ip", "10.0.0.1"), ("port", "80"), ("weight", "100")],
        );
        scene.put("c", &[("weight", "7")]);
        scene.causes.add("template edited");
        let both = failed.followed_by(scene.causes.clone());
        assert_eq!(both.describe(5), "weight of web/c 100→7, template edited");
    }

    #[test]
    fn causes_beyond_the_limit_are_counted() {
        let mut scene = Scene::new();
        for n in 0..30 {
            scene.put(&format!("n{n:02}"), &[("ip", "10.0.0.2"), ("port", "80")]);
            scene.put_below("/config", &[(&format!("k{n:02}"), "x")]);
        }
        assert_eq!(
            scene.causes.describe(3),
            "+web/n00 +web/n01 +web/n02 and 57 more"
        );
        scene.causes.add("the configuration was edited");
        scene.causes.add("the configuration was edited");
        assert_eq!(
            scene.causes.describe(1),
            "+web/n00, the configuration was edited and 59 more"
        );
    }
}
