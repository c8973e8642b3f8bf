//! Measures how long changes of the store take until they are in force. Pure.
//!
//! The clock of a target runs from the first change that is not in force yet to the end of the publish that puts it in force.
//! A change that comes during a publish belongs to the next one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The clocks of all targets, by name.
#[derive(Debug, Default)]
pub(super) struct ChangeClocks(BTreeMap<String, Clock>);

#[derive(Debug, Default)]
struct Clock {
    /// The time of the first change that waits for a publish.
    waiting: Option<Instant>,
    /// The time of the first change in the publish that is under way.
    publishing: Option<Instant>,
}

impl ChangeClocks {
    /// Keys that this target follows have changed.
    pub(super) fn changed(&mut self, target: &str, now: Instant) {
        if let Some(clock) = self.0.get_mut(target) {
            clock.waiting.get_or_insert(now);
        } else {
            let waiting = Some(now);
            let clock = Clock {
                waiting,
                publishing: None,
            };
            self.0.insert(target.to_owned(), clock);
        }
    }

    /// A publish begins, with all changes so far.
    pub(super) fn publish_started(&mut self, target: &str) {
        if let Some(clock) = self.0.get_mut(target) {
            let waiting = clock.waiting.take();
            clock.publishing = clock.publishing.or(waiting);
        }
    }

    /// A publish has ended. If it has put its changes in force, this returns the time since the first of them; otherwise they
    /// wait for the next publish.
    pub(super) fn publish_ended(
        &mut self,
        target: &str,
        now: Instant,
        is_in_force: bool,
    ) -> Option<Duration> {
        let clock = self.0.get_mut(target)?;
        let since = clock.publishing.take()?;
        if is_in_force {
            return Some(now.saturating_duration_since(since));
        }
        clock.waiting = Some(since);
        None
    }

    /// Drops the clocks of targets that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|target, _| is_there(target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_change_counts_from_its_arrival_until_it_is_in_force() {
        let (mut clocks, start) = (ChangeClocks::default(), Instant::now());
        clocks.changed("a", start);
        clocks.changed("a", at(start, 1));
        clocks.publish_started("a");
        // This change belongs to the next publish.
        clocks.changed("a", at(start, 3));
        let took = clocks.publish_ended("a", at(start, 4), true);
        assert_eq!(took, Some(Duration::from_secs(4)));
        clocks.publish_started("a");
        let took = clocks.publish_ended("a", at(start, 5), true);
        assert_eq!(took, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_publish_that_fails_lets_its_changes_wait() {
        let (mut clocks, start) = (ChangeClocks::default(), Instant::now());
        clocks.changed("a", start);
        for seconds in [1, 2] {
            clocks.publish_started("a");
            clocks.changed("a", at(start, seconds));
            assert_eq!(clocks.publish_ended("a", at(start, seconds), false), None);
        }
        clocks.publish_started("a");
        let took = clocks.publish_ended("a", at(start, 9), true);
        assert_eq!(took, Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_publish_without_a_change_of_the_store_has_no_time() {
        let (mut clocks, start) = (ChangeClocks::default(), Instant::now());
        clocks.publish_started("a");
        assert_eq!(clocks.publish_ended("a", start, true), None);
        clocks.changed("a", start);
        clocks.retain(|target| target != "a");
        clocks.publish_started("a");
        assert_eq!(clocks.publish_ended("a", at(start, 1), true), None);
    }
}
