//! The embedded store: files as keys, on one host, without a server. Adapter.
//!
//! ```text
//! /run/sidekick/services/web/a  ->  ../../.sidekick/leases/1f/5eed      the instance: ls and cat read it
//! /run/sidekick/.sidekick/leases/1f/5eed/{ip,port,.manifest}            its data, never changed
//! /run/sidekick/.sidekick/leases/1f/beat                                until when the lease lives
//! /run/sidekick/.sidekick/revision                                      counts the changes
//! /run/sidekick/.sidekick/lock                                          held by the process that changes something
//! ```
//!
//! `layout` knows these paths. Writers: `lock` lets in one at a time; `lease` grants and renews, with the heartbeats of
//! `expiry`; `publish` and `set_state` change instances, looking first with `entry` what stands at a path; `revision` counts.
//! `data` reads and writes the files of one publication for both sides. Readers: `scan` reads the tree without a lock, with a
//! `cache` of what has not changed; `watch` scans again when `inotify` reports a change; `lease_times` reads how long leases
//! still live.
//!
//! # Guarantees
//!
//! - An instance is one symbolic link, and `rename(2)` replaces it: it is there whole or not at all. When the time in its
//!   heartbeat is over, a lease is dead, and so is everything on it. A writer that is killed at any instant leaves nothing
//!   that a reader sees by halves; the next writer clears the rest away together with its lease.
//! - Readers enforce the TTL. They take no lock and write nothing: a read-only mount will do.
//! - Regular files and directories that people make are keys without a lease. They stay when an instance is published over
//!   them, and when it goes. One newline at their end is dropped. A change that somebody makes to a published field
//!   by hand lasts until the next publication.
//! - A revision never falls, also when the store is wiped and made anew, as long as the clock is right.
//!
//! # Assumptions
//!
//! The directory is on a local file system, in memory best of all: nothing is flushed to a disk, and a lease does not
//! outlive a boot. All who use it share a kernel; containers share it as a volume.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use self::expiry::Clock;
use super::{BoxFuture, Store, StoreError, Watch};
use crate::model::key::Key;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Publication, Standing};
use crate::model::state_change::StateChange;
use crate::model::times::LeaseTime;
use crate::model::update::{Revision, Snapshot};
use cache::Recheck;
use layout::Layout;
use lock::{PATIENCE, Writer};
use scan::Scanner;
use watch::DirectoryWatch;

mod cache;
mod data;
mod entry;
mod expiry;
mod inotify;
mod layout;
mod lease;
mod lease_times;
mod lock;
mod publish;
mod revision;
mod scan;
mod set_state;
#[cfg(test)]
mod tests;
mod watch;

/// A file system that takes longer than this for one request hangs, and so does the thread that asked it.
const HANGS: Duration = Duration::from_secs(4);
/// How many threads at most wait for a file system that hangs; others of the process do other work.
const READERS: usize = 4;
/// How often a writer that only renews its lease clears away those of others.
const SWEEP: Duration = Duration::from_secs(10);

/// A store in a directory.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    layout: Layout,
    clock: Clock,
    /// Within a process, writers queue here, in order, and one of them competes for the lock; it holds when the last
    /// sweep was.
    turn: Arc<Mutex<Option<tokio::time::Instant>>>,
    readers: Arc<Semaphore>,
}

impl DirectoryStore {
    /// Opens the store below `path`. Nothing is made there before the first lease is granted: a reader waits for it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |reason| StoreError::Unavailable {
            store: format!("dir://{}", path.display()),
            reason,
            hint: None,
        };
        let layout = Layout::new(path).map_err(|error| failed(error.to_string()))?;
        let clock = Clock::new()
            .map_err(|error| failed(format!("cannot tell which boot this is: {error}")))?;
        Ok(Self {
            layout,
            clock,
            turn: Arc::default(),
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Does work that may take long where it holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout, &Clock) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (layout, clock) = (self.layout.for_other_work(), self.clock.clone());
        let readers = Arc::clone(&self.readers);
        let Ok(Ok(place)) = timeout(HANGS, readers.acquire_owned()).await else {
            return Err(hanging(&self.layout));
        };
        let paths = layout.clone();
        let work = move || {
            let done = work(&paths, &clock);
            drop(place);
            done
        };
        in_time(&layout, work).await
    }

    /// Makes a change on a blocking thread, when it is its turn. A change goes on to its end even if nobody waits for it.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout, &Clock, Sweep) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = timeout(PATIENCE, self.turn.clone().lock_owned()).await;
        let mut turn = turn.map_err(|_| {
            self.layout
                .unavailable("too many changes are waiting for their turn".to_owned())
        })?;
        self.blocking(move |layout, clock| {
            let now = tokio::time::Instant::now();
            let sweep = match *turn {
                Some(last) if now < last + SWEEP => Sweep::NotYet,
                Some(_) | None => {
                    *turn = Some(now);
                    Sweep::Due
                }
            };
            let done = work(layout, clock, sweep);
            drop(turn);
            done
        })
        .await
    }
}

/// Does work on the files of a store on a thread of its own. Gives up when the work, which uses these paths, has not come
/// to its next file within a time that a file system that works cannot take; many files may take long on a slow host. The
/// thread itself is lost until the file system goes on.
async fn in_time<T: Send + 'static>(
    store: &Layout,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let mut work = tokio::task::spawn_blocking(work);
    let mut progress = store.progress();
    loop {
        match timeout(HANGS, &mut work).await {
            Ok(Ok(done)) => return done,
            Ok(Err(error)) => return Err(store.unavailable(format!("using it failed: {error}"))),
            Err(_) if store.progress() == progress => return Err(hanging(store)),
            Err(_) => progress = store.progress(),
        }
    }
}

fn hanging(store: &Layout) -> StoreError {
    store.unavailable(format!(
        "its file system has not answered within {HANGS:?} (is it a network mount, or a disk that fails?)"
    ))
}

/// Whether a writer that passes by clears away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Due,
    NotYet,
}

impl Store for DirectoryStore {
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let prefix = prefix.clone();
            self.blocking(move |layout, clock| {
                let mut scanner = Scanner::new(layout.clone(), clock.clone());
                let scan = scanner.scan(&prefix, &Recheck::All, &mut |_, _| {})?;
                Ok(Snapshot {
                    revision: Revision(scan.revision),
                    entries: scan.entries(),
                })
            })
            .await
        })
    }

    /// There is no history: the watch begins with what is there, which is later than any revision asked for.
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        _after: Revision,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(async move {
            let (layout, clock) = (self.layout.clone(), self.clock.clone());
            let watch = DirectoryWatch::open(layout, clock, prefix.clone()).await?;
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }

    fn grant(
        &self,
        ttl: Duration,
        id: Option<LeaseId>,
    ) -> BoxFuture<'_, Result<(LeaseId, Duration), StoreError>> {
        Box::pin(self.change(move |layout, clock, _| {
            let writer = Writer::found(layout, clock)?;
            match id {
                Some(id) => writer.join(id, ttl),
                None => writer.grant(ttl),
            }
        }))
    }

    fn verify<'a>(
        &'a self,
        lease: LeaseId,
        publications: &'a [Publication],
    ) -> BoxFuture<'a, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move {
            let publications = publications.to_vec();
            self.change(move |layout, clock, _| {
                let writer = Writer::lock(layout, clock, PATIENCE)?;
                let nothing = Standing {
                    is_whole: false,
                    state: None,
                };
                let stands = |publication| {
                    let writer = writer.as_ref();
                    let nothing = Ok(nothing.clone());
                    writer.map_or(nothing, |writer| writer.verify(lease, publication))
                };
                publications.iter().map(stands).collect()
            })
            .await
        })
    }

    fn set_state<'a>(
        &'a self,
        change: &'a StateChange,
    ) -> BoxFuture<'a, Result<Option<Revision>, StoreError>> {
        Box::pin(async move {
            let change = change.clone();
            self.change(move |layout, clock, _| {
                let writer = Writer::lock(layout, clock, PATIENCE)?;
                writer.map_or(Ok(None), |writer| writer.set_state(&change))
            })
            .await
        })
    }

    fn lease_times<'a>(
        &'a self,
        prefix: &'a Prefix,
    ) -> BoxFuture<'a, Result<BTreeMap<Key, LeaseTime>, StoreError>> {
        Box::pin(async move {
            let prefix = prefix.clone();
            self.blocking(move |layout, clock| lease_times::list(layout, clock, &prefix))
                .await
        })
    }

    fn publish<'a>(
        &'a self,
        lease: LeaseId,
        publication: &'a Publication,
    ) -> BoxFuture<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            let publication = publication.clone();
            self.change(move |layout, clock, _| {
                let writer = Writer::lock(layout, clock, PATIENCE)?;
                let writer = writer.ok_or(StoreError::LeaseLost(lease))?;
                writer.publish(lease, &publication)
            })
            .await
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        Box::pin(self.change(move |layout, clock, sweep| {
            let writer = Writer::lock(layout, clock, PATIENCE)?;
            let writer = writer.ok_or(StoreError::LeaseLost(lease))?;
            let ttl = writer.keep_alive(lease)?;
            match sweep {
                Sweep::Due => {
                    // The lease is renewed, whatever becomes of the dead ones.
                    if let Err(error) = writer.sweep() {
                        tracing::debug!(%error, "dead leases are left for later: {error}");
                    }
                }
                Sweep::NotYet => {}
            }
            Ok(ttl)
        }))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.change(move |layout, clock, _| {
            match Writer::lock(layout, clock, PATIENCE)? {
                Some(writer) => writer.revoke(lease),
                None => Ok(()),
            }
        }))
    }
}
