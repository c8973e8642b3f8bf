//! Watches directories by inotify, and sorts out which of its events can mean other keys. Adapter.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::data::{self, Kind};
use super::layout::{Layout, is_hidden};
use super::scan::Directory;

/// So many instances have their directories watched, so that an edit by hand is noticed at once; the backstop notices one in
/// the others. Each watch costs the kernel memory, and giving many of them back takes long.
const WATCHED_INSTANCES: usize = 500;

/// Wakes the watch, and collects what events have reported since its last rescan.
#[derive(Debug, Default)]
pub(super) struct Signal {
    pub(super) wake: Notify,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Directories in which something has changed.
    pub(super) dirty: HashSet<PathBuf>,
    /// Events were dropped: everything may have changed.
    pub(super) overflow: bool,
}

/// The directories that the kernel watches for us.
pub(super) struct InotifyWatches {
    layout: Layout,
    /// `None` if the kernel gave none.
    watcher: Option<RecommendedWatcher>,
    /// The directories that are watched, and their inodes; 0 for one whose name is not used again.
    watched: HashMap<PathBuf, u64>,
    instances: usize,
    seen: HashSet<PathBuf>,
    /// The kernel refused to watch a directory.
    has_gaps: bool,
}

impl InotifyWatches {
    pub(super) fn open(layout: Layout, signal: Arc<Signal>) -> Self {
        let filter = layout.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            signal.record(&filter, event);
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "the kernel does not report changes of {layout} ({error}), so sidekick scans it every second; raise \
                     fs.inotify.max_user_instances"
                );
            })
            .ok();
        Self {
            layout,
            watcher,
            watched: HashMap::new(),
            instances: 0,
            seen: HashSet::new(),
            has_gaps: false,
        }
    }

    pub(super) fn exist(&self) -> bool {
        self.watcher.is_some()
    }

    pub(super) fn cover_everything(&self) -> bool {
        self.exist() && !self.has_gaps
    }

    /// Forgets which directories the last scan came by.
    pub(super) fn begin_scan(&mut self) {
        self.seen.clear();
        let own = self.layout.own();
        let root = self.layout.root().to_owned();
        self.watch_directory(&root, Directory::Named);
        self.watch_directory(&own, Directory::Named);
    }

    /// Watches a directory that the scan is about to read.
    pub(super) fn watch_directory(&mut self, path: &Path, what: Directory) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let known = self.watched.get(path);
        if what == Directory::Data && known.is_none() && self.instances >= WATCHED_INSTANCES {
            return;
        }
        if !self.seen.insert(path.to_owned()) {
            return;
        }
        let inode = match (what, known) {
            (Directory::Data, Some(_)) => return,
            (Directory::Data, None) => 0,
            (Directory::Named, _) => match metadata_of_named(path, self.layout.root()) {
                Ok(metadata) if metadata.is_dir() => metadata.ino(),
                Ok(_) | Err(_) => return,
            },
        };
        if known == Some(&inode) {
            return;
        }
        if known.is_some() {
            // Of the directory that was there before; it may well be gone by itself.
            let _ = watcher.unwatch(path);
        }
        match watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.instances += usize::from(what == Directory::Data);
                self.watched.insert(path.to_owned(), inode);
            }
            Err(error) => {
                let vanished = matches!(error.kind, notify::ErrorKind::PathNotFound);
                if !vanished && !std::mem::replace(&mut self.has_gaps, true) {
                    tracing::warn!(
                        %error,
                        "the kernel gives no further watch for {} ({error}), so sidekick scans {} every second; raise \
                         fs.inotify.max_user_watches",
                        path.display(),
                        self.layout
                    );
                }
            }
        }
    }

    /// Ends the watches of directories that the scan has not come by.
    pub(super) fn end_scan(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let (seen, instances) = (&self.seen, &mut self.instances);
        self.watched.retain(|path, inode| {
            let stays = seen.contains(path);
            if !stays {
                *instances -= usize::from(*inode == 0);
                let _ = watcher.unwatch(path);
            }
            stays
        });
    }
}

/// The metadata of a directory with a name of its own. The root may be a link, `/var/run` for `/run`; nothing below it may.
fn metadata_of_named(path: &Path, root: &Path) -> std::io::Result<fs::Metadata> {
    if path == root {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    }
}

impl Signal {
    /// Takes out what events have reported since the last call.
    pub(super) fn take_pending(&self) -> Pending {
        std::mem::take(&mut *lock(&self.pending))
    }

    fn record(&self, layout: &Layout, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "an event of {layout} cannot be read: {error}");
                return self.overflow();
            }
        };
        if event.need_rescan() {
            return self.overflow();
        }
        for path in &event.paths {
            if matters(layout, event.kind, path) {
                let dir = path.parent().unwrap_or(path);
                lock(&self.pending).dirty.insert(dir.to_owned());
                self.wake.notify_one();
            }
        }
    }

    fn overflow(&self) {
        lock(&self.pending).overflow = true;
        self.wake.notify_one();
    }
}

/// Whether an event can mean other keys.
fn matters(layout: &Layout, kind: EventKind, path: &Path) -> bool {
    let is_move_here = matches!(
        kind,
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
    );
    // Nothing below the store's own directory but the revision; and the data directories, where hands set keys.
    if path == layout.revision() {
        return is_move_here;
    }
    if path == layout.own() || path == layout.root() {
        return true;
    }
    let Some(dir) = path.parent() else {
        return true;
    };
    if dir == layout.own()
        || path
            .file_name()
            .is_none_or(|n| n.to_str().is_none_or(is_hidden))
    {
        return false;
    }
    // A data directory that has no manifest is on its way out, and the revision has told of that.
    let is_going = || {
        dir.strip_prefix(layout.leases())
            .is_ok_and(|below| !is_live_data(layout, below))
    };
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        // Reading is no change, and a file that is just being written is read when it is closed.
        EventKind::Access(_)
        | EventKind::Create(CreateKind::File)
        | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => false,
        EventKind::Create(_) => !is_going(),
        // A link is a publication; its revision follows.
        EventKind::Modify(_) if is_move_here => !matches!(data::kind(path), Ok(Some(Kind::Link))),
        EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Any | EventKind::Other => {
            !is_going()
        }
    }
}

/// Whether a path below the leases lies in a complete data directory.
fn is_live_data(layout: &Layout, below: &Path) -> bool {
    let data: PathBuf = below.components().take(2).collect();
    Layout::manifest(&layout.leases().join(data)).exists()
}

/// Nothing that is guarded here is left half done by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
