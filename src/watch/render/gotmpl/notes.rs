//! What a round of a loop has read of the store, in four bytes for each question, and which of these questions may have
//! another answer now. Pure.
//!
//! A note is a hash. If two have the same by chance, a round runs again that need not; never the other way round.

use super::memkv;
use crate::model::fingerprint::content_hash;
use crate::model::key_log::KeyChange;
use crate::model::prefix::Prefix;

/// A question, in short.
pub(super) type Note = u32;

/// What the answer of a function depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// One key: whether it is there, and its value.
    Value,
    /// Which keys are at a path or below it.
    Names,
    /// The same, and their values. The path is that of a pattern.
    Values,
}

impl Reads {
    /// The note of a function that was called with this key, path or pattern; none if no key can change the answer.
    pub(super) fn note(self, asked: &str) -> Option<Note> {
        match self {
            Self::Value => Some(self.of(asked)),
            Self::Names => memkv::cleaned(asked).map(|path| self.of(path.trim_end_matches('/'))),
            Self::Values => Some(self.of(memkv::literal_dir(asked))),
        }
    }

    fn of(self, path: &str) -> Note {
        let salt: u64 = match self {
            Self::Value => 0,
            Self::Names => 0x5bd1_e995,
            Self::Values => 0x1b87_3593,
        };
        let hash = content_hash([path.as_bytes()]);
        let high = (hash >> 32) ^ salt;
        Note::try_from(high & u64::from(Note::MAX)).unwrap_or_default()
    }
}

/// How many bits tell at once that a note is no hit.
const FILTER: usize = 4_096;

/// The notes of all questions that may have another answer now.
pub(super) struct Hits {
    sorted: Vec<Note>,
    filter: [u64; FILTER / 64],
}

impl Hits {
    /// The hits of changed keys, which the questions name without `root`.
    pub(super) fn new<'c>(changes: impl Iterator<Item = &'c KeyChange>, root: &Prefix) -> Self {
        let mut sorted = Vec::new();
        for change in changes.filter(|change| root.covers(&change.key)) {
            let key = &change.key[root.as_str().len()..];
            sorted.push(Reads::Value.of(key));
            let ends = key.match_indices('/').map(|(at, _)| at);
            for end in ends.chain([key.len()]) {
                sorted.push(Reads::Values.of(&key[..end]));
                if change.comes_or_goes {
                    sorted.push(Reads::Names.of(&key[..end]));
                }
            }
        }
        sorted.sort_unstable();
        sorted.dedup();
        let mut filter = [0; FILTER / 64];
        for note in &sorted {
            let (word, bit) = place(*note);
            filter[word] |= bit;
        }
        Self { sorted, filter }
    }

    /// Whether one of these notes is a hit.
    pub(super) fn any(&self, notes: &[Note]) -> bool {
        let is_hit = |note: &Note| {
            let (word, bit) = place(*note);
            self.filter[word] & bit != 0 && self.sorted.binary_search(note).is_ok()
        };
        notes.iter().any(is_hit)
    }
}

fn place(note: Note) -> (usize, u64) {
    let bit = note as usize % FILTER;
    (bit / 64, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(reads: Reads, asked: &str, key: &str, comes_or_goes: bool) -> bool {
        let change = KeyChange {
            key: key.into(),
            comes_or_goes,
        };
        let root = Prefix::parse("/root").unwrap();
        let hits = Hits::new([change].iter(), &root);
        reads.note(asked).is_some_and(|note| hits.any(&[note]))
    }

    #[test]
    fn a_change_hits_whatever_it_may_change() {
        for (reads, asked, key, by_value, by_coming) in [
            (Reads::Value, "/a/b", "/root/a/b", true, true),
            (Reads::Value, "/a", "/root/a/b", false, false),
            (Reads::Value, "/a/b/c", "/root/a/b", false, false),
            (Reads::Value, "/a/b", "/roots/a/b", false, false),
            (Reads::Value, "/a/b", "/a/b", false, false),
            (Reads::Names, "/a", "/root/a/b", false, true),
            (Reads::Names, "/a/b", "/root/a/b", false, true),
            (Reads::Names, "/a/b//../", "/root/a/b", false, true),
            (Reads::Names, "/", "/root/a/b", false, true),
            (Reads::Names, "/a", "/root/a-b/c", false, false),
            (Reads::Names, "/a/c", "/root/a/b", false, false),
            (Reads::Values, "/a/*", "/root/a/b", true, true),
            (Reads::Values, "*/a/*", "/root/a/b", true, true),
            (Reads::Values, "/a/b", "/root/a/b", true, true),
            (Reads::Values, "/*/b", "/root/a/b", true, true),
            (Reads::Values, "/a\\/b/*", "/root/a/b/c", true, true),
            (Reads::Values, "/b/*", "/root/a/b", false, false),
        ] {
            let found = [false, true].map(|comes_or_goes| hit(reads, asked, key, comes_or_goes));
            assert_eq!(found, [by_value, by_coming], "{reads:?} {asked} {key}");
        }
    }
}
