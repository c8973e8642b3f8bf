//! When one target is published: at once, after a gathering of changes, after the pause between reloads, or again
//! after a failure; and when a publish makes way for newer data. Pure.
//!
//! A configuration that the program has refused is tried again much later than what failed otherwise. Its data have not
//! changed, so it will most likely be refused again, and each try may hurt: HAProxy refuses connections for two seconds
//! while it tries to get a port. Newer data are tried as soon as reloads may follow each other; but where one refusal
//! follows another, these two grow apart as well.
//!
//! A publish that takes longer than its commands explain is told of once. One that has not answered within its limit counts as failed: its job hangs, or is gone. The limit is longer than
//! all that a publish waits for, so it does not cut one off that is slow. The shell is told to end it before the next one
//! is ordered, and each publish has a number, so that an answer that comes late is not taken for that of the next one.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::model::backoff::{Backoff, Dice};
use crate::model::pace::Pace;
use crate::watch::publish::outcome::Outcome;

/// The delays between tries of a publish that fails.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Those between tries of what the program has refused.
const REFUSED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5 * 60));
/// The pause between reloads doubles so often at most while they are refused.
const DOUBLINGS: u32 = 4;
/// What takes no longer than this is waited for by newer data.
const SHORT: Duration = Duration::from_millis(100);
/// Newer data overtake a publish only so long after the first one that was overtaken has begun: then a check has its
/// time, and the file follows.
const UNCHECKED: Duration = Duration::from_secs(3);

/// What happens to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Something it follows has changed, or its file is to be compared anew.
    Changed,
    /// The publish of this number has ended. It counts only if that is the one under way.
    Ended(u64, Outcome),
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publish the target, under [`Schedule::number`]. There is never more than one at a time.
    Publish {
        /// Enough time has passed since the last reload. If not, only what takes none may be published.
        may_reload: bool,
        /// What the program has refused may be tried again. If not, only something else may be published.
        may_repeat: bool,
    },
    /// Ask the publish to make way for newer data, if what it waits for is the check of a change that is made already.
    /// Whatever comes of it, the publish ends as others do.
    Overtake,
    /// Say that the publish under way takes unusually long. It comes once for a publish.
    TellSlow,
    /// End the publish that has not answered within its limit: it counts as failed, and what it says yet does not count.
    Abandon,
}

/// How long a publish may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// One that takes longer is told of.
    pub(crate) usual: Duration,
    /// One that has not ended by then does not answer any more.
    pub(crate) end: Duration,
}

/// The machine; see the diagram of [`crate::watch`].
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    /// Some changes take no reload, so a publish may be tried at any time.
    is_live: bool,
    limits: Limits,
    /// How many publishes have been ordered.
    number: u64,
    state: State,
    /// The last change, to tell a quiet spell from the middle of a burst.
    changed: Option<Instant>,
    /// When the last reload ended.
    reloaded: Option<Instant>,
    /// What the program has refused is not to be tried again before this.
    refused_until: Option<Instant>,
    /// Since when the file is behind, if the last publish was overtaken.
    behind_since: Option<Instant>,
    retry: Backoff,
    refused: Backoff,
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
        /// When it is told that it takes unusually long; none if it has been told.
        slow_at: Option<Instant>,
        /// It has answered by then, or counts as failed.
        until: Instant,
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
    pub(crate) fn new(pace: Pace, is_live: bool, limits: Limits, seed: u64) -> Self {
        Self {
            pace,
            is_live,
            limits,
            number: 0,
            state: State::Idle,
            changed: None,
            reloaded: None,
            refused_until: None,
            behind_since: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
            refused: Backoff::new(REFUSED.0, REFUSED.1),
            dice: Dice::new(seed),
        }
    }

    /// The same at rest, with the same pause to keep: nothing is under way any more, and everything may be tried.
    pub(crate) fn renewed(&self) -> Self {
        let mut dice = self.dice.clone();
        // Any number will do that is another one each time.
        let seed = dice.chance().to_bits();
        Self {
            reloaded: self.reloaded,
            number: self.number,
            ..Self::new(self.pace, self.is_live, self.limits, seed)
        }
    }

    /// The number of the publish that was ordered last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// From the next publish on these are the limits.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What it does or waits for, in words; the same text as long as that is the same.
    pub(crate) fn phase(&self) -> &'static str {
        match &self.state {
            State::Idle => "nothing is to be published",
            State::Settling(gathering) if self.is_kept_waiting(gathering.due) => {
                "a change waits for min_interval since the last reload"
            }
            State::Settling(gathering) if gathering.since == gathering.due => {
                "a change is published at once, since nothing had changed for a while"
            }
            State::Settling(_) => "changes are gathered, until settle or max_wait is over",
            State::Publishing { dirty: None, .. } => "a publish is under way",
            State::Publishing { dirty: Some(_), .. } => {
                "newer data wait for the end of the publish that is under way"
            }
            State::Retrying { .. } => "what failed waits for its next try",
            State::Owing => "a reload is owed, and waits for min_interval since the last one",
        }
    }

    /// Whether a publish is under way.
    pub(crate) fn is_publishing(&self) -> bool {
        matches!(self.state, State::Publishing { .. })
    }

    /// Whether what is due then has to wait longer, since reloads keep a distance.
    fn is_kept_waiting(&self, due: Instant) -> bool {
        !self.is_live && self.held_until().is_some_and(|held| held > due)
    }

    /// When [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = match &self.state {
            State::Idle => return None,
            State::Publishing {
                dirty,
                overtake,
                slow_at,
                until,
                ..
            } => {
                let both = dirty.as_ref().zip(overtake.as_ref());
                let at = both.and_then(|(dirty, overtake)| {
                    let at = dirty.due.max(overtake.start);
                    overtake.contains(&at).then_some(at)
                });
                return at.into_iter().chain(*slow_at).chain([*until]).min();
            }
            State::Settling(gathering) => gathering.due,
            State::Retrying { at } => *at,
            State::Owing => return self.held_until(),
        };
        let held = self.held_until().filter(|_| !self.is_live);
        Some(held.map_or(due, |held| due.max(held)))
    }

    /// The transition.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Option<Action> {
        match input {
            Input::Changed => self.change(now),
            Input::Ended(number, outcome) if number == self.number => self.ended(now, outcome),
            // One that has been given up.
            Input::Ended(..) => {}
            Input::Tick => {}
        }
        let due = self.deadline().is_some_and(|at| now >= at);
        due.then(|| self.act(now))
    }

    fn act(&mut self, now: Instant) -> Action {
        if let State::Publishing {
            overtake,
            slow_at,
            until,
            ..
        } = &mut self.state
        {
            if now >= *until {
                return self.abandon(now);
            }
            if slow_at.take_if(|at| now >= *at).is_some() {
                return Action::TellSlow;
            }
            *overtake = None;
            return Action::Overtake;
        }
        self.number += 1;
        let since = self.behind_since.take().unwrap_or(now);
        self.state = State::Publishing {
            dirty: None,
            overtake: self.is_live.then(|| now + SHORT..since + UNCHECKED),
            since,
            slow_at: Some(now + self.limits.usual),
            until: now + self.limits.end,
        };
        let is_over = |until: Option<Instant>| until.is_none_or(|at| now >= at);
        Action::Publish {
            may_reload: is_over(self.held_until()),
            may_repeat: is_over(self.refused_until),
        }
    }

    /// Newer data wait, too: the next publish may hang as this one does.
    fn abandon(&mut self, now: Instant) -> Action {
        let chance = self.chance();
        let at = now + self.retry.failed(chance);
        self.state = State::Retrying { at };
        Action::Abandon
    }

    /// At least half of the delay: a try that fails costs something.
    fn chance(&mut self) -> f64 {
        0.5 + self.dice.chance() / 2.0
    }

    fn ended(&mut self, now: Instant, outcome: Outcome) {
        if !matches!(self.state, State::Publishing { .. }) {
            return;
        }
        if outcome.has_reloaded() {
            self.reloaded = Some(now);
        }
        let chance = self.chance();
        let then = match outcome {
            Outcome::Good { reloaded } => {
                self.retry.succeeded();
                // Only a reload shows that the program takes one.
                if reloaded {
                    self.refused.succeeded();
                    self.refused_until = None;
                }
                State::Idle
            }
            Outcome::WouldChange => State::Idle,
            Outcome::ReloadOwed => State::Owing,
            Outcome::RefusedBefore => State::Retrying {
                at: self.refused_until.unwrap_or(now),
            },
            Outcome::Overtaken => return self.overtaken(now),
            Outcome::Failed { .. } | Outcome::GivenUp => State::Retrying {
                at: now + self.retry.failed(chance),
            },
            Outcome::Refused { .. } => {
                let at = now + self.refused.failed(chance);
                self.refused_until = Some(at);
                State::Retrying { at }
            }
        };
        self.rest(then);
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

    /// The publish has ended; `then` is what follows, unless there is newer data, which takes the place of that.
    fn rest(&mut self, then: State) {
        if let State::Publishing { dirty, .. } = self.state {
            self.state = dirty.map_or(then, State::Settling);
        }
    }

    fn overtaken(&mut self, now: Instant) {
        if let State::Publishing { dirty, since, .. } = self.state {
            self.behind_since = Some(since);
            self.state = State::Settling(dirty.unwrap_or(Gathering::at_once(now)));
        }
    }

    /// No reload before this, since the last one was just now.
    fn held_until(&self) -> Option<Instant> {
        let doublings = self.refused.failures().saturating_sub(1).min(DOUBLINGS);
        let pause = self.pace.min_interval.saturating_mul(1 << doublings);
        Some(self.reloaded? + pause)
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
