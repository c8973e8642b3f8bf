//! Waits until every watcher of some instances has applied their new state, or has gone, or the time is up. Adapter.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Followed, Store, StoreError, follow};
use crate::model::watcher_entry::{self, Marks, Watchers};

/// Which watchers we waited for, and how the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// How long the wait took.
    pub took: Duration,
    /// The ids of all watchers that served one of the instances during the wait.
    pub watchers: BTreeSet<String>,
    /// Those of them that had not applied the state when the wait ended.
    pub missing: BTreeSet<String>,
    /// Why the list of watchers could not be read.
    pub unknown: Option<StoreError>,
}

impl Waited {
    /// Whether no proxy sends anything new to the instances any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_none()
    }
}

/// Waits for at most `limit` until every watcher of one of these instances has applied its state. The wait ends early where
/// nobody watches them, and when the store stops answering. Without permission to read the list of watchers it lasts for
/// the whole of `limit`.
pub async fn wait(store: Arc<dyn Store>, marks: &Marks, limit: Duration) -> Waited {
    let start = Instant::now();
    let (to, mut updates) = mpsc::channel(16);
    let mut waited = Waited {
        took: Duration::ZERO,
        watchers: BTreeSet::new(),
        missing: BTreeSet::new(),
        unknown: None,
    };
    let mut all = None::<Watchers>;
    let waiting = async {
        while let Some(followed) = updates.recv().await {
            match followed {
                Followed::Update(update) => {
                    let all = all.get_or_insert_default();
                    all.apply(update);
                    waited.watchers.extend(all.concerned(marks));
                    waited.missing = all.behind(marks);
                    if waited.missing.is_empty() {
                        return;
                    }
                }
                Followed::Outage(error @ StoreError::Unavailable { .. }) => {
                    waited.unknown = Some(error);
                    return;
                }
                Followed::Outage(error) => waited.unknown = Some(error),
                Followed::Restored(_) => waited.unknown = None,
            }
        }
    };
    tokio::select! {
        () = waiting => {}
        () = follow(store, watcher_entry::root(), to) => {}
        () = sleep_until(start + limit) => {}
    }
    if all.is_none() && waited.unknown.is_none() {
        waited.unknown = Some(StoreError::Unavailable {
            store: "the store".to_owned(),
            reason: "it did not say who watches".to_owned(),
            hint: None,
        });
    }
    waited.took = start.elapsed();
    waited
}
