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

    /// A target whose first publish has changed what runs and waits for its check.
    fn live(start: Instant) -> Schedule {
        let mut target = Schedule::new(PACE, true, 1);
        assert_eq!(target.handle(start, Input::Changed), Some(PUBLISH));
        target
    }

    #[test]
    fn newer_data_overtake_a_long_check() {
        let start = Instant::now();
        let mut target = live(start);
        assert_eq!(
            target.handle(start + ms(400), Input::Changed),
            Some(Action::Overtake)
        );
        assert_eq!(
            target.handle(start + ms(401), Input::Changed),
            None,
            "it has been asked"
        );
        assert_eq!(target.deadline(), None);
        assert_eq!(target.handle(start + ms(402), Input::Overtaken), None);
        assert_eq!(target.handle(start + ms(421), Input::Tick), Some(PUBLISH));
    }

    #[test]
    fn newer_data_wait_for_a_short_check_and_for_each_other() {
        let start = Instant::now();
        let mut target = live(start);
        assert_eq!(target.handle(start + ms(30), Input::Changed), None);
        assert_eq!(target.deadline(), Some(start + SHORT));
        assert_eq!(target.handle(start + ms(95), Input::Changed), None);
        assert_eq!(target.deadline(), Some(start + ms(115)));
        target.handle(start + ms(99), done(true, false));
        assert_eq!(target.handle(start + ms(115), Input::Tick), Some(PUBLISH));
        assert_eq!(target.handle(start + ms(116), done(true, false)), None);
        assert_eq!(target.deadline(), None);
    }

    #[test]
    fn what_takes_a_reload_is_not_overtaken() {
        let start = Instant::now();
        let mut target = Schedule::new(PACE, false, 1);
        target.handle(start, Input::Changed);
        assert_eq!(target.handle(start + ms(400), Input::Changed), None);
        assert_eq!(target.deadline(), None);
    }

    /// A target whose checks take so long, and how it stands with its file.
    struct Slow {
        target: Schedule,
        check: Duration,
        /// When the check that is under way ends.
        ends: Option<Instant>,
        behind_since: Option<Instant>,
    }

    impl Slow {
        fn give(&mut self, now: Instant, input: Input) {
            match self.target.handle(now, input) {
                Some(Action::Publish { .. }) => {
                    assert_eq!(self.ends, None, "two at a time");
                    self.ends = Some(now + self.check);
                    self.behind_since = self.behind_since.or(self.ends);
                }
                Some(Action::Overtake) => {
                    self.ends = None;
                    self.give(now, Input::Overtaken);
                }
                None => {}
            }
        }

        fn next(&self) -> Option<Instant> {
            self.ends.into_iter().chain(self.target.deadline()).min()
        }

        fn go_on(&mut self, now: Instant) {
            if self.ends == Some(now) {
                (self.ends, self.behind_since) = (None, None);
                self.give(now, done(true, false));
            } else {
                self.give(now, Input::Tick);
            }
        }
    }

    proptest! {
        /// However the changes come, the file is never behind for longer than a bound and a check, and a change that
        /// finds a check under way does not wait for its end before that.
        #[test]
        fn a_check_has_its_time(check in 1u64..5000, pauses in proptest::collection::vec(1u64..400, 400)) {
            let start = Instant::now();
            let target = Schedule::new(PACE, true, 1);
            let mut slow = Slow { target, check: ms(check), ends: None, behind_since: None };
            let mut now = start;
            for pause in pauses {
                slow.give(now, Input::Changed);
                now += ms(pause);
                while let Some(at) = slow.next().filter(|at| *at <= now) {
                    slow.go_on(at);
                    // From the end of what would have been the first check on.
                    let late = slow.behind_since.map(|since| at.saturating_duration_since(since));
                    prop_assert!(late.is_none_or(|late| late <= UNCHECKED), "{late:?}");
                }
            }
            while let Some(at) = slow.next() {
                slow.go_on(at);
            }
            prop_assert_eq!(slow.behind_since, None);
        }

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
