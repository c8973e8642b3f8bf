//! Follows the paths of the store that the targets need, and knows of which of them the store has sent all data. Shell.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::prefix::Prefix;
use crate::model::update::{Change, Snapshot, Update};
use crate::store::{Followed, Store, follow_tagged};

/// The followed paths. A path is also called a scope, and named by its place in this list.
pub(crate) struct Subscriptions {
    /// The paths, and what is known of each.
    scopes: Vec<(Prefix, Known)>,
    /// Whether one path covers all.
    as_one: bool,
    /// What another store has sent of each scope, until it has sent everything.
    arrived: BTreeMap<usize, Snapshot>,
    updates: mpsc::Receiver<(usize, Followed)>,
    _followers: JoinSet<()>,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// What the snapshot of an earlier process says, or the store that was in use before.
    Stale,
    /// What the store itself says.
    Heard,
}

impl Subscriptions {
    /// Starts to follow the fewest paths that cover all of `paths`. It stops when the value is dropped.
    pub(crate) fn start(store: &Arc<dyn Store>, paths: impl Iterator<Item = Prefix>) -> Self {
        let as_one = store.is_followed_as_one();
        let scopes = fewest(as_one, paths);
        let (to, updates) = mpsc::channel(64);
        let mut followers = JoinSet::new();
        for (scope, prefix) in scopes.iter().cloned().enumerate() {
            followers.spawn(follow_tagged(Arc::clone(store), prefix, scope, to.clone()));
        }
        Self {
            scopes: scopes
                .into_iter()
                .map(|prefix| (prefix, Known::Nothing))
                .collect(),
            as_one,
            arrived: BTreeMap::new(),
            updates,
            _followers: followers,
        }
    }

    /// Follows the same paths in another store. What is known of them stays, as that of another store.
    pub(crate) fn restart(&self, store: &Arc<dyn Store>) -> Self {
        let mut new = Self::start(store, self.paths().into_iter());
        for (new, (_, known)) in new.scopes.iter_mut().zip(&self.scopes) {
            if *known != Known::Nothing {
                new.1 = Known::Stale;
            }
        }
        new
    }

    /// Whether exactly the paths are followed that these need.
    pub(crate) fn follows_exactly(&self, paths: impl Iterator<Item = Prefix>) -> bool {
        let wanted = fewest(self.as_one, paths);
        self.scopes
            .iter()
            .map(|(prefix, _)| prefix)
            .eq(wanted.iter())
    }

    /// Whether something is known of every path, from the store or from a snapshot, so that files can be rendered.
    pub(crate) fn is_complete(&self) -> bool {
        self.scopes
            .iter()
            .all(|(_, known)| *known != Known::Nothing)
    }

    /// Whether the store itself has sent all data of every path once. Files that were rendered before that do not count
    /// as a revision of the store.
    pub(crate) fn is_fresh(&self) -> bool {
        self.scopes.iter().all(|(_, known)| *known == Known::Heard)
    }

    /// The store has sent all data of this path.
    pub(crate) fn mark_heard(&mut self, scope: usize) {
        self.scopes[scope].1 = Known::Heard;
    }

    /// Keeps what another store has sent of a path. Once that store has sent everything, all of it is returned: until then files
    /// would have a part of each store.
    pub(crate) fn gather(&mut self, scope: usize, update: Update) -> Option<Vec<(usize, Update)>> {
        match update {
            Update::Reset(snapshot) => drop(self.arrived.insert(scope, snapshot)),
            Update::Changed { revision, changes } => {
                let held = self.arrived.entry(scope).or_default();
                held.revision = revision;
                for change in changes {
                    match change {
                        Change::Put(key, value) => drop(held.entries.insert(key, value)),
                        Change::Delete(key) => drop(held.entries.remove(&key)),
                    }
                }
            }
        }
        let arrived = self.is_fresh().then(|| std::mem::take(&mut self.arrived))?;
        let resets = arrived.into_iter();
        Some(
            resets
                .map(|(scope, snapshot)| (scope, Update::Reset(snapshot)))
                .collect(),
        )
    }

    /// The paths of which nothing is known, each with its scope.
    pub(crate) fn unknown_paths(&self) -> Vec<(usize, Prefix)> {
        let scopes = self.scopes.iter().enumerate();
        let unknown = scopes.filter(|(_, (_, known))| *known == Known::Nothing);
        unknown
            .map(|(scope, (prefix, _))| (scope, prefix.clone()))
            .collect()
    }

    /// The snapshot of an earlier process stands in for this path, until the store sends its data.
    pub(crate) fn mark_stale(&mut self, scope: usize) {
        self.scopes[scope].1 = Known::Stale;
    }

    /// All followed paths, in the order of their scopes.
    pub(crate) fn paths(&self) -> Vec<Prefix> {
        self.scopes
            .iter()
            .map(|(prefix, _)| prefix.clone())
            .collect()
    }

    /// The path of a scope.
    pub(crate) fn path(&self, scope: usize) -> &Prefix {
        &self.scopes[scope].0
    }

    /// Waits for the next event of the store, and says of which scope it is. Dropping the future loses nothing.
    pub(crate) async fn next_update(&mut self) -> (usize, Followed) {
        match self.updates.recv().await {
            Some(event) => event,
            // No path is followed.
            None => std::future::pending().await,
        }
    }
}

/// The paths to follow so that all of these are covered.
fn fewest(as_one: bool, paths: impl Iterator<Item = Prefix>) -> Vec<Prefix> {
    if as_one {
        Prefix::common(paths).into_iter().collect()
    } else {
        Prefix::widest(paths.collect())
    }
}
