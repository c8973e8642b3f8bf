//! When one target is published: at once, after a gathering of changes, after the pause between reloads, or again
//! after a failure; and when a publish makes way for newer data. Pure.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::model::backoff::{Backoff, Dice};
use crate::model::pace::Pace;

/// The delays between tries of a publish that fails.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// What takes no longer than this is waited for by newer data.
const SHORT: Duration = Duration::from_millis(100);
/// Newer data overtake a publish only so long after the first one that was overtaken has begun: then a check has its
/// time, and the file follows.
const UNCHECKED: Duration = Duration::from_secs(3);

/// What happens to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Something it follows has changed, or its file is to be compared anew.
    Changed,
    /// The publish is done.
    Done {
        /// File and program are as they should be.
        good: bool,
        /// The program was told to reload, whatever came of it.
        reloaded: bool,
    },
    /// The publish has found that it takes a reload, for which it is too early.
    Held,
    /// The publish has changed what runs, and has made way for newer data before its file was checked.
    Overtaken,
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Publish the target. There is never more than one at a time.
    Publish {
        /// Enough time has passed since the last reload. If not, only what takes none may be published.
        may_reload: bool,
    },
    /// Ask the publish to make way for newer data, if what it waits for is the check of a change that is made already.
    /// Whatever comes of it, the publish ends as others do.
    Overtake,
}

/// The machine; see the diagram of [`crate::watch`].
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    /// Some changes take no reload, so a publish may be tried at any time.
    is_live: bool,
    state: State,
    /// The last change, to tell a quiet spell from the middle of a burst.
    changed: Option<Instant>,
    /// No publish before this, since the last reload was just now.
    held_until: Option<Instant>,
    /// Since when the file is behind, if the last publish was overtaken.
    behind_since: Option<Instant>,
    retry: Backoff,
    dice: Dice,
}

#[derive(Debug)]
enum State {
    Idle,
    Settling(Gathering),
    Publishing {
        dirty: Option<Gathering>,
        /// From when and until when it may be asked to make way; none if it never may, or has been.
        overtake: Option<Range<Instant>>,
        /// When this publish began, or the first of those that were overtaken before it.
        since: Instant,
    },
    Retrying {
        at: Instant,
    },
    /// A reload is owed, and waits for its time.
    Owing,
}

/// Changes that wait for their publish.
#[derive(Debug, Clone, Copy)]
struct Gathering {
    since: Instant,
    due: Instant,
}

impl Schedule {
    pub(super) fn new(pace: Pace, is_live: bool, seed: u64) -> Self {
        Self {
            pace,
            is_live,
            state: State::Idle,
            changed: None,
            held_until: None,
            behind_since: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
            dice: Dice::new(seed),
        }
    }

    /// The same at rest, with the same pause to keep: nothing is under way any more.
    pub(super) fn renewed(&self) -> Self {
        let mut dice = self.dice.clone();
        // Any number will do that is another one each time.
        let seed = dice.chance().to_bits();
        Self {
            held_until: self.held_until,
            ..Self::new(self.pace, self.is_live, seed)
        }
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = match &self.state {
            State::Idle => return None,
            State::Publishing {
                dirty, overtake, ..
            } => {
                let (dirty, overtake) = dirty.as_ref().zip(overtake.as_ref())?;
                let at = dirty.due.max(overtake.start);
                return overtake.contains(&at).then_some(at);
            }
            State::Settling(gathering) => gathering.due,
            State::Retrying { at } => *at,
            State::Owing => return self.held_until,
        };
        let held = self.held_until.filter(|_| !self.is_live);
        Some(held.map_or(due, |held| due.max(held)))
    }

    /// The transition.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Option<Action> {
        match input {
            Input::Changed => self.change(now),
            Input::Done { good, reloaded } => self.done(now, good, reloaded),
            Input::Held => self.held(),
            Input::Overtaken => self.overtaken(now),
            Input::Tick => {}
        }
        let due = self.deadline().is_some_and(|at| now >= at);
        due.then(|| self.act(now))
    }

    fn act(&mut self, now: Instant) -> Action {
        if let State::Publishing { overtake, .. } = &mut self.state {
            *overtake = None;
            return Action::Overtake;
        }
        let since = self.behind_since.take().unwrap_or(now);
        self.state = State::Publishing {
            dirty: None,
            overtake: self.is_live.then(|| now + SHORT..since + UNCHECKED),
            since,
        };
        let may_reload = self.held_until.is_none_or(|held| now >= held);
        Action::Publish { may_reload }
    }

    fn change(&mut self, now: Instant) {
        let quiet = |last: Instant| now.saturating_duration_since(last) >= self.pace.settle;
        let first_in_a_while = self.changed.is_none_or(quiet);
        self.changed = Some(now);
        match &mut self.state {
            State::Idle | State::Owing if first_in_a_while => {
                self.state = State::Settling(Gathering::at_once(now));
            }
            State::Idle | State::Retrying { .. } | State::Owing => {
                self.state = State::Settling(gather(self.pace, None, now));
            }
            State::Settling(gathering) => *gathering = gather(self.pace, Some(*gathering), now),
            State::Publishing { dirty, .. } if dirty.is_none() && first_in_a_while => {
                *dirty = Some(Gathering::at_once(now));
            }
            State::Publishing { dirty, .. } => *dirty = Some(gather(self.pace, *dirty, now)),
        }
    }

    fn held(&mut self) {
        if let State::Publishing { dirty, .. } = self.state {
            self.state = dirty.map_or(State::Owing, State::Settling);
        }
    }

    fn overtaken(&mut self, now: Instant) {
        if let State::Publishing { dirty, since, .. } = self.state {
            self.behind_since = Some(since);
            self.state = State::Settling(dirty.unwrap_or(Gathering::at_once(now)));
        }
    }

    fn done(&mut self, now: Instant, good: bool, reloaded: bool) {
        let State::Publishing { dirty, .. } = self.state else {
            return;
        };
        if reloaded {
            self.held_until = Some(now + self.pace.min_interval);
        }
        if good {
            self.retry.succeeded();
        }
        self.state = match (dirty, good) {
            // Newer data takes the place of what failed.
            (Some(gathering), _) => State::Settling(gathering),
            (None, true) => State::Idle,
            (None, false) => State::Retrying {
                // At least half of the delay: a check that fails costs something.
                at: now + self.retry.failed(0.5 + self.dice.chance() / 2.0),
            },
        };
    }
}

impl Gathering {
    fn at_once(now: Instant) -> Self {
        Self {
            since: now,
            due: now,
        }
    }
}

fn gather(pace: Pace, before: Option<Gathering>, now: Instant) -> Gathering {
    let since = before.map_or(now, |gathering| gathering.since);
    Gathering {
        since,
        due: (now + pace.settle).min(since + pace.max_wait),
    }
}

#[cfg(test)]
mod tests;
