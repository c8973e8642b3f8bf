//! A value that its copies share until one of them changes it. Pure.
//!
//! What is announced is remembered in several places: by whoever reads the configuration, by the machine that checks it, by the
//! lease that holds it. Nearly always all of them have the same, and ten thousand instances have it ten thousand times.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Cheap to clone. Whoever changes one gets a copy of its own first, if there are others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Lets it be the same in memory as `other`, if both are equal.
    pub fn share_if_equal(&mut self, other: &Self)
    where
        T: PartialEq,
    {
        if self == other {
            *self = other.clone();
        }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Shared<BTreeMap<K, V>> {
    fn from(pairs: [(K, V); N]) -> Self {
        Self::from(BTreeMap::from(pairs))
    }
}

impl<T: FromIterator<A>, A> FromIterator<A> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = A>>(items: I) -> Self {
        Self::from(T::from_iter(items))
    }
}

impl<T: IntoIterator + Clone> IntoIterator for Shared<T> {
    type Item = T::Item;
    type IntoIter = T::IntoIter;
    fn into_iter(self) -> T::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

#[expect(
    clippy::into_iter_without_iter,
    reason = "what is shared has its own `iter`"
)]
impl<'a, T> IntoIterator for &'a Shared<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_until_it_is_changed() {
        let mut one: Shared<Vec<u8>> = [1, 2].into_iter().collect();
        let two = one.clone();
        assert!(Arc::ptr_eq(&one.0, &two.0));
        one.push(3);
        assert_eq!((&one[..], &two[..]), (&[1, 2, 3][..], &[1, 2][..]));
        let three = Shared::from(vec![1, 2, 3]);
        assert!(one == three && !Arc::ptr_eq(&one.0, &three.0));
        one.share_if_equal(&two);
        assert_eq!(one.len(), 3);
        one.share_if_equal(&three);
        assert!(Arc::ptr_eq(&one.0, &three.0));
        assert_eq!(one.into_iter().chain(two.clone()).count(), 5);
    }
}
