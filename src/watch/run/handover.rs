//! Targets that another configuration has changed or removed while they were being published. Shell.
//!
//! Such a publish goes on to its end where that is near, so that no reload is cut off in the middle of its work. It is
//! given up when it takes long: what hangs can be cured by another configuration. Until then whoever takes over one of its
//! files or its name waits; all other targets go on.

use std::time::{Duration, Instant};

use tokio::task::Id;

use super::Shell;
use crate::watch::target::state::{Done, Kept};

/// How long a publish that has begun to change something may go on after its configuration is not in force any more.
const GRACE: Duration = Duration::from_secs(5);

/// A target of before whose publish is under way.
pub(super) struct Leaving {
    pub(super) kept: Kept,
    /// When it is given up; `None` once it has been.
    give_up_at: Option<Instant>,
}

impl Leaving {
    /// A target that is not in force any more; `None` if nothing of it is under way.
    pub(super) fn new(kept: Kept, now: Instant) -> Option<Self> {
        let grace = if kept.has_begun() {
            GRACE
        } else {
            Duration::ZERO
        };
        kept.is_publishing().then_some(Self {
            kept,
            give_up_at: Some(now + grace),
        })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.give_up_at
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.give_up_at.take_if(|at| now >= *at).is_some() {
            self.kept.kill_command();
        }
    }
}

impl Shell {
    /// Whether a publish of before has not ended yet that excludes one of this target.
    pub(super) fn has_to_wait(&self, kept: &Kept) -> bool {
        self.leaving.iter().any(|one| one.kept.excludes(kept))
    }

    /// A publish of a configuration of before has ended: whoever waits for it goes on.
    pub(super) fn left(&mut self, id: Id, done: &Done) {
        let Some(at) = self.leaving.iter().position(|one| one.kept.runs(id)) else {
            return;
        };
        let mut gone = self.leaving.swap_remove(at).kept;
        gone.done(done, self.pass.once);
        if !self.following.is_complete() {
            return;
        }
        self.changed(|kept| kept.excludes(&gone));
    }
}
