//! What a store can say: snapshots, changes, revisions, leases. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A position in the history of a store; later is greater, until the store is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lease within its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A full key, `/services/web/a/ip`. Cheap to clone.
pub type Key = Arc<str>;
/// A value as the store has it; whether it is text is the reader's question. Cheap to clone.
pub type Value = Arc<[u8]>;
/// Keys and their values, sorted by key.
pub type Entries = BTreeMap<Key, Value>;

/// A path under which keys lie, compared on path boundaries: `/services/web` covers `/services/web` and
/// `/services/web/a`, and does not cover `/services/webserver`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(String);

/// Why a text cannot be a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "prefix {0:?} is not a path: it starts with a slash and has no empty, . or .. parts and no control characters"
)]
pub struct InvalidPrefix(String);

impl Prefix {
    /// Parses a path; slashes at its end are dropped, `/` stands for everything.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let path = text.trim_end_matches('/');
        let part_is_fine =
            |p: &str| !matches!(p, "" | "." | "..") && !p.chars().any(char::is_control);
        let is_path = match path.strip_prefix('/') {
            Some(rest) => rest.split('/').all(part_is_fine),
            None => path.is_empty() && !text.is_empty(),
        };
        if is_path {
            Ok(Self(path.to_owned()))
        } else {
            Err(InvalidPrefix(text.to_owned()))
        }
    }

    /// The path that covers everything.
    #[must_use]
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// The path without a slash at its end; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` is this path or lies below it.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        key.strip_prefix(self.0.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path of `name` below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The fewest of `prefixes` that cover them all.
    #[must_use]
    pub fn widest(mut prefixes: Vec<Self>) -> Vec<Self> {
        prefixes.sort();
        prefixes.dedup();
        let all = prefixes.clone();
        prefixes.retain(|one| {
            !all.iter()
                .any(|other| other != one && other.covers(one.as_str()))
        });
        prefixes
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// Everything under a prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The revision at which all of it was true.
    pub revision: Revision,
    /// The keys and values.
    pub entries: Entries,
}

/// One key that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(Key, Value),
    /// The key is gone: deleted, withdrawn or expired.
    Delete(Key),
}

/// What following a prefix yields. A consumer never has to know why a reset came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Forget what you know of the prefix: this is all of it.
    Reset(Snapshot),
    /// Changes in the order in which they happened. A transaction is never split over two updates.
    Changed {
        /// The revision after the last of them.
        revision: Revision,
        /// What changed.
        changes: Vec<Change>,
    },
}

impl Update {
    /// The revision this update leads to.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Reset(snapshot) => snapshot.revision,
            Self::Changed { revision, .. } => *revision,
        }
    }
}

/// Keys that are to stand together under one path, and nothing else from an earlier announcement with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The directory of the instance, `/services/web/a`.
    pub dir: Prefix,
    /// Names below it (`ip`, `settings/distribution`) and their values.
    pub fields: BTreeMap<String, Vec<u8>>,
    /// The [`STATE`] to put on a new lease, where none stands: what a hand had set on the one before. What stands on
    /// this lease already, or on none, is left as it is, whatever this says.
    pub state: Option<Vec<u8>>,
    /// Who has to give way.
    pub claim: Claim,
    /// Our own leases before this one. Where one of them still holds the instance, its state is carried over: somebody has
    /// set it there for this very instance.
    pub predecessors: BTreeSet<LeaseId>,
}

/// The field below a publication's directory that others than its owner set, too: on the owner's lease, so that it goes
/// with what it is about.
pub const STATE: &str = "state";

/// A change of the state of something that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The directory of the instance.
    pub dir: Prefix,
    /// The state; `None` takes it away.
    pub state: Option<Vec<u8>>,
    /// Who wants it.
    pub by: By,
}

/// Who changes a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner of what stands on this lease: nothing happens unless it does, and a state that is there stays.
    Owner(LeaseId),
    /// Somebody else, who means it, whatever the state is.
    Hand,
}

/// What is found where something was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether all its fields are there, on its lease.
    pub is_whole: bool,
    /// The state that was set on its lease, and dies with it.
    pub state: Option<Vec<u8>>,
}

/// What is to become of keys under a publication's directory that hang on somebody else's lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Claim {
    /// Whoever it is gives way.
    #[default]
    Whole,
    /// Whoever it is gives way once; from then on [`Claim::Alone`].
    TakeOver(BTreeSet<String>),
    /// An owner with the same values in these fields gives way, since it is ourselves before a restart; another one is
    /// a conflict.
    Restart(BTreeSet<String>),
    /// Whoever else is there came after us, and is a conflict: two who are alive would take the place from each other
    /// with every heartbeat. For a new lease it is [`Claim::Restart`] again, since on the old one it may be ourselves.
    Alone(BTreeSet<String>),
    /// Nobody gives way, and nobody is in conflict: what hangs on another lease is left alone. So is taken back what was
    /// published.
    Ours,
}

impl Claim {
    /// The claim of those who have published.
    #[must_use]
    pub fn published(self) -> Self {
        match self {
            Self::TakeOver(fields) | Self::Restart(fields) | Self::Alone(fields) => {
                Self::Alone(fields)
            }
            Self::Whole => Self::Whole,
            Self::Ours => Self::Ours,
        }
    }

    /// The claim on another lease than before.
    #[must_use]
    pub fn renewed(self) -> Self {
        match self {
            Self::Alone(fields) => Self::Restart(fields),
            Self::TakeOver(_) | Self::Restart(_) | Self::Whole | Self::Ours => self,
        }
    }
}

impl Publication {
    /// Why an owner on another lease, with this value in this field, does not give way; `None` if it does.
    #[must_use]
    pub fn conflict(&self, field: &str, theirs: &[u8]) -> Option<String> {
        let same = match &self.claim {
            Claim::Restart(same) => same,
            Claim::Alone(_) => {
                let dir = &self.dir;
                return Some(format!(
                    "{dir} is announced by another owner, who came later"
                ));
            }
            Claim::Whole | Claim::TakeOver(_) | Claim::Ours => return None,
        };
        let ours = self.fields.get(field)?;
        if !same.contains(field) || ours == theirs {
            return None;
        }
        let shown = |value| {
            String::from_utf8_lossy(value)
                .escape_debug()
                .collect::<String>()
        };
        Some(format!(
            "{} is announced by another owner, with {field} {} (ours is {})",
            self.dir,
            shown(theirs),
            shown(ours)
        ))
    }

    /// The full key of a field.
    #[must_use]
    pub fn key(&self, field: &str) -> String {
        format!("{}/{field}", self.dir.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_paths() {
        for (text, want) in [("/", ""), ("/a/", "/a"), ("/a/b", "/a/b"), ("//", "")] {
            assert_eq!(
                Prefix::parse(text).map(|p| p.0),
                Ok(want.to_owned()),
                "{text}"
            );
        }
        for bad in ["", "a", "a/b", "/a//b", "/a/../b", "/./a", "/a\nb"] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_cover_on_path_boundaries() {
        let prefix = Prefix::parse("/services/web").unwrap();
        assert!(prefix.covers("/services/web"));
        assert!(prefix.covers("/services/web/a"));
        assert!(!prefix.covers("/services/webserver"));
        assert!(!prefix.covers("/services"));
        assert!(Prefix::parse("/").unwrap().covers("/anything"));
    }

    #[test]
    fn the_widest_prefixes_cover_all() {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|t| Prefix::parse(t).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            Prefix::widest(parse(&[
                "/services/web",
                "/a",
                "/services",
                "/services",
                "/ab"
            ])),
            parse(&["/a", "/ab", "/services"])
        );
        assert_eq!(Prefix::widest(parse(&["/a", "/"])), parse(&["/"]));
    }
}
