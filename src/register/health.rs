//! Whether an instance is fit to be announced: thresholds over the outcomes of its checks. Pure.
//!
//! ```text
//!             rise passed in a row              fall failed in a row
//!   Unknown ───────────────────────▶ Healthy ─────────────────────────▶ Unhealthy
//!      │                                ▲        rise passed in a row      │ ▲
//!      │ fall failed in a row           └──────────────────────────────────┘ │
//!      └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rounds of checks follow each other with a pause of one interval in between, counted from the end of a round, so
//! that there is never more than one at a time.

use std::time::{Duration, Instant};

use crate::model::check::Thresholds;
use crate::model::os::ProbeResult;

/// What happens to the health of an instance.
#[derive(Debug)]
pub(super) enum Input {
    /// There is something to check from now on.
    Start,
    /// The answer to [`Action::Probe`].
    Probed(ProbeResult),
    /// The deadline has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Run all checks once.
    Probe,
    /// The instance is healthy now.
    Rise,
    /// It is not, for this reason; it may never have been.
    Fall(String),
}

/// The machine; see the module's diagram.
#[derive(Debug)]
pub(super) struct Health {
    thresholds: Thresholds,
    /// A round that has not ended within this time has failed.
    limit: Duration,
    verdict: Verdict,
    row: Row,
    round: Round,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Healthy,
    Unhealthy,
}

/// How the last rounds ended, and how many of them did so.
#[derive(Debug)]
enum Row {
    Passed(u32),
    Failed(u32),
}

#[derive(Debug)]
enum Round {
    NotYet,
    /// Until then at the latest.
    UnderWay(Instant),
    Next(Instant),
}

impl Health {
    /// Nothing is known yet.
    pub(super) fn new(thresholds: Thresholds, limit: Duration) -> Self {
        Self {
            thresholds,
            limit,
            verdict: Verdict::Unknown,
            row: Row::Failed(0),
            round: Round::NotYet,
        }
    }

    /// The checks go elsewhere from now on: the verdict stands, what they counted against it is void, and they begin
    /// with the next [`Input::Start`].
    pub(super) fn forget_failures(&mut self) {
        self.row = Row::Failed(0);
        self.round = Round::NotYet;
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.round {
            Round::NotYet => None,
            Round::UnderWay(until) => Some(until),
            Round::Next(at) => Some(at),
        }
    }

    /// The transition.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Option<Action> {
        match (&self.round, input) {
            (Round::NotYet, Input::Start) => Some(self.probe(now)),
            (Round::Next(at), Input::Tick) if now >= *at => Some(self.probe(now)),
            (Round::UnderWay(_), Input::Probed(result)) => self.probed(now, result),
            (Round::UnderWay(until), Input::Tick) if now >= *until => {
                let why = format!("the checks have not ended within {:?}", self.limit);
                self.probed(now, ProbeResult::Failed(why))
            }
            // A stray answer, or a tick that was meant for somebody else.
            (Round::NotYet, Input::Probed(_) | Input::Tick) => None,
            (Round::Next(_), Input::Start | Input::Probed(_) | Input::Tick) => None,
            (Round::UnderWay(_), Input::Start | Input::Tick) => None,
        }
    }

    fn probe(&mut self, now: Instant) -> Action {
        self.round = Round::UnderWay(now + self.limit);
        Action::Probe
    }

    fn probed(&mut self, now: Instant, result: ProbeResult) -> Option<Action> {
        self.round = Round::Next(now + self.thresholds.interval);
        self.count(&result);
        self.judge(result)
    }

    fn count(&mut self, result: &ProbeResult) {
        self.row = match (result, &self.row) {
            (ProbeResult::Passed, Row::Passed(n)) => Row::Passed(n.saturating_add(1)),
            (ProbeResult::Passed, Row::Failed(_)) => Row::Passed(1),
            (ProbeResult::Failed(_), Row::Failed(n)) => Row::Failed(n.saturating_add(1)),
            (ProbeResult::Failed(_), Row::Passed(_)) => Row::Failed(1),
        };
    }

    fn judge(&mut self, result: ProbeResult) -> Option<Action> {
        let Thresholds { rise, fall, .. } = self.thresholds;
        match (&self.row, self.verdict, result) {
            (Row::Passed(n), Verdict::Unknown | Verdict::Unhealthy, _) if *n >= rise => {
                self.verdict = Verdict::Healthy;
                Some(Action::Rise)
            }
            (Row::Failed(n), Verdict::Unknown | Verdict::Healthy, ProbeResult::Failed(why))
                if *n >= fall =>
            {
                self.verdict = Verdict::Unhealthy;
                Some(Action::Fall(why))
            }
            (Row::Passed(_) | Row::Failed(_), _, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);
    const LIMIT: Duration = Duration::from_secs(30);

    fn machine(rise: u32, fall: u32) -> Health {
        let thresholds = Thresholds {
            interval: INTERVAL,
            rise,
            fall,
        };
        Health::new(thresholds, LIMIT)
    }

    fn result(passed: bool) -> ProbeResult {
        if passed {
            ProbeResult::Passed
        } else {
            ProbeResult::Failed("why".to_owned())
        }
    }

    /// Feeds a machine with outcomes, `+` and `-`; the answer has `U` and `D` where it rose and fell, else a dot.
    fn play(rise: u32, fall: u32, outcomes: &str) -> String {
        let mut now = Instant::now();
        let mut health = machine(rise, fall);
        let mut action = health.handle(now, Input::Start);
        let mut said = String::new();
        for outcome in outcomes.chars() {
            assert_eq!(action, Some(Action::Probe));
            assert_eq!(health.deadline(), Some(now + LIMIT), "one round at a time");
            assert_eq!(health.handle(now, Input::Tick), None, "it has its time");
            let verdict = health.handle(now, Input::Probed(result(outcome == '+')));
            said.push(match verdict {
                None => '.',
                Some(Action::Rise) => 'U',
                Some(Action::Fall(_)) => 'D',
                Some(Action::Probe) => panic!("no pause"),
            });
            assert_eq!(health.deadline(), Some(now + INTERVAL));
            assert_eq!(health.handle(now, Input::Tick), None, "too early");
            now += INTERVAL;
            action = health.handle(now, Input::Tick);
        }
        said
    }

    #[test]
    fn transitions() {
        for (rise, fall, outcomes, want) in [
            (2, 3, "++", ".U"),
            (2, 3, "+-+-+", "....."),
            (2, 3, "-++", "..U"),
            (2, 3, "---", "..D"),
            (2, 3, "-----++", "..D...U"),
            (2, 3, "++--+--+---", ".U........D"),
            (2, 3, "++---+-++", ".U..D...U"),
            (2, 3, "++++", ".U.."),
            (1, 1, "+-+--+", "UDUD.U"),
            (3, 1, "+++-+++", "..UD..U"),
        ] {
            assert_eq!(play(rise, fall, outcomes), want, "{rise} {fall} {outcomes}");
        }
    }

    #[test]
    fn a_round_that_never_ends_has_failed_and_another_one_follows() {
        let start = Instant::now();
        let mut health = machine(1, 1);
        health.handle(start, Input::Start);
        let fall = health.handle(start + LIMIT, Input::Tick);
        assert!(matches!(fall, Some(Action::Fall(why)) if why.contains("not ended")));
        let next = health.deadline().unwrap();
        assert_eq!(next, start + LIMIT + INTERVAL);
        assert_eq!(health.handle(next, Input::Tick), Some(Action::Probe));
    }

    #[test]
    fn nothing_is_checked_before_the_start() {
        let now = Instant::now();
        let mut health = machine(1, 1);
        assert_eq!(health.deadline(), None);
        assert_eq!(health.handle(now, Input::Tick), None);
        assert_eq!(health.handle(now, Input::Probed(result(true))), None);
        assert_eq!(health.handle(now, Input::Start), Some(Action::Probe));
    }

    #[test]
    fn the_reason_is_that_of_the_last_failure() {
        let now = Instant::now();
        let mut health = machine(1, 1);
        health.handle(now, Input::Start);
        let fall = health.handle(now, Input::Probed(ProbeResult::Failed("no".to_owned())));
        assert_eq!(fall, Some(Action::Fall("no".to_owned())));
    }

    proptest! {
        /// Rise and fall come in turn, and each is earned by the outcomes just before it.
        #[test]
        fn a_verdict_is_earned(rise in 1u32..5, fall in 1u32..5, outcomes in "[+-]{0,60}") {
            let said = play(rise, fall, &outcomes);
            let (rise, fall) = (rise as usize, fall as usize);
            let mut last = '.';
            for (at, verdict) in said.char_indices() {
                let row = |sign, n| at + 1 >= n && outcomes[at + 1 - n..=at].chars().all(|c| c == sign);
                match verdict {
                    'U' => prop_assert!(row('+', rise)),
                    'D' => prop_assert!(row('-', fall)),
                    _ => prop_assert!(
                        (last == 'U' || !row('+', rise)) && (last == 'D' || !row('-', fall)),
                        "{outcomes} {said}: nothing at {at}"
                    ),
                }
                if verdict != '.' {
                    prop_assert_ne!(verdict, last);
                    last = verdict;
                }
            }
        }
    }
}
