//! The catalog: a fold of a store's updates into complete, valid instances, sorted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::instance::{Instance, InstanceId, InvalidField, ServiceName};
use super::key::{Entries, Key};
use super::key_tree::Tree;
use super::keyspace;
use super::prefix::Prefix;
use super::update::{Revision, Update};

/// The instances of one service, sorted by id.
pub type Instances = BTreeMap<InstanceId, Arc<Instance>>;

/// Everything a watcher knows. Cloning it is cheap enough to render from a clone while updates come in.
#[derive(Debug, Clone)]
pub struct Catalog {
    prefix: Prefix,
    revision: Revision,
    tree: Tree,
    services: BTreeMap<ServiceName, Arc<Instances>>,
    skipped: BTreeMap<Prefix, InvalidField>,
}

/// What an update did to the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Every key whose value is another one now.
    pub keys: BTreeSet<Key>,
    /// Every instance that came, went or changed.
    pub instances: Vec<InstanceChange>,
    /// Instances that have begun to break the rules, or to break another one: each is named once.
    pub skipped: Vec<(Prefix, InvalidField)>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What became of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceChange {
    /// Its service.
    pub service: ServiceName,
    /// Its id.
    pub id: InstanceId,
    /// How it was, if it was there.
    pub before: Option<Arc<Instance>>,
    /// How it is, if it is there.
    pub now: Option<Arc<Instance>>,
}

impl Catalog {
    /// An empty catalog of the instances below `prefix`.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            revision: Revision::default(),
            tree: Tree::default(),
            services: BTreeMap::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// Takes in what the store said about everything under `scope`.
    pub fn apply(&mut self, scope: &Prefix, update: Update) -> Changes {
        self.revision = update.revision();
        let keys = match update {
            Update::Reset(snapshot) => self.tree.reset(scope, snapshot.entries),
            Update::Changed { changes, .. } => self.tree.apply(changes),
        };
        let touched: BTreeSet<(String, String)> = keys
            .iter()
            .filter_map(|key| keyspace::locate(&self.prefix, key))
            .map(|place| (place.service.to_owned(), place.id.to_owned()))
            .collect();
        let mut changes = Changes {
            keys,
            ..Changes::default()
        };
        for (service, id) in touched {
            self.reread(&service, &id, &mut changes);
        }
        changes
    }

    /// Reads one instance anew from the raw keys.
    fn reread(&mut self, service: &str, id: &str, changes: &mut Changes) {
        let dir = keyspace::dir(&self.prefix, service, id);
        let now = match self.read(&dir, service, id) {
            Ok(instance) => {
                self.skipped.remove(&dir);
                instance
            }
            Err(error) => {
                if self.skipped.insert(dir.clone(), error.clone()).as_ref() != Some(&error) {
                    changes.skipped.push((dir, error));
                }
                None
            }
        };
        let (Ok(service), Ok(id)) = (service.parse::<ServiceName>(), id.parse::<InstanceId>())
        else {
            return;
        };
        changes.instances.extend(self.set(service, id, now));
    }

    fn read(
        &self,
        dir: &Prefix,
        service: &str,
        id: &str,
    ) -> Result<Option<Instance>, InvalidField> {
        let cut = dir.as_str().len() + 1;
        let fields = self.tree.under(dir).filter(|(key, _)| key.len() > cut);
        let mut fields = fields
            .map(|(key, value)| (&key[cut..], &**value))
            .peekable();
        match fields.peek() {
            Some(_) => keyspace::decode(service, id, fields),
            // Nothing is left of it, so no rule is broken either, whatever its name.
            None => Ok(None),
        }
    }

    fn set(
        &mut self,
        service: ServiceName,
        id: InstanceId,
        now: Option<Instance>,
    ) -> Option<InstanceChange> {
        let before = self
            .services
            .get(&service)
            .and_then(|instances| instances.get(&id))
            .cloned();
        let now = now.map(Arc::new);
        if before == now {
            return None;
        }
        // Times are for people; no target has to be published for them.
        let is_news = match (&before, &now) {
            (Some(before), Some(now)) => !before.differs_in_times_only(now),
            (_, _) => true,
        };
        if let Some(now) = &now {
            let instances = self.services.entry(service.clone()).or_default();
            Arc::make_mut(instances).insert(id.clone(), Arc::clone(now));
        } else {
            let instances = Arc::make_mut(self.services.get_mut(&service)?);
            instances.remove(&id);
            if instances.is_empty() {
                self.services.remove(&service);
            }
        }
        is_news.then_some(InstanceChange {
            service,
            id,
            before,
            now,
        })
    }

    /// The same without the `hidden` instances, and with the `held` ones, their keys included.
    #[must_use]
    pub fn overlaid<'a>(
        &self,
        hidden: impl Iterator<Item = &'a (ServiceName, InstanceId)>,
        held: impl Iterator<Item = &'a Arc<Instance>>,
    ) -> Self {
        let mut other = self.clone();
        for (service, id) in hidden {
            let dir = keyspace::dir(&self.prefix, service.as_str(), id.as_str());
            other.tree.reset(&dir, Entries::new());
            other.set(service.clone(), id.clone(), None);
        }
        for instance in held {
            let keys = keyspace::encode(&self.prefix, instance);
            let fields = keys.fields.into_iter();
            let entries =
                fields.map(|(name, value)| (keys.dir.join(&name).as_str().into(), value.into()));
            other.tree.reset(&keys.dir, entries.collect());
            let instance = Instance::clone(instance);
            other.set(
                instance.service.clone(),
                instance.id.clone(),
                Some(instance),
            );
        }
        other
    }

    /// Where the instances lie.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The services that have instances, sorted by name.
    #[must_use]
    pub fn services(&self) -> &BTreeMap<ServiceName, Arc<Instances>> {
        &self.services
    }

    /// The instances of a service, sorted by id.
    pub fn instances(&self, service: &str) -> impl Iterator<Item = &Arc<Instance>> {
        self.services
            .get(service)
            .into_iter()
            .flat_map(|instances| instances.values())
    }

    /// The raw keys.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The revision of the last update.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The instances that break the rules right now, and how.
    #[must_use]
    pub fn skipped(&self) -> &BTreeMap<Prefix, InvalidField> {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::instance::State;
    use crate::model::key::{Entries, Value};
    use crate::model::update::{Change, Snapshot};

    fn root() -> Prefix {
        Prefix::parse("/services").unwrap()
    }

    fn put(key: &str, value: &str) -> Change {
        Change::Put(Key::from(key), Value::from(value.as_bytes()))
    }

    fn change(catalog: &mut Catalog, changes: Vec<Change>) -> Changes {
        catalog.apply(
            &root(),
            Update::Changed {
                revision: Revision(1),
                changes,
            },
        )
    }

    /// The ids, with the states of before and now.
    fn kinds(changes: &Changes) -> Vec<(&str, Option<State>, Option<State>)> {
        let state = |one: &Option<Arc<Instance>>| one.as_ref().map(|one| one.state);
        changes
            .instances
            .iter()
            .map(|c| (c.id.as_str(), state(&c.before), state(&c.now)))
            .collect()
    }

    #[test]
    fn an_instance_comes_changes_and_goes() {
        let mut catalog = Catalog::new(root());
        assert_eq!(
            kinds(&change(
                &mut catalog,
                vec![put("/services/web/a/ip", "10.0.0.1")]
            )),
            []
        );
        let complete = change(&mut catalog, vec![put("/services/web/a/port", "80")]);
        assert_eq!(kinds(&complete), [("a", None, Some(State::Up))]);
        let drained = change(&mut catalog, vec![put("/services/web/a/state", "drain")]);
        assert_eq!(
            kinds(&drained),
            [("a", Some(State::Up), Some(State::Drain))]
        );
        let gone = catalog.apply(&root(), Update::Reset(Snapshot::default()));
        assert_eq!(kinds(&gone), [("a", Some(State::Drain), None)]);
        assert!(catalog.services().is_empty() && catalog.tree().is_empty());
    }

    #[test]
    fn a_time_is_kept_and_is_no_change_of_an_instance() {
        let mut catalog = Catalog::new(root());
        let keys = [("ip", "10.0.0.1"), ("port", "80")];
        let keys = keys.map(|(field, value)| put(&format!("/services/web/a/{field}"), value));
        change(&mut catalog, keys.to_vec());
        let time = put("/services/web/a/announced_at", "2026-11-26T03:12:07Z");
        assert_eq!(kinds(&change(&mut catalog, vec![time])), []);
        let one = catalog.instances("web").next().unwrap();
        assert_eq!(one.times.announced_at, Some(1_795_662_727));
        let drain = [
            put("/services/web/a/state", "drain"),
            put("/services/web/a/state_since", "2026-11-26T03:13:07Z stop"),
        ];
        let drained = change(&mut catalog, drain.to_vec());
        assert_eq!(
            kinds(&drained),
            [("a", Some(State::Up), Some(State::Drain))]
        );
    }

    #[test]
    fn an_overlay_hides_and_holds_instances_with_their_keys() {
        let mut before = Catalog::new(root());
        let keys = |id: &str| {
            ["host", "ip", "port"].map(|field| {
                let value = if field == "port" { "80" } else { "10.0.0.1" };
                put(&format!("/services/web/{id}/{field}"), value)
            })
        };
        change(
            &mut before,
            ["a", "b"].iter().flat_map(|id| keys(id)).collect(),
        );
        let lost = before.instances("web").next().cloned();
        let mut after = before.clone();
        let all = root();
        let gone = before.tree().under(&all).map(|(key, _)| key.clone());
        change(&mut after, gone.map(Change::Delete).collect());
        let same = after.overlaid(std::iter::empty(), before.instances("web"));
        assert_eq!(
            (same.services(), same.tree()),
            (before.services(), before.tree())
        );
        let b = ("web".parse().unwrap(), "b".parse().unwrap());
        let one = before.overlaid([&b].into_iter(), std::iter::empty());
        assert_eq!(
            one.instances("web").cloned().collect::<Vec<_>>(),
            [lost.unwrap()]
        );
        assert_eq!(one.tree().len(), 3);
    }

    #[test]
    fn a_bad_instance_is_skipped_named_once_and_harms_no_other() {
        let mut catalog = Catalog::new(root());
        let good = [
            put("/services/web/a/ip", "10.0.0.1"),
            put("/services/web/a/port", "80"),
        ];
        let bad = [
            put("/services/web/b/ip", "0.0.0.0"),
            put("/services/web/b/port", "80"),
        ];
        let changes = change(&mut catalog, good.into_iter().chain(bad).collect());
        assert_eq!(kinds(&changes), [("a", None, Some(State::Up))]);
        assert_eq!(changes.skipped.len(), 1);
        let again = change(&mut catalog, vec![put("/services/web/b/port", "81")]);
        assert_eq!((again.skipped.len(), catalog.skipped().len()), (0, 1));
        let mended = change(&mut catalog, vec![put("/services/web/b/ip", "10.0.0.2")]);
        assert_eq!(kinds(&mended), [("b", None, Some(State::Up))]);
        assert!(catalog.skipped().is_empty());
    }

    #[test]
    fn an_instance_that_turns_bad_is_removed() {
        let mut catalog = Catalog::new(root());
        change(
            &mut catalog,
            vec![
                put("/services/web/a/ip", "10.0.0.1"),
                put("/services/web/a/port", "80"),
            ],
        );
        let turned = change(&mut catalog, vec![put("/services/web/a/ip", "nonsense")]);
        assert_eq!(kinds(&turned), [("a", Some(State::Up), None)]);
    }

    fn histories() -> impl Strategy<Value = Vec<Vec<Change>>> {
        let key = (
            "[ab]",
            "[xy]",
            prop_oneof![Just("ip"), Just("port"), Just("note")],
        )
            .prop_map(|(s, i, f)| format!("/services/{s}/{i}/{f}"));
        let value = prop_oneof![Just("10.0.0.1"), Just("80"), Just("bad\n")];
        let one = (key, proptest::option::of(value)).prop_map(|(key, value)| match value {
            Some(value) => put(&key, value),
            None => Change::Delete(Key::from(key)),
        });
        proptest::collection::vec(proptest::collection::vec(one, 1..4), 0..12)
    }

    proptest! {
        /// Changes applied one by one, and one reset with what they lead to, give the same catalog.
        #[test]
        fn a_fold_of_changes_equals_a_reset(history in histories()) {
            let (mut folded, mut entries) = (Catalog::new(root()), Entries::new());
            for changes in history {
                for change in &changes {
                    match change {
                        Change::Put(k, v) => drop(entries.insert(k.clone(), v.clone())),
                        Change::Delete(k) => drop(entries.remove(k)),
                    }
                }
                change(&mut folded, changes);
            }
            let mut fresh = Catalog::new(root());
            fresh.apply(&root(), Update::Reset(Snapshot { revision: Revision(1), entries }));
            prop_assert_eq!(folded.services(), fresh.services());
            prop_assert_eq!(folded.tree(), fresh.tree());
            prop_assert_eq!(folded.skipped(), fresh.skipped());
        }
    }
}
