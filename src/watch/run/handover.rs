//! Targets that another configuration has changed or removed while they were being published. Shell.
//!
//! Such a publish goes on to its end where that is near, so that no reload is cut off in the middle of its work. It is
//! given up when it takes long: what hangs can be cured by another configuration. Until then whoever takes over one of its
//! files or its name waits; all other targets go on. One that does not end then either is ended as far as that is possible, and
//! nobody waits for it any more.

use std::time::{Duration, Instant};

use tokio::task::Id;
use tracing::warn;

use super::Shell;
use crate::watch::target::state::{Done, TargetState};

/// How long a publish that has begun to change something may go on after its configuration is not in force any more.
const GRACE: Duration = Duration::from_secs(5);

/// How long one that has been given up may take to put back what it has begun.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A target of before whose publish is under way.
pub(super) struct OutgoingTarget {
    pub(super) state: TargetState,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It is given up then.
    GoesOn(Instant),
    /// It has been, and is ended then.
    GivenUp(Instant),
    /// It has been ended, which the loop will hear of.
    Ended,
}

impl OutgoingTarget {
    /// A target that is not in force any more; `None` if nothing of it is under way.
    pub(super) fn new(state: TargetState, now: Instant) -> Option<Self> {
        let grace = if state.has_begun() {
            GRACE
        } else {
            Duration::ZERO
        };
        state.is_publishing().then_some(Self {
            state,
            stage: Stage::GoesOn(now + grace),
        })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::GoesOn(until) | Stage::GivenUp(until) => Some(until),
            Stage::Ended => None,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        match self.stage {
            Stage::GoesOn(until) if now >= until => {
                self.state.kill_command();
                self.stage = Stage::GivenUp(now + END_WITHIN);
            }
            Stage::GivenUp(until) if now >= until => {
                warn!(
                    "{}: the publish of the configuration of before does not end, and is not waited for any more",
                    self.state.loaded.target.name
                );
                self.state.end();
                self.stage = Stage::Ended;
            }
            Stage::GoesOn(_) | Stage::GivenUp(_) | Stage::Ended => {}
        }
    }
}

impl Shell {
    /// Whether a publish of before has not ended yet that excludes one of this target.
    pub(super) fn has_to_wait(&self, state: &TargetState) -> bool {
        self.outgoing.iter().any(|one| one.state.excludes(state))
    }

    /// A publish of a configuration of before has ended: whoever waits for it goes on.
    pub(super) fn outgoing_ended(&mut self, id: Id, done: &Done) {
        let Some(at) = self.outgoing.iter().position(|one| one.state.runs(id)) else {
            return;
        };
        let OutgoingTarget { state, stage } = self.outgoing.swap_remove(at);
        let mut gone = state;
        if matches!(stage, Stage::Ended) {
            gone.abandon();
            let heirs = self
                .targets
                .iter_mut()
                .filter(|state| state.excludes(&gone));
            heirs.for_each(|heir| heir.inherit(&gone));
        } else {
            gone.done(done, self.pass.once);
        }
        if !self.subscriptions.is_complete() {
            return;
        }
        self.notify_targets(|state| state.excludes(&gone));
    }
}
