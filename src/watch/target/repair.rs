//! Decides when a file that somebody else has changed is repaired. Pure.
//!
//! The first repairs are made at once. Two programs that write different files would go on for ever, so after a few repairs
//! in a row there is a pause before each further one, which doubles.

use std::time::{Duration, Instant};

/// This many repairs within this time are a fight with another program.
const FIGHT: (usize, Duration) = (3, Duration::from_secs(60));
/// The first pause of a fight, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10 * 60));

/// The repairs of one target.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    recent: Vec<Instant>,
    /// The pause before the next repair, while there is a fight.
    pause: Option<Duration>,
}

impl Repairs {
    /// When a file that is found changed now may be repaired.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        let last = self.recent.last().zip(self.pause);
        last.map_or(now, |(last, pause)| now.max(*last + pause))
    }

    /// Records a repair. Returns the pause before the next one if a fight has just begun.
    pub(crate) fn record(&mut self, now: Instant) -> Option<Duration> {
        let calm = self.pause.map_or(FIGHT.1, |pause| pause + FIGHT.1);
        if self.recent.last().is_some_and(|last| now >= *last + calm) {
            *self = Self::default();
        }
        self.recent.retain(|at| now < *at + FIGHT.1);
        self.recent.push(now);
        if let Some(pause) = self.pause {
            self.pause = Some((pause * 2).min(PAUSE.1));
            return None;
        }
        self.pause = (self.recent.len() >= FIGHT.0).then_some(PAUSE.0);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_few_repairs_are_made_at_once_and_a_fight_is_reported_once_and_slowed_down() {
        let start = Instant::now();
        let mut repairs = Repairs::default();
        for second in [0, 1] {
            let now = start + secs(second);
            assert_eq!(repairs.due(now), now);
            assert_eq!(repairs.record(now), None);
        }
        let mut now = start + secs(2);
        assert_eq!(repairs.record(now), Some(secs(10)));
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            // The other program changes the file again at once.
            let due = repairs.due(now + secs(1));
            assert_eq!(due, now + secs(pause));
            now = due;
            assert_eq!(repairs.record(now), None, "the fight was reported");
        }
        // After a long calm the fight is over.
        now += secs(700);
        assert_eq!(repairs.due(now), now);
        assert_eq!(repairs.record(now), None);
        assert_eq!(repairs.due(now), now);
    }

    #[test]
    fn a_repair_now_and_then_is_no_fight() {
        let start = Instant::now();
        let mut repairs = Repairs::default();
        for minute in 0..100 {
            let now = start + secs(40 * minute);
            assert_eq!(repairs.due(now), now);
            assert_eq!(repairs.record(now), None);
        }
    }
}
