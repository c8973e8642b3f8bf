//! The raw keys that a watcher knows, sorted, and look-ups by path. Pure.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::key::{Entries, Key, Value};
use super::prefix::Prefix;
use super::update::Change;

/// Keys and values under one or more prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: Entries,
    /// How many of the keys are not written as paths are.
    unclean: usize,
}

/// Whether a key is written as paths are: without empty, `.` and `..` parts, and without a slash at its end.
#[must_use]
pub fn is_clean(key: &str) -> bool {
    // Most keys have neither of these, so this is asked first.
    let mut after_slash = false;
    let is_suspicious = |byte: &u8| {
        let was_after_slash = std::mem::replace(&mut after_slash, *byte == b'/');
        was_after_slash && matches!(byte, b'/' | b'.')
    };
    let is_suspicious = key.ends_with('/') || key.as_bytes().iter().any(is_suspicious);
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let mut rest = key.strip_prefix('/').into_iter();
    !is_suspicious || key == "/" || rest.any(|rest| rest.split('/').all(is_part))
}

impl Tree {
    /// The value of exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all keys are written as paths are.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unclean == 0
    }

    /// The keys that a prefix covers, in order.
    pub fn under<'t, 'p>(
        &'t self,
        prefix: &'p Prefix,
    ) -> impl Iterator<Item = (&'t Key, &'t Value)> + use<'t, 'p> {
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        self.entries
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix.as_str()))
            // `/a-b` sorts between `/a` and `/a/b`.
            .filter(|(key, _)| prefix.covers(key))
    }

    /// Applies changes; returns the keys whose value is another one now.
    pub fn apply(&mut self, changes: Vec<Change>) -> BTreeSet<Key> {
        let mut changed = Vec::new();
        for change in changes {
            match change {
                Change::Put(key, value) => match self.entries.entry(key) {
                    Entry::Occupied(place) if *place.get() == value => {}
                    Entry::Occupied(mut place) => {
                        changed.push(Key::clone(place.key()));
                        place.insert(value);
                    }
                    Entry::Vacant(place) => {
                        self.unclean += usize::from(!is_clean(place.key()));
                        changed.push(Key::clone(place.key()));
                        place.insert(value);
                    }
                },
                Change::Delete(key) => {
                    if self.entries.remove(&key).is_some() {
                        self.unclean -= usize::from(!is_clean(&key));
                        changed.push(key);
                    }
                }
            }
        }
        // They are sorted as a rule, of which a set is made at once.
        changed.into_iter().collect()
    }

    /// Puts `entries` in the place of everything under `scope`; returns the keys whose value is another one now.
    pub fn reset(&mut self, scope: &Prefix, entries: Entries) -> BTreeSet<Key> {
        if self.is_empty() {
            self.unclean = entries.keys().filter(|key| !is_clean(key)).count();
            self.entries = entries;
            return self.entries.keys().cloned().collect();
        }
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

    fn tree(entries: Entries) -> Tree {
        let mut tree = Tree::default();
        tree.reset(&Prefix::root(), entries);
        tree
    }

    #[test]
    fn it_is_known_whether_all_keys_are_clean() {
        for bad in ["a/", "/a/", "//", "/a//b", "/a/.", "/a/../b", "/./a"] {
            assert!(!is_clean(bad), "{bad:?}");
        }
        for good in ["/", "/a", "/a/.b", "/a/..b/c", "/a/b.c"] {
            assert!(is_clean(good), "{good:?}");
        }
        let mut tree = tree(entries(&["/a", "/b/"]));
        assert!(!tree.is_clean());
        tree.apply(vec![Change::Delete("/b/".into())]);
        assert!(tree.is_clean());
        tree.apply(
            entries(&["/c//", "/d"])
                .into_iter()
                .map(|(key, value)| Change::Put(key, value))
                .collect(),
        );
        assert!(!tree.is_clean());
        tree.reset(&Prefix::root(), entries(&["/d"]));
        assert!(tree.is_clean());
    }

    #[test]
    fn a_reset_touches_its_scope_only() {
        let mut changing = tree(entries(&["/a/1", "/a/2", "/a-b", "/b/1"]));
        let scope = Prefix::parse("/a").unwrap();
        let changed = changing.reset(&scope, entries(&["/a/2", "/a/3"]));
        assert_eq!(changed, ["/a/1", "/a/3"].map(Key::from).into());
        assert_eq!(changing, tree(entries(&["/a/2", "/a/3", "/a-b", "/b/1"])));
    }

    #[test]
    fn what_stays_the_same_is_no_change() {
        let mut tree = tree(entries(&["/a"]));
        let same = Change::Put("/a".into(), b"/a".as_slice().into());
        assert!(
            tree.apply(vec![same, Change::Delete("/b".into())])
                .is_empty()
        );
    }
}
