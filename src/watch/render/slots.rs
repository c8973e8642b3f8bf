//! Which instance gets which of a fixed number of slots. Pure.
//!
//! An HAProxy before 2.5 cannot add servers while it runs, but can give those that it has another address. So its file
//! has a number of spare servers, and an instance takes one of them.

use crate::model::fingerprint::fingerprint;

/// More instances than slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The place in `ids` of the one that has each slot.
///
/// A render remembers nothing, so the id alone decides: its hash names a slot, and if that is taken the next free one is
/// it. When an instance comes or goes, others stay where they are but for few that had to look for a free slot; with
/// twice as many slots as instances hardly any.
pub(super) fn slots(ids: &[&str], count: usize) -> Result<Vec<Option<usize>>, Full> {
    let mut slots = vec![None; count];
    for (place, id) in ids.iter().enumerate() {
        let from =
            usize::try_from(fingerprint([id.as_bytes()]) % count.max(1) as u64).unwrap_or_default();
        let mut probed = (from..count).chain(0..from);
        let free = probed.find(|slot| slots[*slot].is_none()).ok_or(Full)?;
        slots[free] = Some(place);
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_has_a_slot_or_it_is_an_error() {
        assert_eq!(slots(&[], 0), Ok(vec![]));
        assert_eq!(slots(&["a"], 0), Err(Full));
        assert_eq!(slots(&["a"], 1), Ok(vec![Some(0)]));
        assert_eq!(slots(&["a", "b", "c"], 2), Err(Full));
    }

    proptest! {
        #[test]
        fn everybody_is_there_once_and_most_stay(ids in prop::collection::btree_set("[a-z]{1,8}", 1..20), gone in any::<prop::sample::Index>()) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let all = slots(&ids, 64).unwrap();
            let mut there: Vec<_> = all.iter().flatten().copied().collect();
            there.sort_unstable();
            prop_assert_eq!(there, (0..ids.len()).collect::<Vec<_>>());
            let mut fewer = ids.clone();
            fewer.remove(gone.index(ids.len()));
            let names = |slots: &[Option<usize>], ids: &[&str]| -> Vec<Option<String>> {
                slots.iter().map(|slot| slot.map(|place| ids[place].to_owned())).collect()
            };
            let (before, after) = (names(&all, &ids), names(&slots(&fewer, 64).unwrap(), &fewer));
            // Only those right behind the free slot may have moved, one after the other.
            let moved = after.iter().zip(&before).filter(|(after, before)| after.is_some() && after != before);
            prop_assert!(moved.count() <= ids.len() / 2 + 1);
        }
    }
}
