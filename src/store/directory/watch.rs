//! Following a directory: an event, an expiry or a backstop leads to a rescan, and its difference is the update. Adapter.
//!
//! The kernel reports changes on this host (inotify); the 5 s backstop finds what it cannot report. A publication ends with
//! a new revision, and only that event leads to a rescan: the watch passes over the link before it, so that one
//! publication is one rescan.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

use super::cache::Recheck;
use super::expiry::Clock;
use super::inotify::{InotifyWatches, Pending, Signal, lock};
use super::layout::Layout;
use super::revision::STEP;
use super::scan::{Group, Scan, Scanner};
use crate::model::key::Entries;
use crate::model::prefix::Prefix;
use crate::model::update::{Change, Revision, Snapshot, Update};
use crate::store::{BoxFuture, StoreError, Watch};

/// The watch finds what the kernel does not report this late at most: changes by other hosts, or in a directory for which
/// the kernel had no watch to spare.
const BACKSTOP: Duration = Duration::from_secs(5);
/// The same where the kernel does not report all changes of this host either.
const POLL: Duration = Duration::from_secs(1);

/// A watch of a directory store.
pub(super) struct DirectoryWatch {
    state: Arc<Mutex<State>>,
    signal: Arc<Signal>,
    store: Layout,
    /// When to look again by the clock.
    due: Due,
    /// What the first scan has found, until the consumer asks for it.
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
    inotify: InotifyWatches,
    known: Option<Known>,
}

/// What the consumer knows.
struct Known {
    scan: Scan,
    reported: u64,
    /// The last update was sent before its writer had counted it; its revision follows as soon as it is there.
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
    /// Makes the first scan, so that no watch opens on a store that is not there.
    pub(super) async fn open(
        layout: Layout,
        clock: Clock,
        prefix: Prefix,
    ) -> Result<Self, StoreError> {
        let (signal, layout) = (Arc::new(Signal::default()), layout.for_other_work());
        let state = State {
            scanner: Scanner::new(layout.clone(), clock),
            prefix,
            // It asks for paths whenever the kernel has something to say, also while a scan hangs.
            inotify: InotifyWatches::open(layout.for_other_work(), signal.clone()),
            known: None,
        };
        let state = Arc::new(Mutex::new(state));
        let (first, due) = rescan_off_the_loop(&state, &signal, &layout, Reason::Backstop).await?;
        Ok(Self {
            state,
            signal,
            store: layout,
            due,
            first,
        })
    }

    /// Waits until there is a reason for a rescan.
    async fn wait_for_reason(&self) -> Reason {
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

    async fn next_update(&mut self) -> Result<Update, StoreError> {
        let mut update = self.first.take();
        loop {
            if let Some(update) = update {
                return Ok(update);
            }
            let reason = self.wait_for_reason().await;
            (update, self.due) =
                rescan_off_the_loop(&self.state, &self.signal, &self.store, reason).await?;
        }
    }
}

/// Rescans the tree on a blocking thread.
async fn rescan_off_the_loop(
    state: &Arc<Mutex<State>>,
    signal: &Signal,
    store: &Layout,
    reason: Reason,
) -> Result<(Option<Update>, Due), StoreError> {
    let pending = signal.take_pending();
    let state = state.clone();
    let rescan = move || lock(&state).rescan_and_plan(reason, pending);
    super::in_time(store, rescan).await
}

impl Watch for DirectoryWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Update, StoreError>> {
        Box::pin(self.next_update())
    }
}

impl State {
    fn rescan_and_plan(
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
            backstop: end
                + if self.inotify.cover_everything() {
                    BACKSTOP
                } else {
                    POLL
                },
        };
        Ok((update, due))
    }

    fn rescan(&mut self, reason: Reason, pending: Pending) -> Result<Option<Update>, StoreError> {
        let thorough = match reason {
            Reason::Backstop => true,
            Reason::Event | Reason::Expiry => pending.overflow || !self.inotify.cover_everything(),
        };
        let recheck = if thorough {
            Recheck::All
        } else {
            Recheck::Only(pending.dirty)
        };
        let inotify = &mut self.inotify;
        inotify.begin_scan();
        let scan = self
            .scanner
            .scan(&self.prefix, &recheck, &mut |path, what| {
                inotify.watch_directory(path, what);
            })?;
        inotify.end_scan();
        Ok(self.update_from(scan))
    }

    /// The difference between a scan and what the consumer knows.
    fn update_from(&mut self, scan: Scan) -> Option<Update> {
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
        let reported = if revision > known.reported {
            revision
        } else if changes.is_empty() {
            known.reported
        } else {
            // Nobody has counted this change. The next publication comes after it, whatever happens.
            (known.reported + 1).min(revision + STEP - 1)
        };
        let pay = changes.is_empty() && known.owed && reported > known.reported;
        known.owed = if changes.is_empty() {
            known.owed && !pay
        } else {
            scan.latest > revision || (!counted && changes.iter().any(is_delete))
        };
        known.scan = scan;
        if changes.is_empty() && !pay {
            return None;
        }
        known.reported = reported;
        Some(Update::Changed {
            revision: Revision(reported),
            changes,
        })
    }

    fn reset(&mut self, scan: Scan) -> Update {
        let snapshot = Snapshot {
            revision: Revision(scan.revision),
            entries: scan.entries(),
        };
        self.known = Some(Known {
            reported: scan.revision,
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
