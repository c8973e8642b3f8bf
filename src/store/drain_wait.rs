//! Waiting for those who watch: until all of them have in use what was marked, or have gone, or time is up. Adapter.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Followed, Store, StoreError, follow};
use crate::model::watchers::{self, Marks, Watchers};

/// Who was waited for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// How long it took.
    pub took: Duration,
    /// Everybody who watches the marked instances, and was seen while it lasted.
    pub watchers: BTreeSet<String>,
    /// Those of them who had not answered in the end.
    pub missing: BTreeSet<String>,
    /// Why it is not known who watches.
    pub unknown: Option<StoreError>,
}

impl Waited {
    /// Whether nobody sends anything new to the marked instances any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_none()
    }
}

/// Waits until everybody who watches one of these instances has its mark in use. Where nobody watches, nobody is waited
/// for; a store that does not answer ends it too. Who may not read the list of watchers waits for the whole of `limit`.
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
                Followed::Restored => waited.unknown = None,
            }
        }
    };
    tokio::select! {
        () = waiting => {}
        () = follow(store, watchers::root(), to) => {}
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
