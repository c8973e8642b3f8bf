//! Writes the entry of this watcher to the store, keeps it alive, and withdraws it at the end. Shell.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::machine::{AppliedRevisions, Status, UpdateKind};
use super::old_workers::OldWorkers;
use crate::model::catalog::{Catalog, Changes};
use crate::model::instance::{MAX_SEGMENT, host_segment};
use crate::model::lease::{Action, Input, Lease};
use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::Publication;
use crate::model::update::Revision;
use crate::model::watcher_entry::Watcher;
use crate::store::lease_requests;
use crate::store::lease_requests::Answered;
use crate::store::{Store, StoreError};
use crate::watch::child::shell::ChildGroup;
use crate::watch::host::THIS_HOST;
use crate::watch::target::state::TargetState;

/// The time to live of the entry: `sidekick drain` waits at most this long for a watcher that has died.
const TTL: Duration = Duration::from_secs(15);
/// How long the store remembers a watcher that has died: long enough for somebody to see it, and short enough that
/// machines which are taken away for good are forgotten.
const SEEN_TTL: Duration = Duration::from_secs(30 * 60);
/// How long the end of the process waits until the entry is withdrawn. After that the entry expires with its lease.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(1);

/// Which of the two leases of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The lease of the entry, with [`TTL`].
    Entry,
    /// The lease of the record that outlives a watcher which dies, with [`SEEN_TTL`].
    Seen,
}

/// What this watcher has announced in a store that it has left. It stays there until the entry in the new store stands: both
/// may be members of one cluster.
struct Left {
    store: Arc<dyn Store>,
    leases: Vec<LeaseId>,
}

/// The entry of this watcher: what it says, its leases, and the requests to the store that are under way.
pub(crate) struct AppliedPublisher {
    /// The name of this watcher in the store: host, process id and a random number.
    id: String,
    host: String,
    machine: AppliedRevisions,
    old_workers: OldWorkers,
    /// The count of old workers that is under way, with its number.
    counts: JoinSet<(u64, usize)>,
    lease: Lease,
    /// The lease of the record that outlives this watcher if it dies.
    seen_lease: Lease,
    /// The record as it was written last.
    seen: Option<Publication>,
    store: Arc<dyn Store>,
    requests: JoinSet<(Which, Answered)>,
    /// What stands in the store that was in use before.
    left: Option<Left>,
    /// The withdrawals from stores that were in use before.
    withdrawals: JoinSet<()>,
    /// The log already says that the entry cannot be written.
    has_warned: bool,
}

impl AppliedPublisher {
    /// `scopes` are the followed paths; `child` is the process group of our command, if there is one.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        scopes: &[Prefix],
        targets: &[TargetState],
        child: Option<ChildGroup>,
    ) -> Self {
        let host = (THIS_HOST.hostname)();
        // The random number is needed, since several watchers may run on a host, and each container has a process 1.
        let (process, random) = (std::process::id(), fastrand::u32(..));
        Self {
            id: format!(
                "{}-{process}-{random:08x}",
                host_segment(host.as_bytes(), MAX_SEGMENT)
            ),
            host,
            machine: AppliedRevisions::new(scopes, &followed_paths(targets), fastrand::u64(..)),
            old_workers: OldWorkers::new(targets, child),
            counts: JoinSet::new(),
            lease: Lease::new(TTL, fastrand::u64(..)),
            seen_lease: Lease::new(SEEN_TTL, fastrand::u64(..)),
            seen: None,
            store: Arc::clone(store),
            requests: JoinSet::new(),
            left: None,
            withdrawals: JoinSet::new(),
            has_warned: false,
        }
    }

    /// Replaces the scopes and targets after a config reload. `goes_on`: the scopes are the same as before.
    pub(crate) fn replace(&mut self, scopes: &[Prefix], targets: &[TargetState], goes_on: bool) {
        self.machine
            .replace(scopes, &followed_paths(targets), goes_on);
        self.old_workers.replace(targets);
    }

    /// Announces this watcher in another store from now on. `scopes` are the followed paths.
    pub(crate) fn move_to(
        &mut self,
        store: Arc<dyn Store>,
        scopes: &[Prefix],
        targets: &[TargetState],
    ) {
        self.withdraw_from_left_store();
        let leases = [&self.lease, &self.seen_lease];
        self.left = Some(Left {
            leases: leases.into_iter().filter_map(Lease::id).collect(),
            store: std::mem::replace(&mut self.store, store),
        });
        self.lease = Lease::new(TTL, fastrand::u64(..));
        self.seen_lease = Lease::new(SEEN_TTL, fastrand::u64(..));
        (self.seen, self.has_warned) = (None, false);
        // The answers of the other store mean nothing any more.
        self.requests = JoinSet::new();
        self.machine
            .move_to_other_store(scopes, &followed_paths(targets));
    }

    /// Begins to withdraw what stands in the store that was in use before. What cannot be withdrawn ends with its lease.
    fn withdraw_from_left_store(&mut self) {
        let Some(Left { store, leases }) = self.left.take() else {
            return;
        };
        self.withdrawals.spawn(async move {
            for lease in leases {
                if let Err(error) = store.revoke(lease).await {
                    debug!(%error, "the entry of this watcher in the store before: {error}");
                }
            }
        });
    }

    /// The store has sent an update of a scope. `catalog` is the outcome.
    pub(crate) fn store_updated(
        &mut self,
        scope: usize,
        revision: Revision,
        changes: &Changes,
        catalog: &Catalog,
        targets: &[TargetState],
    ) {
        let kind = UpdateKind::from_changes(changes, catalog.tree());
        let concerned = |target: usize| targets[target].concerns(changes);
        self.machine
            .store_updated(Instant::now(), scope, revision, kind, concerned);
    }

    /// The old workers, as far as they were counted.
    pub(crate) fn old_workers(&self) -> usize {
        self.machine.old_workers()
    }

    /// When the entry ends unless it is renewed.
    pub(crate) fn lease_expires(&self) -> Option<Instant> {
        self.lease.expires()
    }

    /// A publish of this target begins.
    pub(crate) fn publish_started(&mut self, target: usize) {
        self.machine.publish_started(target);
    }

    /// The publish of this target has ended. `good`: the proxies have its files in use.
    pub(crate) fn publish_ended(&mut self, target: usize, good: bool) {
        self.machine.publish_ended(Instant::now(), target, good);
    }

    /// The entry says from now on that the targets stand so.
    pub(crate) fn set_status(&mut self, status: Status) {
        self.machine.set_status(Instant::now(), status);
    }

    /// Keeps the entry up to date, for ever. Dropping the future loses nothing: the next call continues.
    pub(crate) async fn run(&mut self) -> Infallible {
        loop {
            self.act_on_deadlines();
            self.step().await;
        }
    }

    /// Starts a count of old workers and writes the entry, if these are due.
    fn act_on_deadlines(&mut self) {
        let now = Instant::now();
        if let Some(number) = self.machine.begin_due_count(now) {
            // A count that is still under way has taken too long and is ended.
            self.counts = JoinSet::new();
            let old_workers = self.old_workers.clone();
            self.counts
                .spawn(async move { (number, old_workers.count().await) });
        }
        let entry = self.machine.take_due_entry(now);
        if let Some(entry) = entry.filter(|_| !self.lease.is_ended()) {
            let watcher = Watcher {
                host: self.host.clone(),
                applied: entry.applied,
                old_workers: entry.old_workers,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                targets: entry.status.targets,
                config: entry.status.config,
            };
            self.handle_lease_input(Which::Entry, Input::Want(watcher.encode(&self.id)));
            let seen = watcher.encode_seen(&self.id);
            if self.seen.as_ref() != Some(&seen) {
                self.seen = Some(seen.clone());
                self.handle_lease_input(Which::Seen, Input::Want(seen));
            }
        }
    }

    /// Waits for the next answer or deadline, and takes it in.
    async fn step(&mut self) {
        let deadlines = self.machine.deadline().into_iter();
        let leases = [&self.lease, &self.seen_lease];
        let leases = leases.into_iter().filter_map(Lease::deadline);
        let deadline = deadlines.chain(leases).min();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A request whose task panicked is repeated when the lease's deadline for it is over.
            Some(Ok((which, (answer, error)))) = self.requests.join_next() => {
                self.log_trouble(which, error);
                self.handle_lease_input(which, answer);
            }
            // A count whose task panicked is repeated when the machine's deadline for it is over.
            Some(_) = self.withdrawals.join_next() => {}
            Some(Ok((number, old_workers))) = self.counts.join_next() => {
                self.machine.count_ended(Instant::now(), number, old_workers);
            }
            () = due => {
                self.handle_lease_input(Which::Entry, Input::Tick);
                self.handle_lease_input(Which::Seen, Input::Tick);
            }
        }
    }

    /// Hands an input to one of the leases and starts the requests that it asks for.
    fn handle_lease_input(&mut self, which: Which, input: impl Into<Input>) {
        let lease = match which {
            Which::Entry => &mut self.lease,
            Which::Seen => &mut self.seen_lease,
        };
        for action in lease.handle(Instant::now(), input) {
            let is_announced = matches!(&action, Action::Announced(_)) && which == Which::Entry;
            if is_announced {
                self.withdraw_from_left_store();
            }
            if is_announced && std::mem::take(&mut self.has_warned) {
                info!("this watcher is announced as {}", self.id);
            }
            if let Some(request) = lease_requests::request_for(&self.store, action) {
                self.requests.spawn(async move { (which, request.await) });
            }
        }
    }

    /// Logs why a request failed. An outage is logged by the subscriptions already; that the store does not let us
    /// write is logged once.
    fn log_trouble(&mut self, which: Which, trouble: Option<StoreError>) {
        match trouble {
            Some(error) if which == Which::Seen => {
                debug!(%error, "the record that outlives this watcher: {error}");
            }
            Some(error @ StoreError::Refused { .. }) if !self.has_warned => {
                self.has_warned = true;
                warn!(
                    %error, "this watcher cannot be announced, so an instance that stops does not wait for it: {error}"
                );
            }
            Some(error) => debug!(%error, "the entry of this watcher: {error}"),
            None => {}
        }
    }

    /// Begins to withdraw the entry, so that nobody waits for this watcher any more.
    pub(crate) fn withdraw(&mut self) {
        self.withdraw_from_left_store();
        self.handle_lease_input(Which::Entry, Input::Stop);
        self.handle_lease_input(Which::Seen, Input::Stop);
    }

    /// Withdraws the entry and waits until it is gone, for one second at most.
    pub(crate) async fn finish(&mut self) {
        self.withdraw();
        let gone = async {
            let is_gone = |one: &Self| one.lease.is_ended() && one.seen_lease.is_ended();
            while !is_gone(self) || !self.withdrawals.is_empty() {
                self.step().await;
            }
        };
        let _ = tokio::time::timeout(WITHDRAW_WITHIN, gone).await;
    }
}

/// The paths that each target serves.
fn followed_paths(targets: &[TargetState]) -> Vec<&[Prefix]> {
    targets.iter().map(|state| state.paths.as_slice()).collect()
}
