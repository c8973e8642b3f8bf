//! Following a directory: an event, an expiry or a backstop leads to a rescan, and its difference is the update. Adapter.
//!
//! The kernel tells of changes on this host (inotify); the 5 s backstop finds what it cannot tell of. A publication ends
//! with a new revision, and that is the event that counts: the link before it is passed over, so that one publication
//! is one rescan.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::beat::Clock;
use super::data::{self, Kind};
use super::layout::{Layout, is_hidden};
use super::scan::{Directory, Group, Recheck, Scan, Scanner};
use super::write::STEP;
use crate::model::update::{Change, Entries, Prefix, Revision, Snapshot, Update};
use crate::store::{BoxFuture, StoreError, Watch};

/// What the kernel does not tell of is found this late at most: changes made by other hosts, or while it had no watch
/// to spare.
const BACKSTOP: Duration = Duration::from_secs(5);
/// The same where there are not even events of this host.
const POLL: Duration = Duration::from_secs(1);

/// Instances whose directories are watched, so that an edit by hand is noticed at once. The kernel's watches are not for
/// nothing, and giving many of them back takes long; an edit in one of the others is noticed by the backstop.
const WATCHED_INSTANCES: usize = 500;

/// A watch of a directory store.
pub(super) struct DirectoryWatch {
    state: Arc<Mutex<State>>,
    signal: Arc<Signal>,
    store: Layout,
    /// When to look again by the clock.
    due: Due,
    /// What the first look has found, until it is asked for.
    first: Option<Update>,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    /// Not before: a tree that takes long to read is read half of the time at most.
    earliest: Instant,
    /// When a lease ends, unless it is renewed.
    expiry: Option<Instant>,
    backstop: Instant,
}

/// What events have left to do.
#[derive(Debug, Default)]
struct Signal {
    wake: Notify,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Directories in which something has changed.
    dirty: HashSet<PathBuf>,
    /// Events were dropped: everything may have changed.
    overflow: bool,
}

/// What goes to the blocking threads and back.
struct State {
    scanner: Scanner,
    prefix: Prefix,
    eyes: Eyes,
    known: Option<Known>,
}

/// What was said last.
struct Known {
    scan: Scan,
    said: u64,
    /// The last update was made before the writer had counted it: its revision is to be said as soon as it is there.
    owed: bool,
}

/// Why a rescan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Event,
    Expiry,
    Backstop,
}

impl DirectoryWatch {
    /// Takes the first look, so that a store that is not there has no watch.
    pub(super) async fn open(
        layout: Layout,
        clock: Clock,
        prefix: Prefix,
    ) -> Result<Self, StoreError> {
        let signal = Arc::new(Signal::default());
        let state = State {
            scanner: Scanner::new(layout.clone(), clock),
            prefix,
            eyes: Eyes::open(layout.clone(), signal.clone()),
            known: None,
        };
        let state = Arc::new(Mutex::new(state));
        let (first, due) = look(&state, &signal, &layout, Reason::Backstop).await?;
        Ok(Self {
            state,
            signal,
            store: layout,
            due,
            first,
        })
    }

    /// Waits until there is a reason to look.
    async fn reason(&self) -> Reason {
        let due = self.due;
        let at = due
            .expiry
            .map_or(due.backstop, |expiry| expiry.min(due.backstop));
        let left = at.saturating_duration_since(Instant::now());
        if timeout(left, self.signal.wake.notified()).await.is_err() {
            return if at == due.backstop {
                Reason::Backstop
            } else {
                Reason::Expiry
            };
        }
        sleep_until(due.earliest.into()).await;
        Reason::Event
    }

    async fn update(&mut self) -> Result<Update, StoreError> {
        let mut update = self.first.take();
        loop {
            if let Some(update) = update {
                return Ok(update);
            }
            let reason = self.reason().await;
            (update, self.due) = look(&self.state, &self.signal, &self.store, reason).await?;
        }
    }
}

/// Reads the tree where that holds nobody up.
async fn look(
    state: &Arc<Mutex<State>>,
    signal: &Signal,
    store: &Layout,
    reason: Reason,
) -> Result<(Option<Update>, Due), StoreError> {
    let pending = std::mem::take(&mut *lock(&signal.pending));
    let state = state.clone();
    let look = move || lock(&state).look(reason, pending);
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|error| store.unavailable(format!("reading it failed: {error}")))?
}

impl Watch for DirectoryWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Update, StoreError>> {
        Box::pin(self.update())
    }
}

impl State {
    fn look(
        &mut self,
        reason: Reason,
        pending: Pending,
    ) -> Result<(Option<Update>, Due), StoreError> {
        let start = Instant::now();
        let update = self.rescan(reason, pending)?;
        let end = Instant::now();
        let first_end = self.known.as_ref().and_then(|known| known.scan.first_end);
        let expiry = first_end.map(|at| {
            // One more, since the clock has been cut to milliseconds.
            end + Duration::from_millis(at.saturating_sub(Clock::now()) + 1)
        });
        let due = Due {
            earliest: end + (end - start),
            expiry,
            backstop: end + if self.eyes.are_open() { BACKSTOP } else { POLL },
        };
        Ok((update, due))
    }

    fn rescan(&mut self, reason: Reason, pending: Pending) -> Result<Option<Update>, StoreError> {
        let thorough = match reason {
            Reason::Backstop => true,
            Reason::Event | Reason::Expiry => pending.overflow || !self.eyes.see_all(),
        };
        let recheck = if thorough {
            Recheck::All
        } else {
            Recheck::Only(pending.dirty)
        };
        let eyes = &mut self.eyes;
        eyes.begin();
        let scan = self
            .scanner
            .scan(&self.prefix, &recheck, &mut |path, what| {
                eyes.on(path, what);
            })?;
        eyes.end();
        Ok(self.tell(scan))
    }

    /// What is new in a scan.
    fn tell(&mut self, scan: Scan) -> Option<Update> {
        let Some(known) = &mut self.known else {
            return Some(self.reset(scan));
        };
        if scan.revision < known.scan.revision {
            // The store was made anew.
            return Some(self.reset(scan));
        }
        let counted = scan.revision > known.scan.revision;
        let changes = difference(&known.scan.groups, &scan.groups);
        let revision = scan.revision;
        let said = if revision > known.said {
            revision
        } else if changes.is_empty() {
            known.said
        } else {
            // Nobody has counted this change. The next publication comes after it, whatever happens.
            (known.said + 1).min(revision + STEP - 1)
        };
        let pay = changes.is_empty() && known.owed && said > known.said;
        known.owed = if changes.is_empty() {
            known.owed && !pay
        } else {
            scan.latest > revision || (!counted && changes.iter().any(is_delete))
        };
        known.scan = scan;
        if changes.is_empty() && !pay {
            return None;
        }
        known.said = said;
        Some(Update::Changed {
            revision: Revision(said),
            changes,
        })
    }

    fn reset(&mut self, scan: Scan) -> Update {
        let snapshot = Snapshot {
            revision: Revision(scan.revision),
            entries: scan.entries(),
        };
        self.known = Some(Known {
            said: scan.revision,
            owed: scan.latest > scan.revision,
            scan,
        });
        Update::Reset(snapshot)
    }
}

fn is_delete(change: &Change) -> bool {
    match change {
        Change::Delete(_) => true,
        Change::Put(..) => false,
    }
}

/// What has to be done to the keys of `old` to make them those of `new`.
fn difference(
    old: &BTreeMap<Group, Arc<Entries>>,
    new: &BTreeMap<Group, Arc<Entries>>,
) -> Vec<Change> {
    let (mut gone, mut came) = (Entries::new(), Entries::new());
    let collect = |into: &mut Entries, entries: &Entries| {
        into.extend(entries.iter().map(|(k, v)| (k.clone(), v.clone())));
    };
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((left, _)), Some((right, _))) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let left = if order.is_le() { old.next() } else { None };
        let right = if order.is_ge() { new.next() } else { None };
        match (left, right) {
            // The same group, untouched: nearly all of them.
            (Some((_, left)), Some((_, right))) if Arc::ptr_eq(left, right) => {}
            (left, right) => {
                left.into_iter()
                    .for_each(|(_, entries)| collect(&mut gone, entries));
                right
                    .into_iter()
                    .for_each(|(_, entries)| collect(&mut came, entries));
            }
        }
    }
    // A key may go from one group to another: only what is left of both counts.
    let deleted = gone.keys().filter(|key| !came.contains_key(*key));
    let mut changes: Vec<_> = deleted.cloned().map(Change::Delete).collect();
    let put = came
        .into_iter()
        .filter(|(key, value)| gone.get(key) != Some(value));
    changes.extend(put.map(|(key, value)| Change::Put(key, value)));
    changes
}

/// The watches of the kernel.
struct Eyes {
    layout: Layout,
    /// `None` if the kernel gave none.
    watcher: Option<RecommendedWatcher>,
    /// The directories that are watched, and their inodes; 0 for one whose name is not used again.
    watched: HashMap<PathBuf, u64>,
    instances: usize,
    seen: HashSet<PathBuf>,
    /// A directory could not be watched.
    blind: bool,
}

impl Eyes {
    fn open(layout: Layout, signal: Arc<Signal>) -> Self {
        let filter = layout.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            signal.event(&filter, event);
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(store = %layout, %error, "cannot be told of changes; looking every second (fs.inotify.max_user_instances)");
            })
            .ok();
        Self {
            layout,
            watcher,
            watched: HashMap::new(),
            instances: 0,
            seen: HashSet::new(),
            blind: false,
        }
    }

    fn are_open(&self) -> bool {
        self.watcher.is_some()
    }

    fn see_all(&self) -> bool {
        self.are_open() && !self.blind
    }

    /// A scan begins.
    fn begin(&mut self) {
        self.seen.clear();
        let own = self.layout.own();
        let root = self.layout.root().to_owned();
        self.on(&root, Directory::Named);
        self.on(&own, Directory::Named);
    }

    /// The scan is about to read a directory.
    fn on(&mut self, path: &Path, what: Directory) {
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
            (Directory::Named, _) => match fs::symlink_metadata(path) {
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
                if !vanished && !std::mem::replace(&mut self.blind, true) {
                    tracing::warn!(store = %self.layout, path = %path.display(), %error, "cannot watch everything; edits by hand may be noticed 5 s late (fs.inotify.max_user_watches)");
                }
            }
        }
    }

    /// The scan is over: what it has not come by is watched no more.
    fn end(&mut self) {
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

impl Signal {
    fn event(&self, layout: &Layout, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(store = %layout, %error, "an event could not be read");
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
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
