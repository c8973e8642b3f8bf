//! What passes between a publish that is under way and the loop. Shell.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// How far a publish has come, and whether newer data wait for it.
#[derive(Debug, Default)]
pub(in crate::watch) struct Progress {
    has_begun: AtomicBool,
    overtake: Notify,
}

impl Progress {
    /// Something is about to be changed.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// Whether it has begun to change something.
    pub(in crate::watch) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Asks it to make way; also if it will wait for its check a moment from now only.
    pub(in crate::watch) fn overtake(&self) {
        self.overtake.notify_one();
    }

    /// Returns when it is asked to make way.
    pub(super) async fn overtaken(&self) {
        self.overtake.notified().await;
    }
}
