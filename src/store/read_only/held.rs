//! The last good contents of a store that is only read, their revision, and the difference between two of them. Pure.

use std::ops::Bound;
use std::sync::Arc;

use crate::model::key::{Entries, Key, Value};
use crate::model::prefix::Prefix;
use crate::model::update::{Change, Revision, Snapshot};

/// All keys at one revision. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) revision: Revision,
    entries: Arc<Entries>,
}

/// The last good contents, if there were any.
#[derive(Debug, Default)]
pub(super) struct Held(Option<Contents>);

impl Held {
    pub(super) fn contents(&self) -> Option<Contents> {
        self.0.clone()
    }

    /// Takes in what was read at `now`, in milliseconds since 1970; returns what is held then. The revision is that time, so that
    /// the next process does not begin below the last one, and is later than the one before, whatever the clock does.
    pub(super) fn take_in(&mut self, entries: Entries, now: u64) -> Contents {
        let next = match &self.0 {
            Some(held) if *held.entries == entries => return held.clone(),
            Some(held) => held.revision.0 + 1,
            None => 1,
        };
        let contents = Contents {
            revision: Revision(next.max(now)),
            entries: Arc::new(entries),
        };
        self.0.insert(contents).clone()
    }
}

impl Contents {
    /// The keys below a path.
    pub(super) fn snapshot(&self, prefix: &Prefix) -> Snapshot {
        let below = self.below(prefix);
        Snapshot {
            revision: self.revision,
            entries: below
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }

    /// What has to be done to the keys of `old` below a path to make them these.
    pub(super) fn changes_since(&self, old: &Self, prefix: &Prefix) -> Vec<Change> {
        let gone = old
            .below(prefix)
            .filter(|(key, _)| !self.entries.contains_key(*key));
        let put = self
            .below(prefix)
            .filter(|(key, value)| old.entries.get(*key) != Some(value));
        let gone = gone.map(|(key, _)| Change::Delete(key.clone()));
        gone.chain(put.map(|(key, value)| Change::Put(key.clone(), value.clone())))
            .collect()
    }

    fn below<'a>(&'a self, prefix: &'a Prefix) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        self.entries
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix.as_str()))
            .filter(|(key, _)| prefix.covers(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Entries {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| (Key::from(*key), value.as_bytes().into()))
            .collect()
    }

    #[test]
    fn a_revision_is_the_time_and_rises_also_where_the_clock_does_not() {
        let mut held = Held::default();
        let mut at = |value: &str, now| held.take_in(entries(&[("/a", value)]), now).revision.0;
        assert_eq!(at("1", 1000), 1000);
        assert_eq!(at("1", 2000), 1000, "nothing has changed");
        assert_eq!(at("2", 2000), 2000);
        assert_eq!(at("3", 2000), 2001);
        assert_eq!(at("4", 500), 2002, "the clock was put back");
        assert_eq!(Held::default().take_in(entries(&[]), 0).revision.0, 1);
    }

    #[test]
    fn the_difference_below_a_path_is_found() {
        let mut held = Held::default();
        let old = held.take_in(
            entries(&[("/a/1", "x"), ("/a/2", "x"), ("/a/4", "x"), ("/ab", "x")]),
            1,
        );
        let new = held.take_in(
            entries(&[("/a/1", "x"), ("/a/2", "y"), ("/a/3", "x"), ("/b", "x")]),
            2,
        );
        let put = |key: &str, value: &str| Change::Put(key.into(), value.as_bytes().into());
        let prefix = Prefix::parse("/a").unwrap();
        assert_eq!(
            new.changes_since(&old, &prefix),
            [
                Change::Delete("/a/4".into()),
                put("/a/2", "y"),
                put("/a/3", "x")
            ]
        );
        let below = old.snapshot(&prefix).entries;
        assert_eq!(below.len(), 3, "{below:?}");
        assert_eq!(new.snapshot(&Prefix::root()).entries.len(), 4);
    }
}
