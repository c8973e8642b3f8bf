//! The generation of a target: a mark in its files, by which a program can say which of them it has read. Pure.
//!
//! It is a hash of all texts of the target: other texts have another generation, the same texts have the same one.
//! A text cannot hold its own hash, so `generation()` leaves a place for it, which `stamp` fills in when all texts are
//! rendered.

use std::fmt;

use crate::model::fingerprint::content_hash;

/// `generation()` returns this. It has only letters and digits, which no quoting changes. An instance that announces this
/// text gets the generation in its place.
pub(super) const PLACE: &str = "sidekick0place0of0the0generation";

/// Sixteen digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation(String);

impl Generation {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fills in the generation of these texts, those of one target, where they ask for it; nothing if none of them does.
pub fn stamp<'a>(texts: impl IntoIterator<Item = &'a mut String>) -> Option<Generation> {
    let mut texts: Vec<&mut String> = texts.into_iter().collect();
    if !texts.iter().any(|text| text.contains(PLACE)) {
        return None;
    }
    let parts = texts.iter().map(|text| text.as_bytes());
    let generation = format!("{:016x}", content_hash(parts));
    for text in texts.iter_mut().filter(|text| text.contains(PLACE)) {
        **text = text.replace(PLACE, &generation);
    }
    Some(Generation(generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped<const N: usize>(texts: [&str; N]) -> (Option<Generation>, [String; N]) {
        let mut texts = texts.map(|text| text.replace('@', PLACE));
        (stamp(&mut texts), texts)
    }

    #[test]
    fn it_stands_where_it_was_asked_for() {
        let (generation, texts) = stamped(["a @ @", "b"]);
        let generation = generation.unwrap().0;
        assert_eq!(generation.len(), 16);
        assert_eq!(texts[0], format!("a {generation} {generation}"));
        assert_eq!(texts[1], "b");
        let (none, texts) = stamped(["a", "b"]);
        assert_eq!((none, texts[0].as_str()), (None, "a"));
    }

    #[test]
    fn other_texts_are_another_one_and_the_same_are_the_same() {
        let of = |one, two| stamped([one, two]).0.unwrap();
        assert_eq!(of("a @", "b"), of("a @", "b"));
        for (one, two) in [("a @", "c"), ("c @", "b"), ("a @b", ""), ("a ", "@b")] {
            assert_ne!(of("a @", "b"), of(one, two), "{one:?} {two:?}");
        }
    }
}
