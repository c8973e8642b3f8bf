//! When one target is published: at once, after a gathering of changes, after the pause between reloads, or again
//! after a failure. Pure.

use std::time::{Duration, Instant};

use crate::model::backoff::{Backoff, Dice};
use crate::model::pace::Pace;

/// The delays between tries of a publish that fails.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

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
    retry: Backoff,
    dice: Dice,
}

#[derive(Debug)]
enum State {
    Idle,
    Settling(Gathering),
    Publishing {
        dirty: Option<Gathering>,
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
            State::Idle | State::Publishing { .. } => return None,
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
            Input::Tick => {}
        }
        let due = self.deadline().is_some_and(|at| now >= at);
        due.then(|| {
            self.state = State::Publishing { dirty: None };
            let may_reload = self.held_until.is_none_or(|held| now >= held);
            Action::Publish { may_reload }
        })
    }

    fn change(&mut self, now: Instant) {
        let quiet = |last: Instant| now.saturating_duration_since(last) >= self.pace.settle;
        let first_in_a_while = self.changed.is_none_or(quiet);
        self.changed = Some(now);
        match &mut self.state {
            State::Idle | State::Owing if first_in_a_while => {
                self.state = State::Settling(Gathering {
                    since: now,
                    due: now,
                });
            }
            State::Idle | State::Retrying { .. } | State::Owing => {
                self.state = State::Settling(gather(self.pace, None, now));
            }
            State::Settling(gathering) => *gathering = gather(self.pace, Some(*gathering), now),
            State::Publishing { dirty } => *dirty = Some(gather(self.pace, *dirty, now)),
        }
    }

    fn held(&mut self) {
        if let State::Publishing { dirty } = self.state {
            self.state = dirty.map_or(State::Owing, State::Settling);
        }
    }

    fn done(&mut self, now: Instant, good: bool, reloaded: bool) {
        let State::Publishing { dirty } = self.state else {
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

fn gather(pace: Pace, before: Option<Gathering>, now: Instant) -> Gathering {
    let since = before.map_or(now, |gathering| gathering.since);
    Gathering {
        since,
        due: (now + pace.settle).min(since + pace.max_wait),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace {
        settle: Duration::from_millis(20),
        max_wait: Duration::from_millis(500),
        min_interval: Duration::from_secs(2),
    };

    const PUBLISH: Action = Action::Publish { may_reload: true };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn done(good: bool, reloaded: bool) -> Input {
        Input::Done { good, reloaded }
    }

    #[test]
    fn the_first_change_goes_out_at_once_and_what_follows_is_gathered() {
        let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, 1));
        assert_eq!(target.handle(start, Input::Changed), Some(PUBLISH));
        assert_eq!(target.handle(start + ms(5), Input::Changed), None);
        assert_eq!(target.handle(start + ms(6), done(true, false)), None);
        assert_eq!(target.deadline(), Some(start + ms(25)));
        assert_eq!(target.handle(start + ms(15), Input::Changed), None);
        assert_eq!(target.deadline(), Some(start + ms(35)));
        assert_eq!(target.handle(start + ms(35), Input::Tick), Some(PUBLISH));
    }

    #[test]
    fn gathering_ends_even_if_it_never_gets_quiet() {
        let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, 1));
        target.handle(start, Input::Changed);
        target.handle(start, done(true, false));
        for n in 1..50 {
            let published = target.handle(start + ms(10 * n), Input::Changed);
            assert_eq!(published, None, "{n}");
        }
        assert_eq!(
            target.handle(start + ms(510), Input::Changed),
            Some(PUBLISH)
        );
    }

    #[test]
    fn a_reload_holds_the_next_publish_back_and_loses_nothing() {
        let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, 1));
        target.handle(start, Input::Changed);
        target.handle(start, done(true, true));
        assert_eq!(target.handle(start + ms(1000), Input::Changed), None);
        assert_eq!(target.deadline(), Some(start + ms(2000)));
        assert_eq!(target.handle(start + ms(2000), Input::Tick), Some(PUBLISH));
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later_until_newer_data_comes() {
        let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, 1));
        target.handle(start, Input::Changed);
        let mut now = start;
        let mut delays = Vec::new();
        for _ in 0..5 {
            target.handle(now, done(false, false));
            let at = target.deadline().unwrap();
            delays.push(at - now);
            now = at;
            assert_eq!(target.handle(now, Input::Tick), Some(PUBLISH));
        }
        assert!(delays[0] >= ms(500) && delays[4] >= ms(8000), "{delays:?}");
        target.handle(now, done(false, false));
        assert_eq!(target.handle(now + ms(100), Input::Changed), None);
        assert_eq!(target.deadline(), Some(now + ms(120)));
    }

    #[test]
    fn what_takes_no_reload_is_not_held_back() {
        let (start, mut target) = (Instant::now(), Schedule::new(PACE, true, 1));
        assert_eq!(target.handle(start, Input::Changed), Some(PUBLISH));
        target.handle(start, done(true, true));
        let early = Action::Publish { may_reload: false };
        assert_eq!(target.handle(start + ms(900), Input::Changed), Some(early));
        // It takes a reload after all.
        assert_eq!(target.handle(start + ms(901), Input::Held), None);
        assert_eq!(target.deadline(), Some(start + ms(2000)));
        // Newer data is tried at once again, and may take none.
        assert_eq!(target.handle(start + ms(950), Input::Changed), Some(early));
        assert_eq!(target.handle(start + ms(951), Input::Changed), None);
        target.handle(start + ms(952), Input::Held);
        assert_eq!(target.deadline(), Some(start + ms(971)));
        assert_eq!(target.handle(start + ms(971), Input::Tick), Some(early));
        target.handle(start + ms(972), Input::Held);
        assert_eq!(target.handle(start + ms(2000), Input::Tick), Some(PUBLISH));
        target.handle(start + ms(2001), done(true, false));
        assert_eq!(target.deadline(), None);
    }

    proptest! {
        /// One publish at a time; every change is followed by a publish that began after it; reloads keep their
        /// distance; and nothing waits longer than `max_wait` and `min_interval` allow.
        #[test]
        fn invariants(script in proptest::collection::vec((0u8..4, 0u64..300, any::<bool>(), any::<bool>()), 1..100)) {
            let mut now = Instant::now();
            let mut target = Schedule::new(PACE, false, 7);
            let (mut publishing, mut stale_since, mut reloaded_at) = (false, None::<Instant>, None::<Instant>);
            for (step, pause, good, reloaded) in script {
                let input = match step {
                    0 | 1 => { now += ms(pause); stale_since = stale_since.or(Some(now)); Input::Changed }
                    2 if publishing => {
                        now += ms(pause);
                        publishing = false;
                        if reloaded { reloaded_at = Some(now); }
                        if !good { stale_since = stale_since.or(Some(now)); }
                        done(good, reloaded)
                    }
                    _ => match target.deadline() {
                        Some(at) => { now = now.max(at); Input::Tick }
                        None => continue,
                    },
                };
                if let Some(Action::Publish { .. }) = target.handle(now, input) {
                    prop_assert!(!publishing);
                    prop_assert!(reloaded_at.is_none_or(|at| now >= at + PACE.min_interval));
                    (publishing, stale_since) = (true, None);
                }
                if stale_since.is_some() && !publishing {
                    let at = target.deadline();
                    prop_assert!(at.is_some(), "a change is forgotten");
                }
            }
        }
    }
}
