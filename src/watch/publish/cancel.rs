//! What passes between a publish that is under way and the loop. Shell.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::Notify;

/// How far a publish has come, and whether newer data wait for it.
#[derive(Debug, Default)]
pub(in crate::watch) struct Progress {
    has_begun: AtomicBool,
    is_abandoned: AtomicBool,
    /// A place in [`STEPS`].
    step: AtomicU8,
    overtake: Notify,
    check: GiveUp,
    command: GiveUp,
}

/// What a publish is doing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Render,
    Check,
    Swap,
    Change,
    Reload,
    Confirm,
}

/// The words for each of them.
const STEPS: [&str; 6] = [
    "rendering the files and reading those that are live",
    "checking the new files",
    "putting files in their places",
    "talking to the HAProxy that runs",
    "waiting for the reload",
    "asking the program whether it runs the new files",
];

/// Whether something is not to be waited for any more.
#[derive(Debug, Default)]
struct GiveUp {
    is_asked: AtomicBool,
    asked: Notify,
}

impl GiveUp {
    fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.asked.notify_waiters();
    }

    /// Returns when it is asked for, also if that was before.
    async fn asked(&self) {
        let asked = self.asked.notified();
        if !self.is_asked.load(Ordering::Acquire) {
            asked.await;
        }
    }
}

impl Progress {
    /// Something is about to be changed.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// It begins with this.
    pub(super) fn enter(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// What it is doing, in words: "it is still ...".
    pub(in crate::watch) fn doing(&self) -> &'static str {
        let step = self.step.load(Ordering::Relaxed);
        STEPS.get(usize::from(step)).copied().unwrap_or_default()
    }

    /// Whether it has begun to change something.
    pub(in crate::watch) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Asks it to make way; also if it will wait for its check a moment from now only.
    pub(in crate::watch) fn overtake(&self) {
        self.overtake.notify_one();
    }

    /// Asks it to end without waiting for a command any more: its configuration is not in force any more.
    pub(in crate::watch) fn give_up(&self) {
        self.check.ask();
        self.command.ask();
    }

    /// It has not answered in time: nothing of it is to begin any more.
    pub(in crate::watch) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.give_up();
    }

    /// Whether it was given up since it did not answer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    /// Asks it to end if a check is still to be waited for.
    pub(in crate::watch) fn give_up_check(&self) {
        self.check.ask();
    }

    /// Returns when no command is to be waited for any more.
    pub(super) async fn given_up(&self) {
        self.command.asked().await;
    }

    /// Returns when no check is to be waited for any more.
    pub(super) async fn check_given_up(&self) {
        self.check.asked().await;
    }

    /// Returns when it is asked to make way.
    pub(super) async fn overtaken(&self) {
        self.overtake.notified().await;
    }
}
