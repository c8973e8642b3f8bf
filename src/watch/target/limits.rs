//! How long a publish of a target may take until the log warns, and until it is given up. Pure.

use std::time::Duration;

use super::schedule::Limits;

/// How long the parts of a publish without a time-out of their own (rendering, disks) usually take at most.
const USUAL_REST: Duration = Duration::from_secs(10);
/// How long those parts may take before the publish is given up, with many changes of HAProxies.
const REST: Duration = Duration::from_secs(5 * 60);
/// The longest limit. Somebody may give a time-out that [`std::time::Instant`] cannot hold.
const LONGEST: Duration = Duration::from_secs(24 * 365 * 60 * 60);

/// The time-outs of everything that a publish of a target waits for.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// The time-out of each check, one for each file that has one.
    pub(super) checks: Vec<Duration>,
    /// The time-out of an exchange with HAProxies, one for each file that has a socket.
    pub(super) talks: Vec<Duration>,
    /// The slowest reload that a publish may wait for: its own, or an equal one of another target.
    pub(super) reload: Duration,
    /// Whether the target has a program to reload.
    pub(super) has_reload: bool,
}

impl Timeouts {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            usual: self.usual(),
            end: self.end(),
        }
    }

    /// The sum of one check of each file, one exchange with each HAProxy and one reload, each with its whole time-out, and
    /// the usual rest.
    fn usual(&self) -> Duration {
        let reload = self.has_reload.then_some(self.reload);
        let waits = self.checks.iter().chain(&self.talks).chain(&reload);
        waits
            .fold(USUAL_REST, |sum, wait| sum.saturating_add(*wait))
            .min(LONGEST)
    }

    /// The sum of all that a publish can wait for in the worst case.
    fn end(&self) -> Duration {
        // A file is checked before the swap, and perhaps once more in its place.
        let checks = self.checks.iter().map(|check| check.saturating_mul(2));
        // HAProxies are changed, read back, and changed back.
        let talks = self.talks.iter().map(|talk| talk.saturating_mul(8));
        // The program is reloaded for the new files, for the restored ones, and for HAProxies that cannot be changed back.
        // Each time the publish may wait for an equal reload of another target, for its own, and for the generation.
        let waits = checks.chain(talks).chain([self.reload.saturating_mul(12)]);
        waits.fold(REST, Duration::saturating_add).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_add_up_what_a_publish_waits_for() {
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
    fn no_limit_is_longer_than_the_clock_can_hold() {
        let timeouts = Timeouts {
            reload: Duration::MAX,
            has_reload: true,
            ..Timeouts::default()
        };
        let Limits { usual, end } = timeouts.limits();
        assert_eq!((usual, end), (LONGEST, LONGEST));
    }
}
