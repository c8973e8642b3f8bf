//! Keys as etcd has them: byte ranges for a prefix, and what is text in them. Adapter.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::key::Key;
use crate::model::prefix::Prefix;
use crate::model::update::Revision;

/// All keys from `start` up to and without `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Vec<u8>,
    pub(super) end: Vec<u8>,
}

impl Range {
    /// The prefix as a key and what lies below it, and few others, which [`Prefix::covers`] sorts out.
    pub(super) fn at(prefix: &Prefix) -> Self {
        let below = Self::below(prefix);
        if prefix.as_str().is_empty() {
            return below;
        }
        Self {
            start: prefix.as_str().into(),
            ..below
        }
    }

    /// Exactly what lies below the prefix; `0` is the character after the slash.
    pub(super) fn below(prefix: &Prefix) -> Self {
        Self {
            start: format!("{}/", prefix.as_str()).into(),
            end: format!("{}0", prefix.as_str()).into(),
        }
    }

    /// The ranges to ask for, one after the other while they are denied: a role that was granted `/services/` may not
    /// read the key `/services`, which nobody needs.
    pub(super) fn choices(prefix: &Prefix) -> [Self; 2] {
        [Self::at(prefix), Self::below(prefix)]
    }
}

/// The key as text. If it is no text, the log says so, once in the life of the process.
pub(super) fn text(key: Vec<u8>) -> Option<Key> {
    static SAID: AtomicBool = AtomicBool::new(false);
    match String::from_utf8(key) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            if !SAID.swap(true, Ordering::Relaxed) {
                let key = String::from_utf8_lossy(error.as_bytes()).into_owned();
                tracing::warn!("the key {key} is not UTF-8; sidekick skips such keys");
            }
            None
        }
    }
}

/// A revision of ours as etcd counts them.
pub(super) fn wire(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// A revision of etcd's as we count them.
pub(super) fn revision(wire: i64) -> Revision {
    Revision(u64::try_from(wire).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_prefix_and_little_else() {
        let holds = |range: &Range, key: &str| {
            *range.start <= *key.as_bytes() && *key.as_bytes() < *range.end
        };
        let prefix = Prefix::parse("/services").unwrap();
        let [at, below] = Range::choices(&prefix);
        assert!(holds(&at, "/services") && !holds(&below, "/services"));
        for range in [at, below] {
            assert!(holds(&range, "/services/web/a/ip"));
            assert!(!holds(&range, "/servicesx/web"));
        }
        let root = Range::at(&Prefix::parse("/").unwrap());
        assert!(holds(&root, "/anything") && !holds(&root, "anything"));
    }

    #[test]
    fn keys_are_text_or_skipped() {
        assert_eq!(text(b"/a".to_vec()).as_deref(), Some("/a"));
        assert_eq!(text(vec![b'/', 0xff]), None);
    }
}
