//! The raw keys that a watcher knows, sorted, and look-ups by path. Pure.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::key::{Entries, Key};
use super::key_log::{KeyChange, Log, State};
use super::packed_keys::{KeyRef, PackedKeys, Put, split};
use super::prefix::Prefix;
use super::update::Change;

/// Keys and values under one or more prefixes. Two trees are equal if these are.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: PackedKeys,
    /// How many of the keys are not written as paths are.
    unclean: usize,
    log: Log,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Tree {}

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

/// How many of these keys are not written as paths are. Directories that follow each other are looked at once.
fn count_unclean<'k>(keys: impl Iterator<Item = &'k Key>) -> usize {
    let (mut dir, mut is_dir_clean, mut unclean) = ("", true, 0);
    for key in keys {
        let (its_dir, name) = key.rsplit_once('/').unwrap_or(("", key));
        if its_dir != dir {
            (dir, is_dir_clean) = (its_dir, is_clean(its_dir));
        }
        let is_part = !matches!(name, "" | "." | "..");
        let is_key_clean = (is_dir_clean && is_part) || is_clean(key);
        unclean += usize::from(!is_key_clean);
    }
    unclean
}

impl Tree {
    /// The value of exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
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
    ) -> impl Iterator<Item = (KeyRef<'t>, &'t [u8])> + use<'t, 'p> {
        self.entries
            .starting_at(prefix.as_str())
            .take_while(|(key, _)| key.starts_with(prefix.as_str()))
            // `/a-b` sorts between `/a` and `/a/b`.
            .filter(|(key, _)| key.is_under(prefix.as_str()))
    }

    /// What follows `start` in the keys that begin with it, in order.
    pub fn beginning_with<'t, 'p>(
        &'t self,
        start: &'p str,
    ) -> impl Iterator<Item = (Cow<'t, str>, &'t [u8])> + use<'t, 'p> {
        let all = self.entries.starting_at(start);
        all.map_while(|(key, value)| Some((key.strip_prefix(start)?, value)))
    }

    /// The state that the tree is in.
    #[must_use]
    pub fn state(&self) -> State {
        self.log.state()
    }

    /// The keys whose value may have become another one since `state`; `None` if that is not known.
    #[must_use]
    pub fn changed_since<'t>(
        &'t self,
        state: &State,
    ) -> Option<impl Iterator<Item = &'t KeyChange> + use<'t>> {
        self.log.since(state)
    }

    /// Applies changes; returns the keys whose value is another one now.
    pub fn apply(&mut self, changes: Vec<Change>) -> BTreeSet<Key> {
        let mut changed = Vec::with_capacity(changes.len());
        for change in changes {
            changed.extend(match change {
                Change::Put(key, value) => self.put(key, &value),
                Change::Delete(key) => self.delete(key),
            });
        }
        // They are sorted as a rule, of which a set is made at once.
        let keys = changed.iter().map(|change| Key::clone(&change.key));
        let keys = keys.collect();
        self.log.add(changed);
        keys
    }

    fn put(&mut self, key: Key, value: &[u8]) -> Option<KeyChange> {
        let put = self.entries.put(&key, value);
        let comes_or_goes = put == Put::Added;
        self.unclean += usize::from(comes_or_goes && !is_clean(&key));
        (put != Put::Same).then_some(KeyChange { key, comes_or_goes })
    }

    fn delete(&mut self, key: Key) -> Option<KeyChange> {
        let was_there = self.entries.remove(&key);
        self.unclean -= usize::from(was_there && !is_clean(&key));
        let comes_or_goes = true;
        was_there.then_some(KeyChange { key, comes_or_goes })
    }

    /// Puts `entries` in the place of everything under `scope`; returns the keys whose value is another one now.
    pub fn reset(&mut self, scope: &Prefix, entries: Entries) -> BTreeSet<Key> {
        if self.is_empty() {
            self.unclean = count_unclean(entries.keys());
            self.entries = entries.iter().map(|(k, v)| (split(k), &**v)).collect();
            self.log.forget();
            return entries.into_keys().collect();
        }
        let changes = self.changes_to(scope, entries);
        self.apply(changes)
    }

    /// What has to change for `entries` to be everything under `scope`.
    fn changes_to(&self, scope: &Prefix, entries: Entries) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut old = self.under(scope).peekable();
        for (key, value) in entries {
            while let Some((gone, _)) = old.next_if(|(old, _)| old.cmp_to(&key) == Ordering::Less) {
                changes.push(Change::Delete(gone.to_key()));
            }
            let same = old.next_if(|(old, _)| old.cmp_to(&key) == Ordering::Equal);
            if same.is_none_or(|(_, old)| *old != *value) {
                changes.push(Change::Put(key, value));
            }
        }
        changes.extend(old.map(|(gone, _)| Change::Delete(gone.to_key())));
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::model::key::Value;

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
        let all = [
            "/", "", "/a/", "//", "/a//b", "/a//c", "/a/.", "/a/..", "/a/../b", "/a/../c", "/./a",
            "/a/.b", "a",
        ];
        let all = entries(&all);
        let unclean = all.keys().filter(|key| !is_clean(key)).count();
        assert_eq!(count_unclean(all.keys()), unclean);
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

    /// What is done to one of several trees.
    #[derive(Debug, Clone)]
    enum Deed {
        Apply(Vec<Change>),
        Reset(&'static str, Entries),
        /// Another tree goes on from here.
        Clone,
    }

    fn deeds() -> impl Strategy<Value = Vec<(Index, Deed)>> {
        let key = prop::sample::select(vec!["/a", "/a/1", "/a/2", "/b/1", "/b/2", "/c//"]);
        let value = prop::sample::select(vec!["1", "2", "3"]);
        let pair = (
            key.prop_map(Key::from),
            value.prop_map(|value| Value::from(value.as_bytes())),
        );
        let change = (pair.clone(), any::<bool>());
        let change = change.prop_map(|((key, value), puts)| {
            if puts {
                Change::Put(key, value)
            } else {
                Change::Delete(key)
            }
        });
        let entries = prop::collection::btree_map(pair.0, pair.1, 0..4);
        let deed = prop_oneof![
            4 => prop::collection::vec(change, 0..4).prop_map(Deed::Apply),
            1 => (prop::sample::select(vec!["/", "/a"]), entries).prop_map(|(scope, mut entries)| {
                let prefix = Prefix::parse(scope).unwrap();
                entries.retain(|key, _| prefix.covers(key));
                Deed::Reset(scope, entries)
            }),
            1 => Just(Deed::Clone),
        ];
        prop::collection::vec((any::<Index>(), deed), 1..12)
    }

    fn differing(before: &Tree, now: &Tree) -> BTreeMap<Key, bool> {
        let keys = before.entries.all().chain(now.entries.all());
        let keys = keys.map(|(key, _)| key.to_key());
        let differs = keys.filter(|key| before.get(key) != now.get(key));
        let with_presence = differs.map(|key| {
            let comes_or_goes = before.get(&key).is_some() != now.get(&key).is_some();
            (key, comes_or_goes)
        });
        with_presence.collect()
    }

    proptest! {
        #[test]
        fn whatever_differs_between_two_states_is_known_to_have_changed(deeds in deeds()) {
            let mut trees = vec![Tree::default()];
            let mut past = vec![trees[0].clone()];
            for (which, deed) in deeds {
                let at = which.index(trees.len());
                match deed {
                    Deed::Apply(changes) => drop(trees[at].apply(changes)),
                    Deed::Reset(scope, entries) => {
                        trees[at].reset(&Prefix::parse(scope).unwrap(), entries);
                    }
                    Deed::Clone => trees.push(trees[at].clone()),
                }
                let now = &trees[at];
                for before in &past {
                    let Some(changed) = now.changed_since(&before.state()) else {
                        continue;
                    };
                    let mut known: BTreeMap<&Key, bool> = BTreeMap::new();
                    for change in changed {
                        *known.entry(&change.key).or_default() |= change.comes_or_goes;
                    }
                    for (key, comes_or_goes) in differing(before, now) {
                        let said = known.get(&key).copied();
                        prop_assert!(said.is_some_and(|said| said || !comes_or_goes), "{key}: {said:?}");
                    }
                }
                past.push(now.clone());
            }
        }
    }

    #[test]
    fn what_has_changed_is_known_while_it_is_little() {
        let mut changing = tree(entries(&["/a", "/b"]));
        let (start, before) = (changing.state(), changing.clone());
        let put = |key: &str, value: &str| Change::Put(key.into(), value.as_bytes().into());
        let known = |tree: &Tree| -> Option<Vec<(Key, bool)>> {
            let changed = tree.changed_since(&start)?;
            Some(
                changed
                    .map(|change| (change.key.clone(), change.comes_or_goes))
                    .collect(),
            )
        };
        assert_eq!(known(&changing), Some(Vec::new()));
        changing.apply(vec![put("/a", "/a"), Change::Delete("/c".into())]);
        assert_eq!(known(&changing), Some(Vec::new()), "that changes nothing");
        changing.apply(vec![put("/a", "1")]);
        changing.apply(vec![put("/c", "1"), Change::Delete("/b".into())]);
        let all = [("/a", false), ("/c", true), ("/b", true)];
        assert_eq!(
            known(&changing),
            Some(all.map(|(key, comes)| (key.into(), comes)).into())
        );
        assert_eq!(known(&before), Some(Vec::new()));
        // What one of two does is not known to the other.
        let other = changing.clone();
        changing.apply(vec![put("/d", "1")]);
        assert!(other.changed_since(&changing.state()).is_none());
        for round in 0..10_000 {
            changing.apply(vec![put("/a", &round.to_string())]);
        }
        assert_eq!(known(&changing), None);
        let many = (0..10_000)
            .map(|n| put(&format!("/many/{n}"), "1"))
            .collect();
        let state = changing.state();
        changing.apply(many);
        assert!(changing.changed_since(&state).is_none());
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
