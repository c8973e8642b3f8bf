//! Where keys live: the trait that every store implements, and the function that opens one. Adapter.
//!
//! Ten verbs are all that the two pipelines know of a store. One contract suite (`tests/it/contract/`) runs against
//! every implementation; stores that are only read keep the part of it that concerns readers.
//!
//! `directory` and `etcd` are the two stores that can be written, `read_only` those that cannot. `follow` follows a prefix for ever, over all failures; `lease_requests` carries
//! the requests of a lease machine to a store; `drain_wait` waits until watchers have applied a drain.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::model::key::Key;
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::{Publication, Standing};
use crate::model::srv::SrvLookup;
use crate::model::state_change::StateChange;
use crate::model::store_url::Location;
use crate::model::times::LeaseTime;
use crate::model::update::{Revision, Snapshot, Update};

pub mod directory;
pub mod drain_wait;
pub mod etcd;
pub mod follow;
pub mod lease_requests;
pub mod read_only;

pub use follow::{Followed, follow, follow_tagged};

/// A boxed future, so that stores can be `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The store does not answer, or not in time; trying again may help.
    #[error("{store} does not answer: {reason}{}", in_brackets(.hint.as_deref()))]
    Unavailable {
        /// The endpoint or directory.
        store: String,
        /// What the client has seen instead of an answer.
        reason: String,
        /// What an operator may do about it.
        hint: Option<String>,
    },
    /// The lease has expired or was revoked, or the store was rebuilt.
    #[error("the store does not know lease {0}")]
    LeaseLost(LeaseId),
    /// Another owner, who is alive, has announced the same instance somewhere else.
    #[error("{0}")]
    Conflict(String),
    /// The history from which a watch would go on is gone, by a compaction or a rebuilt store; list everything again.
    #[error("the store cannot continue after revision {after}: {reason}")]
    HistoryLost {
        /// The revision after which changes were asked for.
        after: Revision,
        /// Why not.
        reason: String,
    },
    /// What the store is made of has a mistake; somebody has to correct it.
    #[error("{store} cannot be used: {reason}")]
    Unusable {
        /// The file or directory.
        store: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store has answered that it does not do it.
    #[error("{store} refused: {reason}{}", in_brackets(.hint.as_deref()))]
    Refused {
        /// The endpoint or directory.
        store: String,
        /// The store's answer.
        reason: String,
        /// What an operator may do about it.
        hint: Option<String>,
    },
}

fn in_brackets(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}

impl StoreError {
    /// Takes the hint for the operator out of the error, for a report that prints it on a line of its own.
    pub fn take_hint(&mut self) -> Option<String> {
        match self {
            Self::Unavailable { hint, .. } | Self::Refused { hint, .. } => hint.take(),
            Self::LeaseLost(_)
            | Self::Conflict(_)
            | Self::HistoryLost { .. }
            | Self::Unusable { .. } => None,
        }
    }
}

impl StoreError {
    /// Takes the hint out, or returns general advice where the error has none.
    pub fn take_advice(&mut self) -> String {
        let default = match self {
            Self::Unavailable { .. } => {
                "look whether the store runs there; --store names another one"
            }
            Self::Unusable { .. } => {
                "correct it, or name another file; docs/fixtures.md says what such a file has"
            }
            Self::Refused { .. } | Self::HistoryLost { .. } => "--store names another store",
            Self::LeaseLost(_) | Self::Conflict(_) => "--store names another store",
        };
        self.take_hint().unwrap_or_else(|| default.to_owned())
    }
}

/// A store of keys with leases.
///
/// # Guarantees
///
/// - A snapshot is everything under the prefix at one revision.
/// - A watch yields every later change, in order, and never splits a transaction over two updates. It may begin with
///   a [`Update::Reset`].
/// - `publish` is one transaction; when a lease ends, everything on it disappears in one step.
/// - Every call ends within a few seconds, with an error if need be.
pub trait Store: Send + Sync {
    /// Everything under `prefix`, at one revision.
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>>;

    /// Watches what changes under `prefix` after a revision. Dropping the watch ends it.
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Revision,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, StoreError>>;

    /// Asks for a lease that lives for `ttl` without a keep-alive; the answer has the TTL that the store chose.
    ///
    /// With an id, the store grants that very lease; everybody who asks for one that is alive already shares it.
    fn grant(
        &self,
        ttl: Duration,
        id: Option<LeaseId>,
    ) -> BoxFuture<'_, Result<(LeaseId, Duration), StoreError>>;

    /// Publishes exactly these fields under the publication's directory, all on this lease, in one transaction.
    ///
    /// The publication's claim decides whether keys there that hang on another lease are replaced, removed, or a
    /// [`StoreError::Conflict`]. Keys without a lease, which somebody has set by hand, stay, and so does a
    /// [`STATE`](crate::model::state_change::STATE) on this lease.
    fn publish<'a>(
        &'a self,
        lease: LeaseId,
        publication: &'a Publication,
    ) -> BoxFuture<'a, Result<Revision, StoreError>>;

    /// Reads what is still there of some publications on this lease: somebody may have deleted or overwritten their keys. The
    /// answer has one entry for each of them, in their order. The store takes at least a hundred at a time.
    fn verify<'a>(
        &'a self,
        lease: LeaseId,
        publications: &'a [Publication],
    ) -> BoxFuture<'a, Result<Vec<Standing>, StoreError>>;

    /// Changes the [`STATE`](crate::model::state_change::STATE) of an instance, on the lease on which the instance hangs. The
    /// answer is the revision since which it is in that state, or `None` where there is no such instance.
    fn set_state<'a>(
        &'a self,
        change: &'a StateChange,
    ) -> BoxFuture<'a, Result<Option<Revision>, StoreError>>;

    /// The keys under `prefix` that hang on leases, and how long these leases live. A key of whose lease the user may not
    /// know is left out.
    fn lease_times<'a>(
        &'a self,
        prefix: &'a Prefix,
    ) -> BoxFuture<'a, Result<BTreeMap<Key, LeaseTime>, StoreError>>;

    /// Renews a lease; the answer is the TTL that begins anew.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>>;

    /// Ends a lease and removes every key on it in one step. A lease that is already gone is no error.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Whether a change that concerns several paths is one change to whoever follows one path above all of them, and costs no
    /// more there. Else each path is followed on its own.
    fn is_followed_as_one(&self) -> bool {
        false
    }

    /// Waits until a store that could not be used can be used again, or cannot be used for another reason. A store that
    /// cannot see that waits for ever; who follows it tries again after a while.
    fn usable_again(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// A running watch.
pub trait Watch: Send {
    /// Waits for the next update. After an error the watch must not be used again, and neither after this future was
    /// dropped before it was ready.
    fn next(&mut self) -> BoxFuture<'_, Result<Update, StoreError>>;
}

/// Opens the store that the configuration names. `lookup` asks the DNS, if that names the members.
pub fn open(location: &Location, lookup: SrvLookup) -> Result<Arc<dyn Store>, StoreError> {
    match location {
        Location::Directory(path) => Ok(Arc::new(directory::DirectoryStore::open(path)?)),
        Location::Etcd(options) => Ok(Arc::new(etcd::EtcdStore::new(options.clone())?)),
        Location::EtcdSrv(domain, options) => {
            let domain = domain.clone();
            let store = etcd::EtcdStore::of_domain(domain, options.clone(), lookup);
            Ok(Arc::new(store))
        }
        Location::Files(path) => Ok(Arc::new(read_only::ReadOnlyStore::of_files(path))),
        Location::Environment => {
            let variables = std::env::vars_os();
            Ok(Arc::new(read_only::ReadOnlyStore::of_environment(
                variables,
            )))
        }
    }
}
