//! The entry of a watcher in the store: written, kept alive, and taken back at the end. Shell.

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
use crate::model::update::{Prefix, Publication, Revision};
use crate::model::watchers::Watcher;
use crate::store::lease_requests;
use crate::store::lease_requests::Answer;
use crate::store::{Store, StoreError};
use crate::watch::child::shell::ChildGroup;
use crate::watch::host::WORLD;
use crate::watch::target::state::TargetState;

/// How long a watcher that died without a word is waited for, at the most.
const TTL: Duration = Duration::from_secs(15);
/// How long one that is gone without having stopped in order is missed: long enough for somebody to see it, and short enough
/// that machines which are taken away for good are forgotten.
const SEEN_TTL: Duration = Duration::from_mins(30);
/// How long the end waits for the entry to be taken back; else it expires.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(1);

/// Which of the two leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Entry,
    Seen,
}

pub(crate) struct AppliedPublisher {
    id: String,
    host: String,
    machine: AppliedRevisions,
    old_workers: OldWorkers,
    /// The count under way, by its number.
    counts: JoinSet<(u64, usize)>,
    lease: Lease,
    /// That of what remembers it when it is gone.
    seen_lease: Lease,
    /// What the latter holds.
    seen: Option<Publication>,
    store: Arc<dyn Store>,
    requests: JoinSet<(Which, Answer)>,
    /// It has been told that there is no entry, and why.
    has_warned: bool,
}

impl AppliedPublisher {
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        scopes: &[Prefix],
        targets: &[TargetState],
        child: Option<ChildGroup>,
    ) -> Self {
        let host = (WORLD.hostname)();
        // Several may run on a host, and each container has a process 1.
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
            has_warned: false,
        }
    }

    /// Other targets are kept now.
    pub(crate) fn replace(&mut self, scopes: &[Prefix], targets: &[TargetState], goes_on: bool) {
        self.machine
            .replace(scopes, &followed_paths(targets), goes_on);
        self.old_workers.replace(targets);
    }

    /// The store has said something.
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

    /// A publish begins.
    pub(crate) fn publish_started(&mut self, target: usize) {
        self.machine.publish_started(target);
    }

    /// A publish has ended.
    pub(crate) fn publish_ended(&mut self, target: usize, good: bool) {
        self.machine.publish_ended(Instant::now(), target, good);
    }

    /// The targets stand so from now on.
    pub(crate) fn set_status(&mut self, status: Status) {
        self.machine.set_status(Instant::now(), status);
    }

    /// Keeps the entry. Dropped and called again, it goes on where it was.
    pub(crate) async fn run(&mut self) -> Infallible {
        loop {
            self.act_on_deadlines();
            self.step().await;
        }
    }

    fn act_on_deadlines(&mut self) {
        let now = Instant::now();
        if let Some(number) = self.machine.begin_due_count(now) {
            // One that has not come by now is ended.
            self.counts = JoinSet::new();
            let old_workers = self.old_workers.clone();
            self.counts
                .spawn(async move { (number, old_workers.count().await) });
        }
        let said = self.machine.take_due_entry(now);
        if let Some(said) = said.filter(|_| !self.lease.is_ended()) {
            let watcher = Watcher {
                host: self.host.clone(),
                applied: said.applied,
                old_workers: said.old_workers,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                targets: said.status.targets,
                config: said.status.config,
            };
            self.handle_lease_input(Which::Entry, Input::Want(watcher.encode(&self.id)));
            let seen = watcher.encode_seen(&self.id);
            if self.seen.as_ref() != Some(&seen) {
                self.seen = Some(seen.clone());
                self.handle_lease_input(Which::Seen, Input::Want(seen));
            }
        }
    }

    /// The next answer, or the next deadline.
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
            // One that broke off is found missing by the lease's deadline.
            Some(Ok((which, answer))) = self.requests.join_next() => {
                self.log_trouble(which, answer.trouble);
                self.handle_lease_input(which, answer.input);
            }
            // One that broke off is found missing by its deadline.
            Some(Ok((number, old_workers))) = self.counts.join_next() => {
                self.machine.count_ended(Instant::now(), number, old_workers);
            }
            () = due => {
                self.handle_lease_input(Which::Entry, Input::Tick);
                self.handle_lease_input(Which::Seen, Input::Tick);
            }
        }
    }

    fn handle_lease_input(&mut self, which: Which, input: Input) {
        let lease = match which {
            Which::Entry => &mut self.lease,
            Which::Seen => &mut self.seen_lease,
        };
        for action in lease.handle(Instant::now(), input) {
            let is_announced = matches!(&action, Action::Announced(_)) && which == Which::Entry;
            if is_announced && std::mem::take(&mut self.has_warned) {
                info!("this watcher is announced as {}", self.id);
            }
            if let Some(request) = lease_requests::request(&self.store, action) {
                self.requests.spawn(async move { (which, request.await) });
            }
        }
    }

    /// An outage is told by those who follow; that we may not write is told once.
    fn log_trouble(&mut self, which: Which, trouble: Option<StoreError>) {
        match trouble {
            Some(error) if which == Which::Seen => {
                debug!("what remembers this watcher when it is gone: {error}");
            }
            Some(error @ StoreError::Refused { .. }) if !self.has_warned => {
                self.has_warned = true;
                warn!(
                    "this watcher cannot be announced, so an instance that stops does not wait for it: {error}"
                );
            }
            Some(error) => debug!("the entry of this watcher: {error}"),
            None => {}
        }
    }

    /// From now on nobody needs to wait for us.
    pub(crate) fn withdraw(&mut self) {
        self.handle_lease_input(Which::Entry, Input::Stop);
        self.handle_lease_input(Which::Seen, Input::Stop);
    }

    /// Waits until the entry is gone, for a moment.
    pub(crate) async fn finish(&mut self) {
        self.withdraw();
        let gone = async {
            while !self.lease.is_ended() || !self.seen_lease.is_ended() {
                self.step().await;
            }
        };
        let _ = tokio::time::timeout(WITHDRAW_WITHIN, gone).await;
    }
}

fn followed_paths(targets: &[TargetState]) -> Vec<&[Prefix]> {
    targets.iter().map(|state| state.paths.as_slice()).collect()
}
