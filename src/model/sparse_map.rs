//! A map that is nearly always empty, and takes no more than a pointer then. Pure.

use std::collections::BTreeMap;
use std::ops::Deref;

/// Reads as a [`BTreeMap`]; is made of one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::box_collection,
    reason = "one word in place of three, in each instance"
)]
pub struct SparseMap<K, V>(Option<Box<BTreeMap<K, V>>>);

impl<K: 'static, V: 'static> SparseMap<K, V> {
    const EMPTY: &'static BTreeMap<K, V> = &BTreeMap::new();
}

impl<K, V> From<BTreeMap<K, V>> for SparseMap<K, V> {
    fn from(map: BTreeMap<K, V>) -> Self {
        Self((!map.is_empty()).then(|| Box::new(map)))
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SparseMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        BTreeMap::from_iter(pairs).into()
    }
}

impl<K: 'static, V: 'static> Deref for SparseMap<K, V> {
    type Target = BTreeMap<K, V>;
    fn deref(&self) -> &BTreeMap<K, V> {
        self.0.as_deref().unwrap_or(Self::EMPTY)
    }
}

impl<'a, K: 'static, V: 'static> IntoIterator for &'a SparseMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, K, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_the_map_that_it_is_made_of() {
        for map in [BTreeMap::new(), BTreeMap::from([(1, "a"), (2, "b")])] {
            let sparse = SparseMap::from(map.clone());
            assert_eq!(*sparse, map);
            assert_eq!(sparse.0.is_none(), map.is_empty());
            assert_eq!(sparse, map.into_iter().collect());
        }
    }
}
