//! The raw keys that a watcher knows, sorted, and look-ups by path. Pure.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::key::{Entries, Key, Value};
use super::prefix::Prefix;
use super::update::Change;

/// Keys and values under one or more prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(Entries);

impl Tree {
    /// The value of exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no keys at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a prefix covers, in order.
    pub fn under<'a>(
        &'a self,
        prefix: &'a Prefix,
    ) -> impl Iterator<Item = (&'a Key, &'a Value)> + 'a {
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        self.0
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix.as_str()))
            // `/a-b` sorts between `/a` and `/a/b`.
            .filter(|(key, _)| prefix.covers(key))
    }

    /// Applies changes; returns the keys whose value is another one now.
    pub fn apply(&mut self, changes: Vec<Change>) -> BTreeSet<Key> {
        let mut changed = BTreeSet::new();
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    if self.0.get(&key) != Some(&value) {
                        self.0.insert(key.clone(), value);
                        changed.insert(key);
                    }
                }
                Change::Delete(key) => {
                    if self.0.remove(&key).is_some() {
                        changed.insert(key);
                    }
                }
            }
        }
        changed
    }

    /// Puts `entries` in the place of everything under `scope`; returns the keys whose value is another one now.
    pub fn reset(&mut self, scope: &Prefix, entries: Entries) -> BTreeSet<Key> {
        let gone = self
            .under(scope)
            .map(|(key, _)| key.clone())
            .filter(|key| !entries.contains_key(key));
        let mut changes: Vec<Change> = gone.map(Change::Delete).collect();
        changes.extend(
            entries
                .into_iter()
                .map(|(key, value)| Change::Put(key, value)),
        );
        self.apply(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(keys: &[&str]) -> Entries {
        keys.iter()
            .map(|key| (Key::from(*key), Value::from(key.as_bytes())))
            .collect()
    }

    #[test]
    fn a_reset_touches_its_scope_only() {
        let mut tree = Tree(entries(&["/a/1", "/a/2", "/a-b", "/b/1"]));
        let scope = Prefix::parse("/a").unwrap();
        let changed = tree.reset(&scope, entries(&["/a/2", "/a/3"]));
        assert_eq!(changed, ["/a/1", "/a/3"].map(Key::from).into());
        assert_eq!(tree, Tree(entries(&["/a/2", "/a/3", "/a-b", "/b/1"])));
    }

    #[test]
    fn what_stays_the_same_is_no_change() {
        let mut tree = Tree(entries(&["/a"]));
        let same = Change::Put("/a".into(), b"/a".as_slice().into());
        assert!(
            tree.apply(vec![same, Change::Delete("/b".into())])
                .is_empty()
        );
    }
}
