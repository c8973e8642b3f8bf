//! The progress of a publish under way, and how the loop asks it to make way or to end. Shell.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::Notify;

/// How far a publish has come, and what the loop has asked of it.
#[derive(Debug, Default)]
pub(in crate::watch) struct Progress {
    has_begun: AtomicBool,
    is_abandoned: AtomicBool,
    /// The current step, as an index of [`STEPS`].
    step: AtomicU8,
    overtake: Notify,
    check: StopRequest,
    command: StopRequest,
}

/// A step of a publish, in the order of [`STEPS`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Render,
    Check,
    Swap,
    Change,
    Reload,
    Verify,
}

/// What a publish does in each step, as the end of "it is still ...".
const STEPS: [&str; 6] = [
    "rendering the files and reading those that are live",
    "checking the new files",
    "putting files in their places",
    "changing the running HAProxy",
    "waiting for the reload",
    "asking the program whether it runs the new files",
];

/// A request to stop waiting for something.
#[derive(Debug, Default)]
struct StopRequest {
    is_asked: AtomicBool,
    asked: Notify,
}

impl StopRequest {
    fn send(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.asked.notify_waiters();
    }

    /// Returns when the request has been sent, be it before this call.
    async fn received(&self) {
        let asked = self.asked.notified();
        if !self.is_asked.load(Ordering::Acquire) {
            asked.await;
        }
    }
}

impl Progress {
    /// The publish is about to change something.
    pub(super) fn set_begun(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// The publish begins this step.
    pub(super) fn enter(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// What the publish does now, as the end of "it is still ...".
    pub(in crate::watch) fn describe_step(&self) -> &'static str {
        let step = self.step.load(Ordering::Relaxed);
        STEPS.get(usize::from(step)).copied().unwrap_or_default()
    }

    /// Whether the publish has begun to change something.
    pub(in crate::watch) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Asks the publish to make way for newer data. The request is kept until its check begins.
    pub(in crate::watch) fn overtake(&self) {
        self.overtake.notify_one();
    }

    /// Asks the publish to wait for no command any more and to end.
    pub(in crate::watch) fn give_up(&self) {
        self.check.send();
        self.command.send();
    }

    /// Ends the publish from outside, since it has not answered in time: no further work of it begins.
    pub(in crate::watch) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.give_up();
    }

    /// Whether the publish was abandoned.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    /// Asks the publish to end if it still waits for a check.
    pub(in crate::watch) fn give_up_check(&self) {
        self.check.send();
    }

    /// Returns when the publish must not wait for a command any more.
    pub(super) async fn given_up(&self) {
        self.command.received().await;
    }

    /// Returns when the publish must not wait for a check any more.
    pub(super) async fn check_given_up(&self) {
        self.check.received().await;
    }

    /// Returns when the loop asks the publish to make way for newer data.
    pub(super) async fn overtaken(&self) {
        self.overtake.notified().await;
    }
}
