//! Publications that have been read, and how to tell that they have not changed since. Adapter.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::Data;
use crate::model::key::Entries;

/// Time stamps of files are this coarse at worst: what changed later than that may change again and keep its stamp.
const COARSE: i128 = 50_000_000;

/// Which of the cached publications a scan reads again.
#[derive(Debug)]
pub(super) enum Recheck {
    /// Those in directories that a watch has reported.
    Only(HashSet<PathBuf>),
    /// All, by the time stamps of their directories and of what is set by hand in them.
    All,
}

#[derive(Debug)]
pub(super) struct Cached {
    /// What the link says, and what it leads to.
    pub(super) link: PathBuf,
    pub(super) data: Data,
    pub(super) revision: u64,
    pub(super) published: Arc<Entries>,
    pub(super) by_hand: Arc<Entries>,
    /// The directories, as they were.
    pub(super) dirs: Vec<(PathBuf, Option<Stamp>)>,
    /// The files set by hand, as they were.
    pub(super) files: Vec<(PathBuf, Option<Stamp>)>,
}

impl Cached {
    pub(super) fn is_fresh(&self, recheck: &Recheck) -> bool {
        match recheck {
            Recheck::Only(dirty) => {
                dirty.is_empty() || !self.dirs.iter().any(|(path, _)| dirty.contains(path))
            }
            Recheck::All => {
                let mut stamps = self.dirs.iter().chain(&self.files);
                stamps.all(|(path, stamp)| stamp.is_some() && *stamp == Stamp::read(path))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    fn read(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
            changed: i128::from(metadata.ctime()) * 1_000_000_000
                + i128::from(metadata.ctime_nsec()),
        })
    }

    /// The stamp of a file, if it is old enough that every later change gives the file another one.
    pub(super) fn settled(path: &Path) -> Option<Self> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .ok()?;
        let now = i128::try_from(now.as_nanos()).ok()?;
        Self::read(path).filter(|stamp| stamp.modified.max(stamp.changed) + COARSE < now)
    }
}
