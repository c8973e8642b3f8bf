//! What one target sees: the instances and keys it asked for, and the environment it was given. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Host;
use super::keys::Keys;
use crate::model::catalog::Catalog;
use crate::model::instance::{Instance, ServiceName};
use crate::model::keyspace;
use crate::model::prefix::Prefix;

/// Everything a render depends on. Cloning it is cheap.
///
/// A target that lists services sees those and their keys. A target that lists keys sees those keys, and the instances
/// that lie under them. One that lists both sees both, one that lists neither sees everything.
#[derive(Debug, Clone)]
pub struct View {
    /// The name of the target.
    pub target: String,
    /// All instances, as of one moment: a catalog does not change while a template renders.
    pub catalog: Arc<Catalog>,
    /// The target's `services`.
    pub services: Vec<ServiceName>,
    /// The target's `keys`.
    pub keys: Vec<Prefix>,
    /// The raw functions leave this out at the start of each key, as confd does with its `prefix`; `/` leaves keys whole.
    pub root: Prefix,
    /// The variables that `getenv` knows.
    pub env: Arc<BTreeMap<String, String>>,
    /// The functions that answer what is not in the store.
    pub host: Host,
}

/// The instances of one service that a target sees, sorted by id.
pub(super) type Seen<'a> = Vec<&'a Arc<Instance>>;

impl View {
    /// Every service the target sees, sorted by name; those it lists are there even when they have no instance.
    pub(super) fn visible(&self) -> BTreeMap<&str, Seen<'_>> {
        let mut visible: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
        for service in &self.services {
            visible.insert(service.as_str(), Vec::new());
        }
        for service in self.catalog.services().keys() {
            let seen = self.seen(service.as_str());
            if !seen.is_empty() {
                visible.insert(service.as_str(), seen);
            }
        }
        visible
    }

    /// The instances of a service that the target sees, sorted by id.
    pub(super) fn seen(&self, service: &str) -> Seen<'_> {
        let all = self.catalog.instances(service);
        if self.sees_all_of(service) {
            all.collect()
        } else {
            all.filter(|instance| self.sees_one(instance)).collect()
        }
    }

    /// Whether the target would see an instance of `service` if there were one: asking for another is a mistake, since
    /// nothing would render the target again when that one changes.
    pub(super) fn follows(&self, service: &str) -> bool {
        let dir = self.catalog.prefix().join(service);
        let inside = |key: &Prefix| dir.covers(key.as_str());
        self.sees_all_of(service) || self.keys.iter().any(inside)
    }

    fn sees_all_of(&self, service: &str) -> bool {
        let dir = self.catalog.prefix().join(service);
        let listed = self.services.iter().any(|one| one.as_str() == service);
        let covered = self.keys.iter().any(|key| key.covers(dir.as_str()));
        let everything = self.services.is_empty() && self.keys.is_empty();
        listed || covered || everything
    }

    fn sees_one(&self, instance: &Instance) -> bool {
        let prefix = self.catalog.prefix();
        let dir = keyspace::dir(prefix, instance.service.as_str(), instance.id.as_str());
        self.keys.iter().any(|key| key.covers(dir.as_str()))
    }

    /// The raw keys the target sees.
    pub(super) fn raw_keys(&self) -> Keys {
        let of_services = self.services.iter();
        let mut scope: Vec<Prefix> = of_services
            .map(|service| self.catalog.prefix().join(service.as_str()))
            .chain(self.keys.iter().cloned())
            .collect();
        if scope.is_empty() {
            scope.extend(Prefix::parse("/"));
        }
        Keys::new(Arc::clone(&self.catalog), scope, self.root.clone())
    }
}
