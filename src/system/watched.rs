//! Directories that tell when something in them changes. Adapter.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

/// An edit is over when nothing has happened for this long: editors write, rename and touch in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// Or after this long, quiet or not.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Some directories.
pub struct Watched {
    /// `None` where the kernel gives none; then nothing is ever told.
    watcher: Option<RecommendedWatcher>,
    wake: Arc<Notify>,
    dirs: BTreeSet<PathBuf>,
    /// Of the directories above these, nothing else counts.
    links: Arc<Mutex<BTreeSet<PathBuf>>>,
    burst: Option<Burst>,
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
    /// Watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let wake = Arc::new(Notify::new());
        let waker = Arc::clone(&wake);
        let links: Arc<Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let only = Arc::clone(&links);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // What cannot be understood may be anything.
            let counts = |event: notify::Event| {
                let only = only.lock().unwrap_or_else(PoisonError::into_inner);
                is_change(event.kind) && !event.paths.iter().all(|path| is_beside(path, &only))
            };
            if event.is_ok_and(counts) {
                waker.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|error| {
            warn!("changes of the configuration are not noticed ({error}); SIGHUP reads it anew");
        });
        Self {
            watcher: watcher.ok(),
            wake,
            dirs: BTreeSet::new(),
            links,
            burst: None,
        }
    }

    /// Watches these directories, and no others. One that is not there is left out. `links` are directories, or links to
    /// them, that may be put in place or replaced as a whole.
    pub fn follow(&mut self, mut dirs: BTreeSet<PathBuf>, links: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let above = links.iter().filter_map(|link| link.parent());
        let above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        let own = links.into_iter().filter(|link| {
            let above = link.parent();
            // Everything in it counts.
            above.is_some_and(|above| !dirs.contains(above))
        });
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = own.collect();
        dirs.extend(above);
        for gone in self.dirs.difference(&dirs) {
            // It may have gone with the directory.
            let _ = watcher.unwatch(gone);
        }
        // Also those that are watched already: under the same name there may be another directory by now.
        let watched = dirs
            .into_iter()
            .filter(|dir| watcher.watch(dir, RecursiveMode::NonRecursive).is_ok());
        self.dirs = watched.collect();
    }

    /// Waits until something has changed, and it is quiet again. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        if self.burst.is_none() {
            self.wake.notified().await;
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

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a path is a mere neighbour of one of these.
fn is_beside(path: &Path, links: &BTreeSet<PathBuf>) -> bool {
    !links.contains(path) && links.iter().any(|link| link.parent() == path.parent())
}

/// Our own reading is an event too.
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
        let mut watched = Watched::new();
        let dirs = [dir.path().to_owned(), "/no/such/dir".into()];
        watched.follow(dirs.into(), BTreeSet::new());
        std::fs::read(&file).unwrap();
        let nothing = timeout(2 * QUIET, watched.changed()).await;
        assert!(nothing.is_err(), "reading changes nothing");
        let other = dir.path().join("b");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &file).unwrap();
        // Somebody else was faster: it is told all the same.
        let early = timeout(Duration::from_millis(20), watched.changed()).await;
        assert!(early.is_err(), "not quiet yet");
        timeout(Duration::from_secs(20), watched.changed())
            .await
            .unwrap();
    }
}
