//! Reads the tree without a lock, and yet never sees half of a publication. Adapter.
//!
//! Three things make that so. A publication is read by its link, and read again if the link is another one afterwards.
//! Whether a lease is alive is asked once per scan, after everything has been read: what is removed is removed from dead
//! leases only. And a scan during which the revision moved is done again, which costs little, since publications that
//! have not changed come from the cache.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::{Cached, Recheck, Stamp};
use super::data::{self, Kind, Manifest};
use super::expiry::{Clock, Heartbeat, is_absent};
use super::layout::{Data, Layout, is_hidden};
use super::lock::require_root;
use super::revision::read_revision;
use crate::model::key::{Entries, Key, Value};
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::store::StoreError;

/// How often a scan is done again because something was published meanwhile; then it is as good as it can be: each
/// instance whole, and nothing older than the revision from before.
const ATTEMPTS: usize = 3;
/// How often one place is read again because it was replaced meanwhile. Reading is faster than replacing.
const TRIES: usize = 1000;
/// Keys that come and go together, or that lie in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Group {
    /// Set by hand: in this directory, or in the data directory of the publication that stands there.
    ByHand(Key),
    /// Published at this place.
    Published(Key),
}

/// Everything under a prefix. Groups that have not changed are shared between one scan and the next.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The store's revision from before the scan.
    pub(super) revision: u64,
    /// The latest revision in the manifest of a publication; greater than `revision` while its writer is not yet done.
    pub(super) latest: u64,
    /// When the first of the leases ends.
    pub(super) first_end: Option<u64>,
    pub(super) groups: BTreeMap<Group, Arc<Entries>>,
}

impl Scan {
    pub(super) fn entries(&self) -> Entries {
        let entries = self.groups.values().flat_map(|group| group.iter());
        entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Called with each directory before it is read, so that it can be watched in time.
pub(super) type Enter<'a> = &'a mut dyn FnMut(&Path, Directory);

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    /// One that may be replaced by another one of the same name.
    Named,
    /// One of a publication: its name is never used again.
    Data,
}

/// Reads a tree, again and again.
#[derive(Debug)]
pub(super) struct Scanner {
    layout: Layout,
    clock: Clock,
    cache: HashMap<Key, Cached>,
}

/// One walk over the tree.
struct Walk<'a> {
    prefix: &'a Prefix,
    recheck: &'a Recheck,
    enter: Enter<'a>,
    found: Vec<Found>,
    seen: HashSet<Key>,
}

enum Found {
    ByHand(Key, Arc<Entries>),
    /// The publication in the cache under this key.
    Publication(Key),
}

impl Scanner {
    pub(super) fn new(layout: Layout, clock: Clock) -> Self {
        Self {
            layout,
            clock,
            cache: HashMap::new(),
        }
    }

    /// Reads everything under the prefix.
    pub(super) fn scan(
        &mut self,
        prefix: &Prefix,
        recheck: &Recheck,
        enter: Enter<'_>,
    ) -> Result<Scan, StoreError> {
        for attempt in 1.. {
            require_root(&self.layout)?;
            let revision = read_revision(&self.layout)?;
            let mut walk = Walk {
                prefix,
                recheck,
                enter: &mut *enter,
                found: Vec::new(),
                seen: HashSet::new(),
            };
            self.descend(&mut walk)?;
            let Walk { found, seen, .. } = walk;
            self.cache.retain(|key, _| seen.contains(key));
            let scan = self.judge(revision, found)?;
            if attempt == ATTEMPTS || read_revision(&self.layout)? == revision {
                // A root that was taken away under the scan looks like an empty one.
                require_root(&self.layout)?;
                return Ok(scan);
            }
        }
        unreachable!("the attempts are counted")
    }

    /// Keeps what was found on leases that are alive.
    fn judge(&self, revision: u64, found: Vec<Found>) -> Result<Scan, StoreError> {
        let mut scan = Scan {
            revision,
            ..Scan::default()
        };
        let now = Clock::now();
        let mut ends: HashMap<LeaseId, Option<u64>> = HashMap::new();
        for found in found {
            let key = match found {
                Found::ByHand(dir, entries) => {
                    scan.groups.insert(Group::ByHand(dir), entries);
                    continue;
                }
                Found::Publication(key) => key,
            };
            let Some(cached) = self.cache.get(&key) else {
                continue;
            };
            if !cached.by_hand.is_empty() {
                scan.groups
                    .insert(Group::ByHand(key.clone()), cached.by_hand.clone());
            }
            let lease = cached.data.lease;
            let end = if let Some(end) = ends.get(&lease) {
                *end
            } else {
                let end = self.end_of(lease, now)?;
                ends.insert(lease, end);
                end
            };
            if end.is_some() {
                scan.latest = scan.latest.max(cached.revision);
                scan.groups
                    .insert(Group::Published(key), cached.published.clone());
            }
        }
        scan.first_end = ends.into_values().flatten().min();
        Ok(scan)
    }

    /// When a lease ends, if it is alive.
    pub(super) fn end_of(&self, lease: LeaseId, now: u64) -> Result<Option<u64>, StoreError> {
        let file = self.layout.heartbeat(lease);
        let heartbeat =
            Heartbeat::read(&file).map_err(|e| self.layout.failed("read", &file, &e))?;
        Ok(heartbeat.and_then(|heartbeat| self.clock.end_of(&heartbeat, now)))
    }

    /// Goes from the root to the prefix, and from there everywhere.
    fn descend(&mut self, walk: &mut Walk<'_>) -> Result<(), StoreError> {
        let path = walk.prefix.as_str();
        let parts: Vec<_> = path.split('/').skip(1).collect();
        if parts.iter().any(|part| is_hidden(part)) {
            return Ok(());
        }
        let mut key = String::new();
        for part in parts {
            let place = self.layout.path_of(&key);
            (walk.enter)(&place, Directory::Named);
            key = format!("{key}/{part}");
            match self.kind(&key)? {
                Some(Kind::Dir) => {}
                // An instance on the way, or the prefix itself, which is a key.
                Some(Kind::Link | Kind::File) => return self.read_place(&key, walk),
                Some(Kind::Other) | None => return Ok(()),
            }
        }
        self.read_place(&key, walk)
    }

    fn kind(&self, key: &str) -> Result<Option<Kind>, StoreError> {
        let place = self.layout.path_of(key);
        data::kind(&place).map_err(|e| self.layout.failed("look at", &place, &e))
    }

    /// Reads what stands at a key, whatever it is, until it is the same before and after.
    fn read_place(&mut self, key: &str, walk: &mut Walk<'_>) -> Result<(), StoreError> {
        let place = self.layout.path_of(key);
        let inode = || {
            fs::symlink_metadata(&place)
                .ok()
                .map(|m| (m.ino(), m.dev()))
        };
        for _ in 0..TRIES {
            let (before, mark) = (inode(), walk.found.len());
            match self.kind(key)? {
                None | Some(Kind::Other) => return Ok(()),
                Some(Kind::File) => {
                    let entries = self.by_hand([key.to_owned()].iter(), walk)?;
                    walk.found.push(Found::ByHand(key.into(), entries));
                }
                Some(Kind::Link) => {
                    if self.read_link(key, walk)? {
                        return Ok(());
                    }
                }
                Some(Kind::Dir) => self.read_dir(key, walk)?,
            }
            // A root keeps its place even if it was exchanged: the next scan sees the other one.
            if before.is_some() && inode() == before {
                return Ok(());
            }
            walk.found.truncate(mark);
        }
        Err(self.layout.unavailable(format!(
            "{} changes faster than it can be read",
            place.display()
        )))
    }

    fn read_dir(&mut self, key: &str, walk: &mut Walk<'_>) -> Result<(), StoreError> {
        let place = self.layout.path_of(key);
        (walk.enter)(&place, Directory::Named);
        let found = data::list(&place).map_err(|e| self.layout.failed("list", &place, &e))?;
        let mut files = Vec::new();
        for (name, kind) in found {
            let below = format!("{key}/{name}");
            match kind {
                Kind::File => files.push(below),
                Kind::Dir => self.read_place(&below, walk)?,
                Kind::Link => {
                    if !self.read_link(&below, walk)? {
                        self.read_place(&below, walk)?;
                    }
                }
                Kind::Other => {}
            }
        }
        let entries = self.by_hand(files.iter(), walk)?;
        if !entries.is_empty() {
            walk.found.push(Found::ByHand(key.into(), entries));
        }
        Ok(())
    }

    fn by_hand<'k>(
        &self,
        keys: impl Iterator<Item = &'k String>,
        walk: &Walk<'_>,
    ) -> Result<Arc<Entries>, StoreError> {
        let mut entries = Entries::new();
        for key in keys.filter(|key| walk.prefix.covers(key)) {
            let place = self.layout.path_of(key);
            let value = data::value(&place).map_err(|e| self.layout.failed("read", &place, &e))?;
            if let Some(value) = value {
                entries.insert(key.as_str().into(), data::by_hand(value).into());
            }
        }
        Ok(Arc::new(entries))
    }

    /// Reads the publication that a link leads to; false if there is no link (any more).
    fn read_link(&mut self, key: &str, walk: &mut Walk<'_>) -> Result<bool, StoreError> {
        let place = self.layout.path_of(key);
        let link = || match fs::read_link(&place) {
            Ok(text) => Ok(Some(text)),
            // It is a directory now, or nothing.
            Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => {
                Ok(None)
            }
            Err(error) => Err(self.layout.failed("read", &place, &error)),
        };
        for _ in 0..TRIES {
            let Some(text) = link()? else {
                return Ok(false);
            };
            if let Some((key, known)) = self.cache.get_key_value(key)
                && known.link == text
                && known.is_fresh(walk.recheck)
            {
                for (dir, _) in &known.dirs {
                    (walk.enter)(dir, Directory::Data);
                }
                walk.publication(key.clone());
                return Ok(true);
            }
            let Some(data) = Layout::parse_link(key, &text) else {
                return Ok(true);
            };
            let read = self
                .read_data(key, text.clone(), data, walk)
                .map_err(|(path, error)| self.layout.failed("read", &path, &error))?;
            if link()?.as_ref() != Some(&text) {
                continue;
            }
            if let Some(mut read) = read {
                let key: Key = key.into();
                // An unchanged group is shared with the previous scan, which makes comparing scans cheap.
                if let Some(known) = self.cache.get(&key) {
                    for (new, old) in [
                        (&mut read.published, &known.published),
                        (&mut read.by_hand, &known.by_hand),
                    ] {
                        if *new == *old {
                            *new = old.clone();
                        }
                    }
                }
                self.cache.insert(key.clone(), read);
                walk.publication(key);
            }
            return Ok(true);
        }
        Err(self.layout.unavailable(format!(
            "{} changes faster than it can be read",
            place.display()
        )))
    }

    /// Reads a data directory; `None` if it is incomplete, because it is being removed.
    fn read_data(
        &self,
        key: &str,
        link: PathBuf,
        data: Data,
        walk: &mut Walk<'_>,
    ) -> Result<Option<Cached>, (PathBuf, io::Error)> {
        let dir = self.layout.data(&data);
        let mut dirs = Vec::new();
        let files = data::files(&dir, &mut |path| {
            (walk.enter)(path, Directory::Data);
            // The stamp is taken before the reading, so that a change during it makes the stamp an old one.
            dirs.push((path.to_owned(), Stamp::settled(path)));
        });
        let files = files.map_err(|error| (dir.clone(), error))?;
        let manifest = Manifest::read(&dir).map_err(|error| (dir.clone(), error))?;
        let Some(manifest) = manifest else {
            return Ok(None);
        };
        let (mut published, mut by_hand) = (Entries::new(), Entries::new());
        let mut by_hand_files = Vec::new();
        for file in files {
            let path = dir.join(&file);
            let newline = manifest.fields.get(&file);
            if newline.is_none() {
                by_hand_files.push((path.clone(), Stamp::settled(&path)));
            }
            let value = data::value(&path).map_err(|error| (path, error))?;
            let full = format!("{key}/{file}");
            let Some(value) = value.filter(|_| walk.prefix.covers(&full)) else {
                continue;
            };
            match newline {
                Some(true) => drop(published.insert(full.into(), Value::from(value))),
                // Somebody has edited a published field with an editor, which has added a newline.
                Some(false) => drop(published.insert(full.into(), data::by_hand(value).into())),
                None => drop(by_hand.insert(full.into(), data::by_hand(value).into())),
            }
        }
        Ok(Some(Cached {
            link,
            data,
            revision: manifest.revision,
            published: Arc::new(published),
            by_hand: Arc::new(by_hand),
            dirs,
            files: by_hand_files,
        }))
    }
}

impl Walk<'_> {
    fn publication(&mut self, key: Key) {
        self.seen.insert(key.clone());
        self.found.push(Found::Publication(key));
    }
}
