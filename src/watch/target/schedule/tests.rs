//! Publishes in virtual time.

use proptest::prelude::*;

use super::*;

const PACE: Pace = Pace {
    settle: Duration::from_millis(20),
    max_wait: Duration::from_millis(500),
    min_interval: Duration::from_secs(2),
};

const PUBLISH: Action = Action::Publish {
    may_reload: true,
    may_repeat: true,
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How long a publish may take.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// None is told of before that.
const LIMITS: Limits = Limits {
    usual: LIMIT,
    end: LIMIT,
};

fn done(good: bool, reloaded: bool) -> Outcome {
    if good {
        Outcome::Good { reloaded }
    } else {
        Outcome::Failed { reloaded }
    }
}

impl Schedule {
    /// The publish that was ordered last ends.
    fn end(&mut self, now: Instant, outcome: Outcome) -> Option<Action> {
        self.handle(now, Input::Ended(self.number(), outcome))
    }
}

const REFUSAL: Outcome = Outcome::Refused { reloaded: true };

/// Not what was refused.
const OTHER: Action = Action::Publish {
    may_reload: true,
    may_repeat: false,
};

#[test]
fn the_first_change_goes_out_at_once_and_what_follows_is_gathered() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    assert_eq!(target.handle(start, Input::Changed), Some(PUBLISH));
    assert_eq!(target.handle(start + ms(5), Input::Changed), None);
    assert_eq!(target.end(start + ms(6), done(true, false)), None);
    assert_eq!(target.deadline(), Some(start + ms(25)));
    assert_eq!(target.handle(start + ms(15), Input::Changed), None);
    assert_eq!(target.deadline(), Some(start + ms(35)));
    assert_eq!(target.handle(start + ms(35), Input::Tick), Some(PUBLISH));
}

#[test]
fn gathering_ends_even_if_it_never_gets_quiet() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    target.end(start, done(true, false));
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
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    target.end(start, done(true, true));
    assert_eq!(target.handle(start + ms(1000), Input::Changed), None);
    assert_eq!(target.deadline(), Some(start + ms(2000)));
    assert_eq!(target.handle(start + ms(2000), Input::Tick), Some(PUBLISH));
}

#[test]
fn a_failure_is_tried_again_later_and_later_until_newer_data_comes() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    let mut now = start;
    let mut delays = Vec::new();
    for _ in 0..5 {
        target.end(now, done(false, false));
        let at = target.deadline().unwrap();
        delays.push(at - now);
        now = at;
        assert_eq!(target.handle(now, Input::Tick), Some(PUBLISH));
    }
    assert!(delays[0] >= ms(500) && delays[4] >= ms(8000), "{delays:?}");
    target.end(now, done(false, false));
    assert_eq!(target.handle(now + ms(100), Input::Changed), None);
    assert_eq!(target.deadline(), Some(now + ms(120)));
}

#[test]
fn what_takes_no_reload_is_not_held_back() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, true, LIMITS, 1));
    assert_eq!(target.handle(start, Input::Changed), Some(PUBLISH));
    target.end(start, done(true, true));
    let early = Action::Publish {
        may_reload: false,
        may_repeat: true,
    };
    assert_eq!(target.handle(start + ms(900), Input::Changed), Some(early));
    // It takes a reload after all.
    assert_eq!(target.end(start + ms(901), Outcome::ReloadOwed), None);
    assert_eq!(target.deadline(), Some(start + ms(2000)));
    // Newer data is tried at once again, and may take none.
    assert_eq!(target.handle(start + ms(950), Input::Changed), Some(early));
    assert_eq!(target.handle(start + ms(951), Input::Changed), None);
    target.end(start + ms(952), Outcome::ReloadOwed);
    assert_eq!(target.deadline(), Some(start + ms(971)));
    assert_eq!(target.handle(start + ms(971), Input::Tick), Some(early));
    target.end(start + ms(972), Outcome::ReloadOwed);
    assert_eq!(target.handle(start + ms(2000), Input::Tick), Some(PUBLISH));
    target.end(start + ms(2001), done(true, false));
    assert_eq!(target.deadline(), None);
}

#[test]
fn what_was_refused_is_tried_again_after_ten_seconds_and_more() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    let mut now = start;
    let mut delays = Vec::new();
    for _ in 0..7 {
        target.end(now, REFUSAL);
        let at = target.deadline().unwrap();
        delays.push((at - now).as_secs());
        now = at;
        assert_eq!(target.handle(now, Input::Tick), Some(PUBLISH));
    }
    let bounds = [10..=20, 20..=40, 40..=80, 80..=160, 150..=300, 150..=300];
    let within = |(delay, bounds): (&u64, &std::ops::RangeInclusive<u64>)| bounds.contains(delay);
    assert!(delays.iter().zip(&bounds).all(within), "{delays:?}");
    // What follows a good reload starts anew.
    target.end(now, done(true, true));
    now += ms(5000);
    assert_eq!(target.handle(now, Input::Changed), Some(PUBLISH));
    target.end(now, REFUSAL);
    assert!(target.deadline().unwrap() <= now + ms(20_000));
}

#[test]
fn newer_data_follow_a_refusal_after_the_pause_that_grows_with_each() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    let mut now = start;
    for seconds in [2, 4, 8, 16, 32, 32] {
        target.end(now, REFUSAL);
        let again = target.deadline().unwrap();
        assert_eq!(target.handle(now + ms(100), Input::Changed), None);
        let at = target.deadline().unwrap();
        assert_eq!(at - now, ms(1000 * seconds));
        // Whether it is newer data is seen by what is rendered.
        let may_repeat = at >= again;
        let may_reload = true;
        let publish = Action::Publish {
            may_reload,
            may_repeat,
        };
        assert_eq!(target.handle(at, Input::Tick), Some(publish));
        now = at;
    }
}

#[test]
fn the_same_again_does_not_bring_a_retry_forward() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    target.end(start, REFUSAL);
    let again = target.deadline().unwrap();
    for seconds in [3, 6, 9] {
        let now = start + ms(1000 * seconds);
        assert_eq!(target.handle(now, Input::Changed), None);
        assert_eq!(target.handle(now + ms(20), Input::Tick), Some(OTHER));
        assert_eq!(target.end(now + ms(20), Outcome::RefusedBefore), None);
        assert_eq!(target.deadline(), Some(again));
    }
    // Back to what is in force, and to what was refused: that shows nothing new of the program.
    let now = start + ms(9500);
    target.handle(now, Input::Changed);
    assert_eq!(target.handle(now + ms(20), Input::Tick), Some(OTHER));
    target.end(now + ms(20), done(true, false));
    assert_eq!(target.deadline(), None);
    assert_eq!(target.handle(now + ms(100), Input::Changed), Some(OTHER));
    target.end(now + ms(100), Outcome::RefusedBefore);
    assert_eq!(target.handle(again, Input::Tick), Some(PUBLISH));
}

#[test]
fn somebody_who_asks_for_it_is_not_put_off() {
    let (start, mut target) = (Instant::now(), Schedule::new(PACE, false, LIMITS, 1));
    target.handle(start, Input::Changed);
    for _ in 0..3 {
        target.end(start, REFUSAL);
        let at = target.deadline().unwrap();
        assert_eq!(target.handle(at, Input::Tick), Some(PUBLISH));
    }
    target.end(start, REFUSAL);
    let mut target = target.renewed();
    target.handle(start + ms(100), Input::Changed);
    assert_eq!(target.handle(start + ms(2000), Input::Tick), Some(PUBLISH));
}

/// A target whose first publish has changed what runs and waits for its check.
fn live(start: Instant) -> Schedule {
    let mut target = Schedule::new(PACE, true, LIMITS, 1);
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
    assert_eq!(target.deadline(), Some(start + LIMIT));
    assert_eq!(target.end(start + ms(402), Outcome::Overtaken), None);
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
    target.end(start + ms(99), done(true, false));
    assert_eq!(target.handle(start + ms(115), Input::Tick), Some(PUBLISH));
    assert_eq!(target.end(start + ms(116), done(true, false)), None);
    assert_eq!(target.deadline(), None);
}

#[test]
fn what_takes_a_reload_is_not_overtaken() {
    let start = Instant::now();
    let mut target = Schedule::new(PACE, false, LIMITS, 1);
    target.handle(start, Input::Changed);
    assert_eq!(target.handle(start + ms(400), Input::Changed), None);
    assert_eq!(target.deadline(), Some(start + LIMIT));
}

/// What a publish takes at most if nothing is wrong.
const USUAL: Duration = Duration::from_secs(2 * 60);

#[test]
fn a_publish_that_takes_long_is_told_of_once_and_goes_on() {
    let start = Instant::now();
    let limits = Limits {
        usual: USUAL,
        end: LIMIT,
    };
    for is_live in [false, true] {
        let mut target = Schedule::new(PACE, is_live, limits, 1);
        target.handle(start, Input::Changed);
        assert_eq!(target.deadline(), Some(start + USUAL));
        let before = start + USUAL / 2;
        assert_eq!(target.handle(before, Input::Tick), None);
        let told = target.handle(start + USUAL, Input::Tick);
        assert_eq!(told, Some(Action::WarnSlow));
        assert_eq!(target.deadline(), Some(start + LIMIT), "once");
        assert_eq!(target.handle(start + USUAL + ms(1), Input::Tick), None);
        assert_eq!(target.end(start + USUAL + ms(2), done(true, true)), None);
        assert_eq!(target.deadline(), None);
        // The next one is told of again.
        let next = start + LIMIT;
        assert_eq!(target.handle(next, Input::Changed), Some(PUBLISH));
        assert_eq!(target.deadline(), Some(next + USUAL));
        let told = target.handle(next + USUAL, Input::Tick);
        assert_eq!(told, Some(Action::WarnSlow));
        let given_up = target.handle(next + LIMIT, Input::Tick);
        assert_eq!(given_up, Some(Action::Abandon));
    }
}

#[test]
fn a_publish_that_never_answers_has_failed_and_another_one_follows() {
    let start = Instant::now();
    let mut target = Schedule::new(PACE, false, LIMITS, 1);
    assert_eq!(target.handle(start, Input::Changed), Some(PUBLISH));
    let hangs = target.number();
    let mut now = start;
    let mut delays = Vec::new();
    for _ in 0..4 {
        // Newer data do not bring the next one forward.
        assert_eq!(target.handle(now + ms(1000), Input::Changed), None);
        assert_eq!(target.deadline(), Some(now + LIMIT));
        now += LIMIT;
        assert_eq!(target.handle(now, Input::Tick), Some(Action::Abandon));
        let next = target.deadline().unwrap();
        delays.push(next - now);
        now = next;
        assert_eq!(target.handle(now, Input::Tick), Some(PUBLISH));
        // Whatever the first one says now, the one under way is another.
        for late in [
            done(true, true),
            REFUSAL,
            Outcome::ReloadOwed,
            Outcome::Overtaken,
        ] {
            assert_eq!(target.handle(now, Input::Ended(hangs, late)), None);
            assert_eq!(target.deadline(), Some(now + LIMIT), "{late:?}");
        }
    }
    assert!(delays[0] >= ms(500) && delays[3] >= ms(4000), "{delays:?}");
    target.end(now, done(true, false));
    assert_eq!(target.deadline(), None);
}

#[test]
fn an_answer_that_comes_between_two_publishes_does_not_count() {
    let start = Instant::now();
    let mut target = Schedule::new(PACE, false, LIMITS, 1);
    target.handle(start, Input::Changed);
    let late = start + LIMIT;
    assert_eq!(target.handle(late, Input::Tick), Some(Action::Abandon));
    let again = target.deadline();
    for answer in [
        done(true, true),
        REFUSAL,
        Outcome::ReloadOwed,
        Outcome::Overtaken,
    ] {
        assert_eq!(target.end(late, answer), None);
        assert_eq!(target.deadline(), again, "{answer:?}");
    }
    // Nor does it when everything may be tried anew.
    let mut target = target.renewed();
    assert_eq!(target.handle(late, Input::Changed), Some(PUBLISH));
    assert_eq!(
        target.handle(late, Input::Ended(1, done(true, false))),
        None
    );
    assert_eq!(target.deadline(), Some(late + LIMIT));
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
                self.end(now, Outcome::Overtaken);
            }
            Some(Action::Abandon | Action::WarnSlow) => panic!("it is not that slow"),
            None => {}
        }
    }

    fn end(&mut self, now: Instant, outcome: Outcome) {
        self.give(now, Input::Ended(self.target.number(), outcome));
    }

    fn next(&self) -> Option<Instant> {
        self.ends.into_iter().chain(self.target.deadline()).min()
    }

    fn go_on(&mut self, now: Instant) {
        if self.ends == Some(now) {
            (self.ends, self.behind_since) = (None, None);
            self.end(now, done(true, false));
        } else {
            self.give(now, Input::Tick);
        }
    }
}

proptest! {
    /// However the changes come, the file is never behind for longer than a bound and a check.
    #[test]
    fn a_check_has_its_time(check in 1u64..5000, pauses in proptest::collection::vec(1u64..400, 400)) {
        let start = Instant::now();
        let target = Schedule::new(PACE, true, LIMITS, 1);
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
    /// distance; what was refused is not tried again within ten seconds; and nothing waits longer than `max_wait` and
    /// `min_interval` allow. All that also where publishes never answer, or too late: one is given up at its limit and not
    /// before, its late answer changes nothing, and when publishes answer again, all is published.
    #[test]
    fn invariants(script in proptest::collection::vec((0u8..7, 0u64..300, any::<bool>(), any::<bool>()), 1..100)) {
        let mut bench = Bench::new();
        for (step, pause, good, reloaded) in script {
            match step {
                0 | 1 => {
                    bench.now += ms(pause);
                    bench.stale_since = bench.stale_since.or(Some(bench.now));
                    bench.give(Input::Changed);
                }
                2 | 3 => {
                    bench.now += ms(pause);
                    bench.answer(good, reloaded);
                }
                4 => bench.hangs |= bench.publishing.is_some(),
                5 => bench.answer_late(good, reloaded),
                _ => bench.tick(),
            }
            if bench.stale_since.is_some() && bench.publishing.is_none() {
                prop_assert!(bench.target.deadline().is_some(), "a change is forgotten");
            }
        }
        for _ in 0..10 {
            if bench.hangs || bench.publishing.is_none() {
                bench.tick();
            } else {
                bench.answer(true, false);
            }
        }
        prop_assert_eq!((bench.publishing, bench.stale_since), (None, None));
        prop_assert_eq!(bench.target.deadline(), None);
    }
}

/// A target, and what its publishes do, or do not.
struct Bench {
    now: Instant,
    target: Schedule,
    /// The number of the publish under way, and when it began.
    publishing: Option<(u64, Instant)>,
    /// It will never answer in time.
    hangs: bool,
    /// It has been told that it takes long.
    is_told: bool,
    /// Those that were given up.
    given_up: Vec<u64>,
    stale_since: Option<Instant>,
    reloaded_at: Option<Instant>,
    refused_at: Option<Instant>,
}

impl Bench {
    fn new() -> Self {
        let limits = Limits {
            usual: USUAL,
            end: LIMIT,
        };
        Self {
            now: Instant::now(),
            target: Schedule::new(PACE, false, limits, 7),
            is_told: false,
            publishing: None,
            hangs: false,
            given_up: Vec::new(),
            stale_since: None,
            reloaded_at: None,
            refused_at: None,
        }
    }

    /// Hands an input over and looks at what comes of it.
    fn give(&mut self, input: Input) {
        let now = self.now;
        match self.target.handle(now, input) {
            Some(Action::Publish { may_repeat, .. }) => {
                assert_eq!(self.publishing, None, "two at a time");
                let is_over = |at: Option<Instant>, pause| at.is_none_or(|at| now >= at + pause);
                assert!(!may_repeat || is_over(self.refused_at, ms(10_000)));
                assert!(is_over(self.reloaded_at, PACE.min_interval));
                assert!(!self.given_up.contains(&self.target.number()));
                self.publishing = Some((self.target.number(), now));
                (self.hangs, self.stale_since) = (false, None);
                self.is_told = false;
            }
            Some(Action::Abandon) => {
                let (number, since) = self.publishing.take().expect("there is one");
                assert!(now >= since + LIMIT, "it has its time");
                self.given_up.push(number);
                self.stale_since = self.stale_since.or(Some(now));
            }
            Some(Action::WarnSlow) => {
                let (_, since) = self.publishing.expect("there is one");
                assert!(
                    now >= since + USUAL && !self.is_told,
                    "once, and late enough"
                );
                self.is_told = true;
            }
            Some(Action::Overtake) => panic!("it takes a reload"),
            None => {}
        }
    }

    fn tick(&mut self) {
        if let Some(at) = self.target.deadline() {
            self.now = self.now.max(at);
            self.give(Input::Tick);
        }
    }

    fn answer(&mut self, good: bool, reloaded: bool) {
        if self.hangs {
            return;
        }
        let Some((number, _)) = self.publishing.take() else {
            return;
        };
        let answer = if !good && reloaded {
            REFUSAL
        } else {
            done(good, reloaded)
        };
        if reloaded {
            self.reloaded_at = Some(self.now);
            self.refused_at = (!good).then_some(self.now);
        }
        if !good {
            self.stale_since = self.stale_since.or(Some(self.now));
        }
        self.give(Input::Ended(number, answer));
    }

    /// A publish that was given up answers after all.
    fn answer_late(&mut self, good: bool, reloaded: bool) {
        let Some(number) = self.given_up.pop() else {
            return;
        };
        let answers = [
            done(good, reloaded),
            REFUSAL,
            Outcome::ReloadOwed,
            Outcome::RefusedBefore,
        ];
        let before = (self.publishing, self.target.deadline());
        for answer in answers.into_iter().chain([Outcome::Overtaken]) {
            self.give(Input::Ended(number, answer));
            // Only what was due anyway has happened.
            if before.1.is_none_or(|at| self.now < at) {
                assert_eq!(
                    (self.publishing, self.target.deadline()),
                    before,
                    "{answer:?}"
                );
            }
        }
    }
}
