//! Following a directory: an event, an expiry or a backstop leads to a rescan, and its difference is the update. Adapter.
//!
//! The kernel tells of changes on this host (inotify); the 5 s backstop finds what it cannot tell of. A publication ends
//! with a new revision, and that is the event that counts: the link before it is passed over, so that one publication
//! is one rescan.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

use super::cache::Recheck;
use super::expiry::Clock;
use super::inotify::{Eyes, Pending, Signal, lock};
use super::layout::Layout;
use super::revision::STEP;
use super::scan::{Group, Scan, Scanner};
use crate::model::key::Entries;
use crate::model::prefix::Prefix;
use crate::model::update::{Change, Revision, Snapshot, Update};
use crate::store::{BoxFuture, StoreError, Watch};

/// What the kernel does not tell of is found this late at most: changes made by other hosts, or while it had no watch
/// to spare.
const BACKSTOP: Duration = Duration::from_secs(5);
/// The same where not even all events of this host are told.
const POLL: Duration = Duration::from_secs(1);

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
    let pending = signal.take();
    let state = state.clone();
    let look = move || lock(&state).look(reason, pending);
    super::in_time(store, look).await
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
            backstop: end + if self.eyes.see_all() { BACKSTOP } else { POLL },
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
                if let Some((_, entries)) = left {
                    collect(&mut gone, entries);
                }
                if let Some((_, entries)) = right {
                    collect(&mut came, entries);
                }
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
