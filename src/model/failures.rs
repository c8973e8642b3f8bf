//! Failures in a row of one thing that is tried again, so that the log says once that it fails, and once that it works
//! again. Pure.

use std::fmt;
use std::time::{Duration, Instant};

use super::date::length;
use super::report::counted;

/// What has failed since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    times: usize,
    since: Option<Instant>,
}

/// Failures that are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastFailures {
    times: usize,
    lasted: Duration,
}

impl Failures {
    /// Counts a failure; whether it is the first one.
    pub fn count(&mut self, now: Instant) -> bool {
        self.times += 1;
        self.since.get_or_insert(now);
        self.times == 1
    }

    /// How many there have been in a row.
    #[must_use]
    pub fn times(&self) -> usize {
        self.times
    }

    /// It works; what is over by that, if it had failed.
    pub fn end(&mut self, now: Instant) -> Option<PastFailures> {
        let Self { times, since } = std::mem::take(self);
        since.map(|since| PastFailures {
            times,
            lasted: now.saturating_duration_since(since),
        })
    }
}

impl PastFailures {
    /// How long it failed, from the first failure to the success, in milliseconds.
    #[must_use]
    pub fn took_ms(&self) -> u64 {
        u64::try_from(self.lasted.as_millis()).unwrap_or(u64::MAX)
    }
}

/// `after 5 failures, 40 s`
impl fmt::Display for PastFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (times, lasted) = (counted(self.times, "failure"), self.lasted.as_secs());
        write!(f, "after {times}, {}", length(lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_news_and_the_end_of_all_of_them() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut failures = Failures::default();
        assert_eq!(failures.end(at(0)), None);
        let news: Vec<bool> = [1, 2, 11, 41].map(|now| failures.count(at(now))).into();
        assert_eq!(news, [true, false, false, false]);
        let past = failures.end(at(41)).expect("it had failed");
        assert_eq!(past.to_string(), "after 4 failures, 40 s");
        assert_eq!(past.took_ms(), 40_000);
        assert_eq!(failures.end(at(42)), None);
        assert!(failures.count(at(50)));
        let past = failures.end(at(50)).expect("it had failed");
        assert_eq!(past.to_string(), "after 1 failure, 0 s");
        assert!(failures.count(at(100)));
        let past = failures.end(at(100 + 3 * 3600)).expect("it had failed");
        assert_eq!(past.to_string(), "after 1 failure, 3 h");
    }
}
