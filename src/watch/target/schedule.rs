//! Decides when a target is published: at once, after changes have settled, after the pause between reloads, or again after a
//! failure; and when a publish makes way for newer data. Pure.
//!
//! Files that the program has refused are tried again much later than files that failed otherwise. Unchanged files will most
//! likely be refused again, and each try may hurt: HAProxy refuses connections for two seconds while it tries to get a port.
//! Newer data are tried as soon as the pause between reloads allows; with each refusal in a row that pause grows as well.
//!
//! The log says once that a publish takes longer than its time-outs explain. A publish that has not answered within its limit
//! counts as failed: its job hangs, or is gone. The limit is longer than everything that a publish waits for, so it cuts off
//! no slow one. The machine orders the end of a publish before it orders the next one, and each publish has a number, so that
//! a late answer is not taken for that of the next publish.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::model::backoff::{Backoff, Dice};
use crate::model::pace::Pace;
use crate::watch::publish::outcome::Outcome;

/// The first and the longest delay between tries of a publish that fails.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The first and the longest delay between tries of files that the program refuses.
const REFUSED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5 * 60));
/// How often at most the pause between reloads doubles while they are refused.
const DOUBLINGS: u32 = 4;
/// How long newer data wait for a publish before they overtake it.
const SHORT: Duration = Duration::from_millis(100);
/// How long newer data may overtake publishes, from the begin of the first one that was overtaken. After that a check runs to
/// its end, so that the file follows the running HAProxy.
const UNCHECKED: Duration = Duration::from_secs(3);

/// What happens to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Something that the target follows has changed, or its file has to be compared again.
    Changed,
    /// The publish with this number has ended. The input counts only if that is the publish under way.
    Ended(u64, Outcome),
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publish the target, under [`Schedule::number`]. There is never more than one at a time.
    Publish {
        /// Enough time has passed since the last reload. If not, only changes without a reload may be published.
        may_reload: bool,
        /// The publish may try contents again that the program has refused.
        may_repeat: bool,
    },
    /// Ask the publish to make way for newer data, if it waits for the check of a change that HAProxy already has. The
    /// publish then ends as any other.
    Overtake,
    /// Log that the publish under way takes unusually long. This action comes once for a publish.
    WarnSlow,
    /// End the publish that has not answered within its limit. It counts as failed, and a later answer of it is ignored.
    Abandon,
}

/// How long a publish may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// After this time the log says that the publish takes unusually long.
    pub(crate) usual: Duration,
    /// After this time the publish is given up.
    pub(crate) end: Duration,
}

/// The machine; the diagram of its states is in [`crate::watch::target`].
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    /// Whether some changes need no reload, so that a publish may be tried at any time.
    is_live: bool,
    limits: Limits,
    /// How many publishes have been ordered.
    number: u64,
    state: State,
    /// The last change, to tell a quiet spell from the middle of a burst.
    changed: Option<Instant>,
    /// When the last reload ended.
    reloaded: Option<Instant>,
    /// Files that the program has refused are not tried again before this.
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
        /// When the publish may be asked to make way; `None` if it never may, or was asked already.
        overtake: Option<Range<Instant>>,
        /// When this publish began, or the first of those that were overtaken before it.
        since: Instant,
        /// When the log says that the publish takes unusually long; `None` if it says so already.
        slow_at: Option<Instant>,
        /// When the publish is given up.
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

    /// A schedule at rest with the same pace and limits: no publish is under way, and everything may be tried at once, but the
    /// pause after the last reload is kept.
    pub(crate) fn renewed(&self) -> Self {
        let mut dice = self.dice.clone();
        // The new machine needs another seed than this one.
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

    /// Sets the limits of all publishes from the next one on.
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

    /// Takes in what has happened; returns what to do now.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Option<Action> {
        match input {
            Input::Changed => self.change(now),
            Input::Ended(number, outcome) if number == self.number => self.ended(now, outcome),
            // This publish was given up.
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
                return Action::WarnSlow;
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

    /// Gives a publish up. Newer data wait for the retry as well, since the next publish may hang like this one.
    fn abandon(&mut self, now: Instant) -> Action {
        let chance = self.chance();
        let at = now + self.retry.failed(chance);
        self.state = State::Retrying { at };
        Action::Abandon
    }

    /// A random factor for a delay, at least one half, since each try costs something.
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
                // Only a reload shows that the program accepts files again.
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
            Outcome::Failed { .. } | Outcome::NotPrinted | Outcome::GivenUp => State::Retrying {
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

    /// The publish has ended; `then` is the next state, unless newer data have come meanwhile, which settle now.
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

    /// When the pause after the last reload is over; `None` if there was no reload yet.
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
