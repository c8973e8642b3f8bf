//! The catalog: folds the updates of a store into the sorted list of complete, valid instances. Pure.

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

/// Builds the map anew, in less memory. A map that got its entries one by one, in order, has nodes that are half full; one that
/// gets them all at once has full ones.
pub fn compact(instances: &mut Instances) {
    *instances = std::mem::take(instances).into_iter().collect();
}

/// All instances and keys that a watcher knows. A clone is cheap, so a render works on a clone while updates come in.
#[derive(Debug, Clone)]
pub struct Catalog {
    prefix: Prefix,
    revision: Revision,
    tree: Tree,
    services: BTreeMap<ServiceName, Arc<Instances>>,
    skipped: BTreeMap<Prefix, InvalidField>,
}

/// What an update has changed in the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The keys that were added, deleted or given another value.
    pub keys: BTreeSet<Key>,
    /// The instances that came, went or changed.
    pub instances: Vec<InstanceChange>,
    /// The instances that have become invalid, or invalid for another reason, with the reason. An instance that stays
    /// invalid is not repeated.
    pub skipped: Vec<(Prefix, InvalidField)>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The change of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceChange {
    /// Its service.
    pub service: ServiceName,
    /// Its id.
    pub id: InstanceId,
    /// The instance before the change; `None` if it is new.
    pub before: Option<Arc<Instance>>,
    /// The instance after the change; `None` if it is gone.
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

    /// Applies an update that the store has sent for `scope`.
    pub fn apply(&mut self, scope: &Prefix, update: Update) -> Changes {
        self.revision = update.revision();
        let is_reset = matches!(update, Update::Reset(_));
        let keys = match update {
            Update::Reset(snapshot) if self.tree.is_empty() => {
                let mut changes = self.take_in_first(&snapshot.entries);
                changes.keys = self.tree.reset(scope, snapshot.entries);
                return changes;
            }
            Update::Reset(snapshot) => self.tree.reset(scope, snapshot.entries),
            Update::Changed { changes, .. } => self.tree.apply(changes),
        };
        let prefix = self.prefix.clone();
        let places = keys.iter();
        let places = places.filter_map(|key| keyspace::locate(&prefix, key));
        let mut touched: Vec<_> = places.map(|place| (place.service, place.id)).collect();
        // The keys of one instance stand together.
        touched.dedup();
        touched.sort_unstable();
        let mut changes = Changes::default();
        for (service, id) in touched {
            self.refresh_instance(service, id, &mut changes);
        }
        if is_reset {
            let all = self.services.values_mut();
            all.for_each(|instances| compact(Arc::make_mut(instances)));
        }
        Changes { keys, ..changes }
    }

    /// Takes in the instances of a list while there are none. It decodes them in the order of their keys, looks nothing up, and
    /// makes the map of each service at once.
    fn take_in_first(&mut self, entries: &Entries) -> Changes {
        let mut found = decode_all(&self.prefix, entries);
        found.sort_unstable_by_key(|one| (one.service, one.id));
        let mut changes = Changes::default();
        for of_service in found.chunk_by(|one, next| one.service == next.service) {
            let mut instances = Vec::with_capacity(of_service.len());
            for one in of_service {
                match &one.instance {
                    Ok(instance) => instances.push((instance.id.clone(), Arc::clone(instance))),
                    Err(error) => {
                        let dir = keyspace::dir(&self.prefix, one.service, one.id);
                        self.skipped.insert(dir.clone(), error.clone());
                        changes.skipped.push((dir, error.clone()));
                    }
                }
            }
            let Some((_, first)) = instances.first() else {
                continue;
            };
            let service = first.service.clone();
            let news = instances.iter().map(|(id, instance)| InstanceChange {
                service: service.clone(),
                id: id.clone(),
                before: None,
                now: Some(Arc::clone(instance)),
            });
            changes.instances.extend(news);
            let instances = Instances::from_iter(instances);
            self.services.insert(service, Arc::new(instances));
        }
        changes
    }

    /// Decodes one instance again after its keys have changed.
    fn refresh_instance(&mut self, service: &str, id: &str, changes: &mut Changes) {
        let dir = || keyspace::dir(&self.prefix, service, id);
        let now = match self.read(service, id) {
            Ok(instance) => {
                if !self.skipped.is_empty() {
                    self.skipped.remove(&dir());
                }
                instance
            }
            Err(error) => {
                let dir = dir();
                if self.skipped.insert(dir.clone(), error.clone()).as_ref() != Some(&error) {
                    changes.skipped.push((dir, error));
                }
                None
            }
        };
        let known = now.as_ref();
        let known = known.map(|now| (now.service.clone(), now.id.clone()));
        let names = known.or_else(|| Some((service.parse().ok()?, id.parse().ok()?)));
        if let Some((service, id)) = names {
            changes.instances.extend(self.set(service, id, now));
        }
    }

    fn read(&self, service: &str, id: &str) -> Result<Option<Instance>, InvalidField> {
        let dir = [self.prefix.as_str(), "/", service, "/", id, "/"].concat();
        let fields = self.tree.beginning_with(&dir);
        let mut fields = fields.filter(|(field, _)| !field.is_empty()).peekable();
        match fields.peek() {
            Some(_) => keyspace::decode(service, id, fields),
            // All its keys are gone, so it is gone, and not invalid.
            None => Ok(None),
        }
    }

    fn set(
        &mut self,
        service: ServiceName,
        id: InstanceId,
        now: Option<Instance>,
    ) -> Option<InstanceChange> {
        // A list brings them in order, and nothing has to be looked up for one that comes last.
        let comes_last = |instances: &Instances| {
            let last = instances.last_key_value();
            last.is_some_and(|(last, _)| *last < id)
        };
        let instances = self.services.get(&service);
        let instances = instances.filter(|instances| !comes_last(instances));
        let before = instances.and_then(|instances| instances.get(&id)).cloned();
        // Equal names are kept once.
        let kept = self.services.get_key_value(&service);
        let service = kept.map_or(service, |(kept, _)| kept.clone());
        let now = now.map(|now| {
            let (service, id) = (service.clone(), id.clone());
            Arc::new(Instance { service, id, ..now })
        });
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

    /// A copy without the `hidden` instances and their keys, and with the `held` ones and theirs.
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

    /// The path of the instances in the store.
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

    /// The instances that are invalid, and why.
    #[must_use]
    pub fn skipped(&self) -> &BTreeMap<Prefix, InvalidField> {
        &self.skipped
    }
}

/// What the keys of one instance say.
struct Decoded<'e> {
    /// The path segments of the service and the instance.
    service: &'e str,
    id: &'e str,
    instance: Result<Arc<Instance>, InvalidField>,
}

/// Decodes the instances below `prefix`, in the order of their keys. Those that are not complete are left out.
fn decode_all<'e>(prefix: &Prefix, entries: &'e Entries) -> Vec<Decoded<'e>> {
    let places = entries.iter();
    let places = places.filter_map(|(key, value)| Some((keyspace::locate(prefix, key)?, value)));
    let mut places = places.peekable();
    let (mut found, mut fields) = (Vec::new(), Vec::new());
    // Equal names are kept once.
    let mut last: Option<ServiceName> = None;
    while let Some((place, value)) = places.next() {
        let (service, id) = (place.service, place.id);
        fields.push((place.field, &**value));
        // The keys of one instance stand together.
        if places
            .peek()
            .is_some_and(|(next, _)| (next.service, next.id) == (service, id))
        {
            continue;
        }
        let name = last.take().filter(|name| name.as_str() == service);
        let name = name.map_or_else(|| service.parse::<ServiceName>(), Ok);
        last = name.as_ref().ok().cloned();
        let fields = fields.drain(..).filter(|(field, _)| !field.is_empty());
        let mut fields = fields.peekable();
        // A directory alone is no instance, and not invalid.
        if fields.peek().is_none() {
            continue;
        }
        let decoded = name.and_then(|name| keyspace::decode_named(name, id.parse()?, fields));
        let instance = decoded.map(|instance| instance.map(Arc::new)).transpose();
        found.extend(instance.map(|instance| Decoded {
            service,
            id,
            instance,
        }));
    }
    found
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

    /// The ids of the changed instances, with their states before and after.
    fn states(changes: &Changes) -> Vec<(&str, Option<State>, Option<State>)> {
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
            states(&change(
                &mut catalog,
                vec![put("/services/web/a/ip", "10.0.0.1")]
            )),
            []
        );
        let complete = change(&mut catalog, vec![put("/services/web/a/port", "80")]);
        assert_eq!(states(&complete), [("a", None, Some(State::Up))]);
        let drained = change(&mut catalog, vec![put("/services/web/a/state", "drain")]);
        assert_eq!(
            states(&drained),
            [("a", Some(State::Up), Some(State::Drain))]
        );
        let gone = catalog.apply(&root(), Update::Reset(Snapshot::default()));
        assert_eq!(states(&gone), [("a", Some(State::Drain), None)]);
        assert!(catalog.services().is_empty() && catalog.tree().is_empty());
    }

    #[test]
    fn a_time_is_kept_and_is_no_change_of_an_instance() {
        let mut catalog = Catalog::new(root());
        let keys = [("ip", "10.0.0.1"), ("port", "80")];
        let keys = keys.map(|(field, value)| put(&format!("/services/web/a/{field}"), value));
        change(&mut catalog, keys.to_vec());
        let time = put("/services/web/a/announced_at", "2026-11-26T03:12:07Z");
        assert_eq!(states(&change(&mut catalog, vec![time])), []);
        let one = catalog.instances("web").next().unwrap();
        assert_eq!(one.times.announced_at, Some(1_795_662_727));
        let drain = [
            put("/services/web/a/state", "drain"),
            put("/services/web/a/state_since", "2026-11-26T03:13:07Z stop"),
        ];
        let drained = change(&mut catalog, drain.to_vec());
        assert_eq!(
            states(&drained),
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
        let gone = before.tree().under(&all).map(|(key, _)| key.to_key());
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
    fn an_invalid_instance_is_reported_once_and_affects_no_other() {
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
        assert_eq!(states(&changes), [("a", None, Some(State::Up))]);
        assert_eq!(changes.skipped.len(), 1);
        let again = change(&mut catalog, vec![put("/services/web/b/port", "81")]);
        assert_eq!((again.skipped.len(), catalog.skipped().len()), (0, 1));
        let mended = change(&mut catalog, vec![put("/services/web/b/ip", "10.0.0.2")]);
        assert_eq!(states(&mended), [("b", None, Some(State::Up))]);
        assert!(catalog.skipped().is_empty());
    }

    #[test]
    fn an_instance_that_becomes_invalid_is_removed() {
        let mut catalog = Catalog::new(root());
        change(
            &mut catalog,
            vec![
                put("/services/web/a/ip", "10.0.0.1"),
                put("/services/web/a/port", "80"),
            ],
        );
        let turned = change(&mut catalog, vec![put("/services/web/a/ip", "nonsense")]);
        assert_eq!(states(&turned), [("a", Some(State::Up), None)]);
    }

    fn histories() -> impl Strategy<Value = Vec<Vec<Change>>> {
        let key = (
            prop_oneof![Just("a"), Just("b"), Just("a b")],
            prop_oneof![Just("x"), Just("y"), Just("x-"), Just("")],
            prop_oneof![
                3 => Just("ip"),
                3 => Just("port"),
                1 => Just("note"),
                1 => Just("a/b"),
                1 => Just(""),
            ],
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
        /// Changes that are applied one by one give the same catalog as a reset with their result.
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
            let reset = Update::Reset(Snapshot { revision: Revision(1), entries });
            // It knows a key already, so it looks at what has changed.
            let mut other = Catalog::new(root());
            change(&mut other, vec![put("/other", "")]);
            let changed = other.apply(&root(), reset.clone());
            let mut fresh = Catalog::new(root());
            prop_assert_eq!(changed, fresh.apply(&root(), reset));
            prop_assert_eq!(other.services(), fresh.services());
            prop_assert_eq!(folded.services(), fresh.services());
            prop_assert_eq!(folded.tree(), fresh.tree());
            prop_assert_eq!(folded.skipped(), fresh.skipped());
        }
    }
}
