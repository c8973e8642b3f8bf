//! Follows the store, and keeps the newest view ready for all open pages. Shell.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::memory::{Input, Memory, Scope};
use super::view::{Store as About, View};
use crate::model::prefix::Prefix;
use crate::model::report::chain;
use crate::model::watcher_entry;
use crate::store::{Followed, Store, follow_tagged};

/// How long changes are gathered after a view was made, so that many changes cost no more than ten views a second.
const GATHER: Duration = Duration::from_millis(100);
/// How often the view is made again without a change in the store, since some items depend on the time: a watcher begins to
/// lag, or a lost instance is forgotten.
const TICK: Duration = Duration::from_secs(5);

/// The newest view, and the start from which its times count.
#[derive(Debug, Clone)]
pub(super) struct Views {
    pub(super) newest: watch::Receiver<Arc<View>>,
    pub(super) start: Instant,
}

impl Views {
    /// The time since the start of the dashboard.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Follows the instances below `prefix` and the watchers, for as long as the returned future runs.
pub(super) fn views(
    store: Arc<dyn Store>,
    prefix: Prefix,
    name: String,
) -> (Views, impl Future<Output = ()>) {
    let about = About {
        name,
        prefix: prefix.to_string(),
    };
    let start = Instant::now();
    let memory = Memory::new(prefix.clone());
    let first = View::of(&memory, &about, Duration::ZERO);
    let (to, newest) = watch::channel(Arc::new(first));
    let keeper = Keeper {
        memory,
        about,
        start,
        to,
        silent: BTreeSet::new(),
        told: String::new(),
    };
    (Views { newest, start }, keeper.run(store, prefix))
}

struct Keeper {
    memory: Memory,
    about: About,
    start: Instant,
    to: watch::Sender<Arc<View>>,
    /// The parts of the store that do not answer. The log tells of the first one and of the end of the last one.
    silent: BTreeSet<Scope>,
    /// Why the store does not answer, as the log has told it last.
    told: String,
}

impl Keeper {
    async fn run(mut self, store: Arc<dyn Store>, prefix: Prefix) {
        let (to, mut said) = mpsc::channel(64);
        let mut followers = JoinSet::new();
        let scopes = [
            (Scope::Instances, prefix),
            (Scope::Watchers, watcher_entry::root()),
            (Scope::Seen, watcher_entry::seen_root()),
        ];
        for (scope, path) in scopes {
            followers.spawn(follow_tagged(Arc::clone(&store), path, scope, to.clone()));
        }
        drop(to);
        loop {
            match tokio::time::timeout(TICK, said.recv()).await {
                Ok(Some((scope, followed))) => self.take(scope, followed),
                Ok(None) => return,
                Err(_) => self.memory.tick(self.start.elapsed()),
            }
            while let Ok((scope, followed)) = said.try_recv() {
                self.take(scope, followed);
            }
            self.show();
            tokio::time::sleep(GATHER).await;
        }
    }

    fn take(&mut self, scope: Scope, followed: Followed) {
        let input = match followed {
            Followed::Update(update) => Input::Update(scope, update),
            Followed::Outage(error) => {
                let why = chain(&error);
                // The follower tells a part twice only of another mistake.
                let is_again = self.silent.contains(&scope) && self.told != why;
                if self.silent.is_empty() || is_again {
                    tracing::warn!(error = why, "the store does not answer: {why}");
                    self.told.clone_from(&why);
                }
                self.silent.insert(scope);
                Input::Outage(scope, why)
            }
            Followed::Restored(past) => {
                if self.silent.remove(&scope) && self.silent.is_empty() {
                    tracing::info!(took_ms = past.took_ms(), "the store answers again, {past}");
                }
                Input::Restored(scope)
            }
        };
        self.memory.handle(self.start.elapsed(), input);
    }

    fn show(&self) {
        let view = View::of(&self.memory, &self.about, self.start.elapsed());
        self.to.send_if_modified(|newest| {
            let is_new = **newest != view;
            if is_new {
                *newest = Arc::new(view);
            }
            is_new
        });
    }
}
