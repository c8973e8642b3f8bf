//! Outgoing targets: a config reload has changed or removed them while they were being published. Shell.
//!
//! The publish of an outgoing target goes on to its end if that is near, so that no reload is cut off in the middle of
//! its work. If it takes longer than [`GRACE`], it is asked to give up, so that a new configuration can replace a
//! command that hangs. If it has not ended [`END_WITHIN`] after that either, it is ended as far as that is possible.
//! New targets that have its name or one of its files wait for its end; all others go on.

use std::time::{Duration, Instant};

use tokio::task::Id;
use tracing::warn;

use super::Shell;
use crate::watch::publish::PublishReport;
use crate::watch::target::state::TargetState;

/// How long a publish that has begun to change something may go on after a config reload has outdated it.
const GRACE: Duration = Duration::from_secs(5);

/// How long a publish that was asked to give up may take to put back what it has changed.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A target of the previous configuration whose publish is under way.
pub(super) struct OutgoingTarget {
    /// The target.
    pub(super) state: TargetState,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The publish goes on; at this time it is asked to give up.
    GoesOn(Instant),
    /// The publish has been asked to give up; at this time it is ended.
    GivenUp(Instant),
    /// The publish has been ended; its task comes back as an event.
    Ended,
}

/// What is done to a publish that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// It is asked not to wait for its command any more.
    GiveUp,
    /// It is ended, wherever it is.
    End,
}

impl Stage {
    fn new(has_begun: bool, now: Instant) -> Self {
        Self::GoesOn(if has_begun { now + GRACE } else { now })
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::GoesOn(until) | Self::GivenUp(until) => Some(until),
            Self::Ended => None,
        }
    }

    /// Time has passed; what is due now.
    fn tick(&mut self, now: Instant) -> Option<Order> {
        match *self {
            Self::GoesOn(until) if now >= until => {
                *self = Self::GivenUp(now + END_WITHIN);
                Some(Order::GiveUp)
            }
            Self::GivenUp(until) if now >= until => {
                *self = Self::Ended;
                Some(Order::End)
            }
            Self::GoesOn(_) | Self::GivenUp(_) | Self::Ended => None,
        }
    }
}

impl OutgoingTarget {
    /// An old target that is not in force any more; `None` if it is not being published.
    pub(super) fn new(state: TargetState, now: Instant) -> Option<Self> {
        let stage = Stage::new(state.has_begun(), now);
        state.is_publishing().then_some(Self { state, stage })
    }

    /// When [`OutgoingTarget::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stage.deadline()
    }

    /// Asks the publish to give up, or ends it, if it is time to.
    pub(super) fn tick(&mut self, now: Instant) {
        match self.stage.tick(now) {
            Some(Order::GiveUp) => self.state.kill_command(),
            Some(Order::End) => {
                warn!(
                    target = self.state.loaded.target.name,
                    "{}: a publish of the previous configuration does not end, and sidekick no longer waits for it",
                    self.state.loaded.target.name
                );
                self.state.abort();
            }
            None => {}
        }
    }
}

impl Shell {
    /// Whether a target has to wait for the publish of an outgoing one that has the same name or a file in common.
    pub(super) fn has_to_wait(&self, state: &TargetState) -> bool {
        self.outgoing.iter().any(|one| one.state.excludes(state))
    }

    /// The publish of an outgoing target has ended: targets that waited for it go on.
    pub(super) fn outgoing_ended(&mut self, id: Id, report: &PublishReport) {
        let Some(at) = self.outgoing.iter().position(|one| one.state.runs(id)) else {
            return;
        };
        let OutgoingTarget { state, stage } = self.outgoing.swap_remove(at);
        let mut gone = state;
        if matches!(stage, Stage::Ended) {
            gone.abandon();
            let successors = self
                .targets
                .iter_mut()
                .filter(|state| state.excludes(&gone));
            successors.for_each(|successor| successor.wait_for_hanging(&gone));
        } else {
            gone.take_in_report(report, self.options.once);
        }
        let name = &gone.loaded.target.name;
        let mut targets = self.targets.iter_mut();
        if let Some(successor) = targets.find(|state| state.loaded.target.name == *name) {
            successor.inherit(&mut gone);
        }
        if !self.subscriptions.is_complete() {
            return;
        }
        self.notify_targets(|state| state.excludes(&gone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_in_the_way_is_given_up_and_then_ended_in_time() {
        for (has_begun, grace) in [(true, GRACE), (false, Duration::ZERO)] {
            let start = Instant::now();
            let mut stage = Stage::new(has_begun, start);
            let given_up = start + grace;
            assert_eq!(stage.deadline(), Some(given_up), "{has_begun}");
            if has_begun {
                assert_eq!(stage.tick(start), None, "it has its grace");
            }
            assert_eq!(stage.tick(given_up), Some(Order::GiveUp));
            assert_eq!(stage.tick(given_up), None, "once");
            let end = given_up + END_WITHIN;
            assert_eq!(stage.deadline(), Some(end));
            assert_eq!(stage.tick(end), Some(Order::End));
            assert_eq!((stage.tick(end), stage.deadline()), (None, None));
        }
    }
}
