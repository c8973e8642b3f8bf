//! Stores that are only read: files of keys, and the environment. Adapter.
//!
//! ```text
//! files ──▶ merge ──▶ held ──▶ snapshot, watch
//!           one tree  ▲   the last good contents, and their revision
//!       environment ──┘
//! ```
//!
//! # Guarantees
//!
//! - Contents are taken as a whole: an edit is one update, and one mistake in a file leaves all keys as they were.
//! - As long as the files cannot be used, every call says so. Who follows them keeps what it has, and hears of the repair
//!   as soon as the kernel does.
//! - A revision never falls, also from one process to the next, as long as the clock is right.
//! - Whoever asks for a change is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::files::{Files, Unread};
use self::held::{Contents, Held};
use self::watch::{Observer, ReadOnlyWatch};
use super::{BoxFuture, Store, StoreError, Watch};
use crate::model::key::{Entries, Key};
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Publication, Standing};
use crate::model::state_change::StateChange;
use crate::model::store_url::Location;
use crate::model::times::LeaseTime;
use crate::model::update::{Revision, Snapshot};
use crate::system::clock::since_1970;

mod environment;
mod files;
mod held;
mod merge;
mod watch;

/// A file system that takes longer than this for all files hangs.
const HANGS: Duration = Duration::from_secs(4);
/// How many threads at most wait for a file system that hangs; others of the process do other work.
const READERS: usize = 4;

/// A store that is only read.
#[derive(Debug, Clone)]
pub struct ReadOnlyStore(Arc<Shared>);

/// What all watches of a store share: so they see the same contents at the same revision.
#[derive(Debug)]
struct Shared {
    /// As the log calls it.
    name: String,
    source: Source,
    state: Mutex<State>,
    readers: Arc<Semaphore>,
}

/// Where the keys come from.
#[derive(Debug)]
enum Source {
    /// The environment of this process, as it was at the start.
    Environment(Entries),
    /// A file, or the files in a directory.
    Files(Files),
}

#[derive(Debug, Default)]
struct State {
    held: Held,
    /// The hash of what was read last, and why it cannot be used if it cannot.
    last: Option<(u64, Result<(), String>)>,
}

impl ReadOnlyStore {
    /// The store of a file, or of all files in a directory. Nothing is read yet.
    #[must_use]
    pub fn of_files(path: &Path) -> Self {
        let name = Location::Files(path.to_owned()).identity();
        Self::new(name, Source::Files(Files::new(path.to_owned())))
    }

    /// The store of these variables, which never changes.
    pub fn of_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let entries = environment::entries(variables);
        Self::new(
            Location::Environment.identity(),
            Source::Environment(entries),
        )
    }

    fn new(name: String, source: Source) -> Self {
        Self(Arc::new(Shared {
            name,
            source,
            state: Mutex::default(),
            readers: Arc::new(Semaphore::new(READERS)),
        }))
    }

    fn refuse<T>(&self) -> BoxFuture<'_, Result<T, StoreError>> {
        let refused = StoreError::Refused {
            store: self.0.name.clone(),
            reason: "it is only read".to_owned(),
            hint: None,
        };
        Box::pin(async { Err(refused) })
    }
}

impl Shared {
    /// Reads everything again; returns what is held then. It blocks.
    fn read(&self) -> Result<Contents, StoreError> {
        // One reader at a time: what is read later is never replaced by what was read before.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { held, last } = &mut *state;
        let texts = match &self.source {
            Source::Environment(entries) => {
                let known = held.contents();
                return Ok(known.unwrap_or_else(|| held.take_in(entries.clone(), now())));
            }
            Source::Files(files) => files.read().map_err(|why| self.error(why))?,
        };
        let hash = merge::hash(&texts);
        if last.as_ref().is_none_or(|(last, _)| *last != hash) {
            let merged = merge::merge(&texts);
            let taken = merged.map(|entries| drop(held.take_in(entries, now())));
            *last = Some((hash, taken));
        }
        let is_good = last.clone().map_or(Ok(()), |(_, result)| result);
        is_good.map_err(|why| self.error(Unread::Unusable(why)))?;
        held.contents().ok_or_else(|| self.hanging())
    }

    fn error(&self, why: Unread) -> StoreError {
        let store = self.name.clone();
        match why {
            Unread::Unusable(reason) => StoreError::Unusable { store, reason },
            Unread::Silent(reason) => StoreError::Unavailable {
                store,
                reason,
                hint: None,
            },
        }
    }

    fn hanging(&self) -> StoreError {
        let reason = format!(
            "it has not been read within {HANGS:?} (does its file system hang, or is it too large for this host?)"
        );
        self.error(Unread::Silent(reason))
    }

    /// Does work that may take long where it holds nobody up, and waits no longer for it than a file system that works
    /// can take.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let Ok(Ok(place)) = timeout(HANGS, readers.acquire_owned()).await else {
            return Err(self.hanging());
        };
        let shared = Arc::clone(self);
        let work = spawn_blocking(move || {
            let done = work(&shared);
            drop(place);
            done
        });
        match timeout(HANGS, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) | Err(_) => Err(self.hanging()),
        }
    }
}

/// In milliseconds since 1970.
fn now() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

impl Store for ReadOnlyStore {
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let contents = self.0.blocking(Shared::read).await??;
            Ok(contents.snapshot(prefix))
        })
    }

    /// There is no history: a watch that is to begin at another revision than the present one begins with all keys.
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Revision,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(async move {
            let watch = ReadOnlyWatch::open(&self.0, prefix.clone(), after).await?;
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }

    /// An edit may concern several paths, and everything is read anyway.
    fn is_followed_as_one(&self) -> bool {
        true
    }

    fn usable_again(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut observer = Observer::new(&self.0);
            let Err(first) = observer.look().await else {
                return;
            };
            loop {
                observer.wait().await;
                match observer.look().await {
                    Err(error) if error == first => {}
                    Ok(_) | Err(_) => return,
                }
            }
        })
    }

    fn grant(
        &self,
        _: Duration,
        _: Option<LeaseId>,
    ) -> BoxFuture<'_, Result<(LeaseId, Duration), StoreError>> {
        self.refuse()
    }

    fn publish<'a>(
        &'a self,
        _: LeaseId,
        _: &'a Publication,
    ) -> BoxFuture<'a, Result<Revision, StoreError>> {
        self.refuse()
    }

    fn verify<'a>(
        &'a self,
        _: LeaseId,
        _: &'a [Publication],
    ) -> BoxFuture<'a, Result<Vec<Standing>, StoreError>> {
        self.refuse()
    }

    fn set_state<'a>(
        &'a self,
        _: &'a StateChange,
    ) -> BoxFuture<'a, Result<Option<Revision>, StoreError>> {
        self.refuse()
    }

    /// No key hangs on a lease.
    fn lease_times<'a>(
        &'a self,
        _: &'a Prefix,
    ) -> BoxFuture<'a, Result<BTreeMap<Key, LeaseTime>, StoreError>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn keep_alive(&self, _: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        self.refuse()
    }

    fn revoke(&self, _: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.refuse()
    }
}

#[cfg(test)]
mod tests;
