//! The lock of a directory store, which one writer of all processes holds at a time. Adapter.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::data::{self, make_dir};
use super::expiry::{Clock, is_absent};
use super::layout::Layout;
use crate::store::StoreError;

/// How long a writer waits for the lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The right to change a store, until it is dropped.
pub(super) struct Writer<'a> {
    pub(super) layout: &'a Layout,
    pub(super) clock: &'a Clock,
    /// Held, never read or written. The lock goes with the descriptor, however its process ends.
    _lock: File,
}

impl<'a> Writer<'a> {
    /// Waits for the lock; `None` if nobody has ever written to the store.
    pub(super) fn lock(
        layout: &'a Layout,
        clock: &'a Clock,
        patience: Duration,
    ) -> Result<Option<Self>, StoreError> {
        require_root(layout)?;
        if data::kind(&layout.own())
            .map_err(|e| layout.failed("look at", &layout.own(), &e))?
            .is_none()
        {
            return Ok(None);
        }
        let file = layout.lock();
        let start = Instant::now();
        loop {
            let lock = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&file);
            let lock = match lock {
                Ok(lock) => lock,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(layout.failed("open", &file, &error)),
            };
            match lock.try_lock() {
                // The store may have been wiped while we waited for a lock that is not its own any more.
                Ok(()) if is_same_file(&lock, &file) => {
                    return Ok(Some(Self {
                        layout,
                        clock,
                        _lock: lock,
                    }));
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(layout.failed("lock", &file, &error)),
            }
            if start.elapsed() >= patience {
                return Err(layout.unavailable(format!(
                    "another process has held the lock {} for {patience:?}; `fuser {0}` names it",
                    file.display()
                )));
            }
            std::thread::sleep(Duration::from_micros(fastrand::u64(200..3_000)));
        }
    }

    /// Makes the root and the store's own directory, and waits for the lock.
    pub(super) fn found(layout: &'a Layout, clock: &'a Clock) -> Result<Self, StoreError> {
        let start = Instant::now();
        loop {
            let leases = layout.leases();
            make_dir(&leases).map_err(|e| layout.failed("make", &leases, &e))?;
            match Self::lock(layout, clock, PATIENCE) {
                Ok(Some(writer)) => return Ok(writer),
                // Somebody wiped the store in between.
                Ok(None) if start.elapsed() < PATIENCE => {}
                Ok(None) => {
                    return Err(layout.unavailable("its files vanish as they are made".to_owned()));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The error for a root that is not there: the store is not mounted, not yet made, or was removed.
pub(super) fn require_root(layout: &Layout) -> Result<fs::Metadata, StoreError> {
    match fs::metadata(layout.root()) {
        Ok(metadata) if metadata.is_dir() => Ok(metadata),
        Ok(_) => Err(layout.unavailable("it is not a directory".to_owned())),
        Err(error) if is_absent(&error) => Err(layout
            .unavailable("there is no such directory; the first announcement makes it".to_owned())),
        Err(error) => Err(layout.failed("look at", layout.root(), &error)),
    }
}

fn is_same_file(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}
