//! Following a prefix for ever: list, watch after what was listed, and again after whatever goes wrong. Adapter.
//!
//! ```text
//!            snapshot              watch
//!   Listing ──────────▶ Resuming ────────▶ Watching ──┐ each update moves the revision on
//!      ▲  ▲                │  ▲               │  ▲    │
//!      │  │  history lost, │  │     error     │  └────┘
//!      │  └─ 6 resumes ────┘  └───────────────┤
//!      │     failed                           │
//!      └──────────────────────────────────────┘ history lost; every 10 minutes, to be sure
//! ```
//!
//! Between two tries lies a jittered delay, so that a fleet that lost the same store does not come back as one.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Store, StoreError, Watch};
use crate::model::backoff::Backoff;
use crate::model::failures::{Failures, PastFailures};
use crate::model::prefix::Prefix;
use crate::model::update::{Revision, Update};

/// The delays between tries.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a watch must have lived for the delays to start small again.
const HEALTHY: Duration = Duration::from_secs(5);
/// After so many resumes in vain, the follower lists everything again.
const RESUMES: u32 = 6;
/// The follower reports an outage after so many failures in a row; the first may be no more than a lost connection.
const REPORT_AT: usize = 2;
/// How often the follower lists everything again although nothing is wrong; each time varies by [`RELIST_SPREAD`].
const RELIST: Duration = Duration::from_secs(10 * 60);
const RELIST_SPREAD: f64 = 0.2;

/// What following a prefix tells its consumer.
#[derive(Debug)]
pub enum Followed {
    /// The store has sent this.
    Update(Update),
    /// The store has stopped answering; the follower sends this once per outage, and again when somebody who corrects the
    /// store has made another mistake.
    Outage(StoreError),
    /// The store answers again.
    Restored(PastFailures),
}

/// Follows a prefix until the receiver is dropped.
///
/// # Guarantees
///
/// - The first update is a [`Update::Reset`], and applying all updates in order leads to what the store holds.
/// - No change is skipped: where the history from which to go on is gone, another reset comes.
/// - It reports an outage once, after the first retry has failed too, and its end once. Only another mistake in what the
///   store is made of is reported in between.
pub async fn follow(store: Arc<dyn Store>, prefix: Prefix, to: mpsc::Sender<Followed>) {
    let receiver = to.clone();
    let follower = Follower::new(store, prefix, to);
    tokio::select! {
        () = receiver.closed() => {}
        () = follower.run() => {}
    }
}

/// Follows a prefix as [`follow`] does, and sends each event with a tag, so that one receiver can serve several prefixes.
pub async fn follow_tagged<T: Copy>(
    store: Arc<dyn Store>,
    prefix: Prefix,
    tag: T,
    to: mpsc::Sender<(T, Followed)>,
) {
    let (own, mut from) = mpsc::channel(16);
    let relay = async {
        while let Some(followed) = from.recv().await {
            if to.send((tag, followed)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(follow(store, prefix, own), relay);
}

/// Where to go on.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// The consumer has nothing yet, or what it has must not be trusted.
    Listing,
    /// The consumer has everything up to this revision.
    After(Revision),
}

/// Why a watch ended.
enum End {
    /// The receiver is gone.
    Unwanted,
    /// It is time to list again.
    Relist,
    /// The store failed.
    Failed(StoreError),
}

struct Follower {
    store: Arc<dyn Store>,
    prefix: Prefix,
    to: mpsc::Sender<Followed>,
    position: Position,
    relist_at: Instant,
    backoff: Backoff,
    failed_resumes: u32,
    outage: Outage,
}

/// How many failures came in a row; the follower reports an outage at the second.
#[derive(Debug, Default)]
struct Outage {
    failures: Failures,
    /// What was reported last.
    reported: Option<StoreError>,
}

impl Follower {
    fn new(store: Arc<dyn Store>, prefix: Prefix, to: mpsc::Sender<Followed>) -> Self {
        Self {
            store,
            prefix,
            to,
            position: Position::Listing,
            relist_at: Instant::now(),
            backoff: Backoff::new(RETRY.0, RETRY.1),
            failed_resumes: 0,
            outage: Outage::default(),
        }
    }

    async fn run(mut self) {
        loop {
            match self.list_and_watch().await {
                End::Unwanted => return,
                End::Relist => self.position = Position::Listing,
                End::Failed(error) => {
                    if self.handle_failure(error).await.is_break() {
                        return;
                    }
                    let delay = self.backoff.failed(fastrand::f64());
                    // Nobody who has corrected a file waits for the end of the delay.
                    let _ = timeout(delay, self.store.usable_again()).await;
                }
            }
        }
    }

    /// Lists if the position requires it, and watches until the watch ends.
    async fn list_and_watch(&mut self) -> End {
        let after = match self.position {
            Position::After(revision) => revision,
            Position::Listing => match self.list().await {
                Ok(revision) => revision,
                Err(end) => return end,
            },
        };
        // Its own handle, so that the watch does not borrow the follower.
        let store = Arc::clone(&self.store);
        let prefix = self.prefix.clone();
        let mut watch = match store.watch(&prefix, after).await {
            Ok(watch) => watch,
            Err(error) => return End::Failed(error),
        };
        if self.handle_answer().await.is_break() {
            return End::Unwanted;
        }
        let opened = Instant::now();
        let end = self.watch(watch.as_mut()).await;
        if opened.elapsed() >= HEALTHY {
            self.backoff.succeeded();
            self.failed_resumes = 0;
        }
        end
    }

    async fn list(&mut self) -> Result<Revision, End> {
        let snapshot = self.store.snapshot(&self.prefix).await;
        let snapshot = snapshot.map_err(End::Failed)?;
        let revision = snapshot.revision;
        let spread = 1.0 + RELIST_SPREAD * (2.0 * fastrand::f64() - 1.0);
        self.relist_at = Instant::now() + RELIST.mul_f64(spread);
        self.failed_resumes = 0;
        // An open watch is what ends an outage: a store that lists and cannot be watched is not well.
        match self.send_update(Update::Reset(snapshot)).await {
            ControlFlow::Continue(()) => Ok(revision),
            ControlFlow::Break(()) => Err(End::Unwanted),
        }
    }

    async fn watch(&mut self, watch: &mut dyn Watch) -> End {
        loop {
            let update = tokio::select! {
                update = watch.next() => update,
                () = tokio::time::sleep_until(self.relist_at) => return End::Relist,
            };
            match update {
                Ok(update) => {
                    self.failed_resumes = 0;
                    if self.send_update(update).await.is_break() {
                        return End::Unwanted;
                    }
                }
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// Decides where to go on after a failure, and reports an outage when it begins.
    async fn handle_failure(&mut self, error: StoreError) -> ControlFlow<()> {
        tracing::debug!(%error, "{} cannot be followed: {error}", self.prefix);
        match error {
            StoreError::HistoryLost { .. } => {
                // The store has answered; this is no outage.
                self.position = Position::Listing;
                ControlFlow::Continue(())
            }
            StoreError::Unavailable { .. }
            | StoreError::Refused { .. }
            | StoreError::Unusable { .. }
            | StoreError::Conflict(_)
            | StoreError::LeaseLost(_) => {
                self.failed_resumes += 1;
                if self.failed_resumes >= RESUMES {
                    self.position = Position::Listing;
                }
                if self.outage.is_news(&error) {
                    self.send(Followed::Outage(error)).await
                } else {
                    ControlFlow::Continue(())
                }
            }
        }
    }

    async fn handle_answer(&mut self) -> ControlFlow<()> {
        match self.outage.end() {
            Some(past) => self.send(Followed::Restored(past)).await,
            None => ControlFlow::Continue(()),
        }
    }

    async fn send_update(&mut self, update: Update) -> ControlFlow<()> {
        self.position = Position::After(update.revision());
        self.send(Followed::Update(update)).await
    }

    async fn send(&self, what: Followed) -> ControlFlow<()> {
        match self.to.send(what).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Outage {
    /// Counts a failure; returns whether it is to be reported now.
    fn is_news(&mut self, error: &StoreError) -> bool {
        self.failures.count(Instant::now().into_std());
        let begins = self.failures.times() == REPORT_AT;
        let is_news = begins || self.is_another_mistake(error);
        if is_news {
            self.reported = Some(error.clone());
        }
        is_news
    }

    /// Whether somebody has to correct something else than what was reported. Causes that pass by themselves may change at
    /// each try, and are no news.
    fn is_another_mistake(&self, error: &StoreError) -> bool {
        let reported = self.reported.as_ref();
        matches!(error, StoreError::Unusable { .. })
            && reported.is_some_and(|reported| reported != error)
    }

    /// Forgets the failures; returns them if the outage had been reported.
    fn end(&mut self) -> Option<PastFailures> {
        let was_reported = self.reported.take().is_some();
        let past = self.failures.end(Instant::now().into_std());
        past.filter(|_| was_reported)
    }
}

#[cfg(test)]
mod tests;
