//! How long a publish of a target may take: until the log tells of it, and until nobody waits for it any more. Pure.

use std::time::Duration;

use super::schedule::Limits;

/// What the parts of a publish that have no time-out of their own usually take at most: rendering, disks.
const USUAL_REST: Duration = Duration::from_secs(10);
/// What they may take, many changes of HAProxies included.
const REST: Duration = Duration::from_secs(5 * 60);
/// The clock cannot count to any time-out that somebody may give.
const LONGEST: Duration = Duration::from_secs(24 * 365 * 60 * 60);

/// The time-outs of all that a publish of a target waits for.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// The checks, one for each file that has one.
    pub(super) checks: Vec<Duration>,
    /// The talks with HAProxies, one for each file that has such.
    pub(super) talks: Vec<Duration>,
    /// The slowest reload that a publish may wait for: its own, or an equal one of another target.
    pub(super) reload: Duration,
    /// Whether the target has a program that is told of new files.
    pub(super) has_reload: bool,
}

impl Timeouts {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            usual: self.usual(),
            end: self.end(),
        }
    }

    /// Longer than one check of each file, one talk with each HAProxy and one reload, each as long as its time-out allows.
    fn usual(&self) -> Duration {
        let reload = self.has_reload.then_some(self.reload);
        let waits = self.checks.iter().chain(&self.talks).chain(&reload);
        waits
            .fold(USUAL_REST, |sum, wait| sum.saturating_add(*wait))
            .min(LONGEST)
    }

    /// Longer than all that a publish waits for, each taken at its worst.
    fn end(&self) -> Duration {
        // A file is judged before the swap, or in its place.
        let checks = self.checks.iter().map(|check| check.saturating_mul(2));
        // HAProxies are changed, looked at and changed back.
        let talks = self.talks.iter().map(|talk| talk.saturating_mul(8));
        // The new files are put in force, then those of before, then HAProxies that have changed. Each time an equal reload
        // of another target may be under way, the program is told, and has to say what it runs.
        let waits = checks.chain(talks).chain([self.reload.saturating_mul(12)]);
        waits.fold(REST, Duration::saturating_add).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_longer_than_what_a_publish_waits_for() {
        let secs = |of: &[u64]| of.iter().copied().map(Duration::from_secs).collect();
        for (checks, talks, reload, has_reload, usual, end) in [
            (&[][..], &[][..], 60, false, 10, 300 + 12 * 60),
            (&[7], &[], 60, false, 10 + 7, 300 + 2 * 7 + 12 * 60),
            (&[7, 7], &[3], 60, false, 10 + 17, 300 + 28 + 24 + 720),
            (&[], &[], 20, true, 10 + 20, 300 + 12 * 20),
            (&[7], &[3], 20, true, 10 + 30, 300 + 14 + 24 + 240),
        ] {
            let timeouts = Timeouts {
                checks: secs(checks),
                talks: secs(talks),
                reload: Duration::from_secs(reload),
                has_reload,
            };
            let limits = timeouts.limits();
            assert_eq!(limits.usual.as_secs(), usual, "{timeouts:?}");
            assert_eq!(limits.end.as_secs(), end, "{timeouts:?}");
            assert!(limits.usual < limits.end);
        }
    }

    #[test]
    fn the_clock_can_count_to_them() {
        let timeouts = Timeouts {
            reload: Duration::MAX,
            has_reload: true,
            ..Timeouts::default()
        };
        let Limits { usual, end } = timeouts.limits();
        assert_eq!((usual, end), (LONGEST, LONGEST));
    }
}
