//! The paths of the store that the targets need, followed; and whether all of them have been heard. Shell.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::update::Prefix;
use crate::store::{Followed, Store, follow};

pub(crate) struct Subscriptions {
    /// The paths, and what is known of them.
    scopes: Vec<(Prefix, Known)>,
    updates: mpsc::Receiver<(usize, Followed)>,
    _followers: JoinSet<()>,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// What the store said to a process before this one.
    Stale,
    /// What the store says.
    Heard,
}

impl Subscriptions {
    /// Follows the fewest paths that cover these.
    pub(crate) fn start(store: &Arc<dyn Store>, paths: impl Iterator<Item = Prefix>) -> Self {
        let scopes = Prefix::widest(paths.collect());
        let (to, updates) = mpsc::channel(64);
        let mut followers = JoinSet::new();
        for (scope, prefix) in scopes.iter().cloned().enumerate() {
            followers.spawn(follow_scope(Arc::clone(store), scope, prefix, to.clone()));
        }
        Self {
            scopes: scopes
                .into_iter()
                .map(|prefix| (prefix, Known::Nothing))
                .collect(),
            updates,
            _followers: followers,
        }
    }

    /// Whether these are the paths that are followed.
    pub(crate) fn follows_exactly(&self, paths: impl Iterator<Item = Prefix>) -> bool {
        let wanted = Prefix::widest(paths.collect());
        self.scopes
            .iter()
            .map(|(prefix, _)| prefix)
            .eq(wanted.iter())
    }

    /// Whether something is known of every path, so that files can be rendered.
    pub(crate) fn is_complete(&self) -> bool {
        self.scopes
            .iter()
            .all(|(_, known)| *known != Known::Nothing)
    }

    /// Whether the store itself has said everything once. What is applied before that is no revision of the store's.
    pub(crate) fn is_fresh(&self) -> bool {
        self.scopes.iter().all(|(_, known)| *known == Known::Heard)
    }

    /// The store has said all of this path.
    pub(crate) fn mark_heard(&mut self, scope: usize) {
        self.scopes[scope].1 = Known::Heard;
    }

    /// The paths of which nothing is known.
    pub(crate) fn unknown_paths(&self) -> Vec<(usize, Prefix)> {
        let scopes = self.scopes.iter().enumerate();
        let unknown = scopes.filter(|(_, (_, known))| *known == Known::Nothing);
        unknown
            .map(|(scope, (prefix, _))| (scope, prefix.clone()))
            .collect()
    }

    /// What the store said to an earlier process stands in for this path.
    pub(crate) fn mark_stale(&mut self, scope: usize) {
        self.scopes[scope].1 = Known::Stale;
    }

    /// The paths that are followed.
    pub(crate) fn paths(&self) -> Vec<Prefix> {
        self.scopes
            .iter()
            .map(|(prefix, _)| prefix.clone())
            .collect()
    }

    pub(crate) fn path(&self, scope: usize) -> &Prefix {
        &self.scopes[scope].0
    }

    /// What the store says next, and of which path.
    pub(crate) async fn next_update(&mut self) -> (usize, Followed) {
        match self.updates.recv().await {
            Some(said) => said,
            // Nothing is followed.
            None => std::future::pending().await,
        }
    }
}

async fn follow_scope(
    store: Arc<dyn Store>,
    scope: usize,
    prefix: Prefix,
    to: mpsc::Sender<(usize, Followed)>,
) {
    let (own, mut from) = mpsc::channel(16);
    let relay = async {
        while let Some(followed) = from.recv().await {
            if to.send((scope, followed)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(follow(store, prefix, own), relay);
}
