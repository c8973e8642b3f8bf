//! Watches directories for changes, by inotify, and by polling where the kernel gives no watch. Adapter.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use super::bounded;

/// An edit is over when nothing has happened for this long: editors write, rename and touch in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// Or after this long, quiet or not.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How often we compare directories for which the kernel gives no watch.
const POLL: Duration = Duration::from_secs(1);

/// The directories that are watched.
pub struct Watched {
    /// What is in them, as the log calls it.
    what: &'static str,
    /// `None` where the kernel gives none.
    watcher: Option<RecommendedWatcher>,
    /// The state with which we compare directories that the kernel does not watch.
    polled: Option<Polled>,
    /// Whether the log already says that the kernel does not watch all of them.
    has_warned: bool,
    wake: Arc<Notify>,
    dirs: BTreeSet<PathBuf>,
    /// In the directories above these paths, only these count.
    links: Arc<Mutex<BTreeSet<PathBuf>>>,
    burst: Option<Burst>,
}

/// The state of the directories at the last comparison.
struct Polled {
    state: u64,
    next: Instant,
}

/// Changes that come one after the other.
#[derive(Clone, Copy)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Burst {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            first: now,
            last: now,
        }
    }
}

impl Watched {
    /// Watches nothing yet; `what` is what will be watched, as the log calls it.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        let wake = Arc::new(Notify::new());
        let waker = Arc::clone(&wake);
        let links: Arc<Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let only = Arc::clone(&links);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An event that we do not know may stand for any change.
            let counts = |event: notify::Event| {
                let only = only.lock().unwrap_or_else(PoisonError::into_inner);
                is_change(event.kind) && !event.paths.iter().all(|path| is_beside(path, &only))
            };
            if event.is_ok_and(counts) {
                waker.notify_one();
            }
        });
        let mut has_warned = false;
        let watcher = watcher.inspect_err(|error| {
            has_warned = true;
            warn_of_polling(what, error, "max_user_instances");
        });
        Self {
            what,
            watcher: watcher.ok(),
            polled: None,
            has_warned,
            wake,
            dirs: BTreeSet::new(),
            links,
            burst: None,
        }
    }

    /// Watches these directories, and no others. One that is not there is left out. `links` are directories, or links to
    /// them, that may be put in place or replaced as a whole.
    pub fn follow(&mut self, mut dirs: BTreeSet<PathBuf>, links: BTreeSet<PathBuf>) {
        let above = links.iter().filter_map(|link| link.parent());
        let above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        let own = links.into_iter().filter(|link| {
            let above = link.parent();
            // Everything in it counts.
            above.is_some_and(|above| !dirs.contains(above))
        });
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = own.collect();
        dirs.extend(above);
        if !self.watch(&dirs) {
            self.polled = Some(Polled {
                state: state(&dirs, &self.links),
                next: Instant::now() + POLL,
            });
        }
        self.dirs = dirs;
    }

    /// Watches these directories in place of the previous ones; whether the kernel watches all that are there.
    fn watch(&mut self, dirs: &BTreeSet<PathBuf>) -> bool {
        self.polled = None;
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        for gone in self.dirs.difference(dirs) {
            // It may have gone with the directory.
            let _ = watcher.unwatch(gone);
        }
        let mut sees_all = true;
        // Also those that are watched already: under the same name there may be another directory by now.
        for dir in dirs {
            // The kernel asks the file system too, and what is watched by one thread waits for the answer.
            if bounded::within(dir, answers).is_err() {
                sees_all = false;
                continue;
            }
            let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive) else {
                continue;
            };
            if dir.exists() {
                sees_all = false;
                if !std::mem::replace(&mut self.has_warned, true) {
                    warn_of_polling(self.what, &error, "max_user_watches");
                }
            }
        }
        sees_all
    }

    /// Waits until something has changed, and it is quiet again. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        if self.burst.is_none() {
            tokio::select! {
                () = self.wake.notified() => {}
                () = wait_until_polled_differs(&mut self.polled, &self.dirs, &self.links) => {}
            }
        }
        let mut burst = self.burst.unwrap_or_else(Burst::begin);
        loop {
            self.burst = Some(burst);
            let over = (burst.last + QUIET).min(burst.first + MAX_WAIT);
            match timeout_at(over, self.wake.notified()).await {
                Ok(()) => burst.last = Instant::now(),
                Err(_) => break,
            }
        }
        self.burst = None;
    }
}

fn warn_of_polling(what: &str, error: &notify::Error, limit: &str) {
    warn!(
        %error, "{what} are compared every second, since the kernel does not report their changes ({error}); raise \
         fs.inotify.{limit}"
    );
}

/// Returns when a directory that we compare has changed; never if there are none.
async fn wait_until_polled_differs(
    polled: &mut Option<Polled>,
    dirs: &BTreeSet<PathBuf>,
    links: &Arc<Mutex<BTreeSet<PathBuf>>>,
) {
    let Some(polled) = polled else {
        return std::future::pending().await;
    };
    loop {
        sleep_until(polled.next).await;
        polled.next = Instant::now() + POLL;
        let (dirs, links) = (dirs.clone(), Arc::clone(links));
        // A file system that hangs holds up nobody else.
        let Ok(now) = spawn_blocking(move || state(&dirs, &links)).await else {
            continue;
        };
        if std::mem::replace(&mut polled.state, now) != now {
            return;
        }
    }
}

/// A hash over the files of these directories that count.
fn state(dirs: &BTreeSet<PathBuf>, links: &Mutex<BTreeSet<PathBuf>>) -> u64 {
    let links = links.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut hasher = DefaultHasher::new();
    for dir in dirs {
        let links = links.clone();
        // One that does not answer holds up none of the others.
        let entries = bounded::within(dir, move |dir| entries(dir, &links));
        (dir, entries.unwrap_or_default()).hash(&mut hasher);
    }
    hasher.finish()
}

/// What tells one state of a file from another: its name, inode, length and time of change.
type Entry = (OsString, u64, u64, (i64, i64));

/// The files of a directory that count.
fn entries(dir: &Path, links: &BTreeSet<PathBuf>) -> Vec<Entry> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut entries: Vec<Entry> = entries
        .filter_map(|entry| {
            let counts = !is_beside(&entry.path(), links);
            let meta = counts.then(|| entry.metadata().ok()).flatten()?;
            let changed = (meta.ctime(), meta.ctime_nsec());
            Some((entry.file_name(), meta.ino(), meta.len(), changed))
        })
        .collect();
    entries.sort();
    entries
}

/// Makes a call to the file system of a directory, only to see whether it answers.
fn answers(dir: &Path) {
    let _ = fs::metadata(dir);
}

/// Whether a path is a mere neighbour of one of these.
fn is_beside(path: &Path, links: &BTreeSet<PathBuf>) -> bool {
    !links.contains(path) && links.iter().any(|link| link.parent() == path.parent())
}

/// Reading a file is an event too, so those of our own reading are passed over.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Other => true,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn changes_are_told_and_reading_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let mut watched = Watched::new("files");
        let dirs = [dir.path().to_owned(), "/no/such/dir".into()];
        watched.follow(dirs.into(), BTreeSet::new());
        std::fs::read(&file).unwrap();
        let nothing = timeout(2 * QUIET, watched.changed()).await;
        assert!(nothing.is_err(), "reading changes nothing");
        let other = dir.path().join("b");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &file).unwrap();
        // Another program may be faster; the change is reported all the same.
        let early = timeout(Duration::from_millis(20), watched.changed()).await;
        assert!(early.is_err(), "not quiet yet");
        timeout(Duration::from_secs(20), watched.changed())
            .await
            .unwrap();
    }
}
