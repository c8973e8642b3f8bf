//! How long to wait before the next try: capped, exponential, with full jitter. Pure: the chance is passed in.

use std::time::Duration;

/// A delay that doubles with each failure.
///
/// Full jitter (a delay between nothing and the ceiling) keeps a few thousand processes that lost the same store at
/// the same moment from coming back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// A back-off whose ceiling starts at `base` and doubles up to `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// Counts a failure and returns how long to wait before the next try: `chance`, a number from 0 to 1, times the ceiling.
    pub fn failed(&mut self, chance: f64) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << self.failures.min(16))
            .min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// Forgets the failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures came one after the other.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Chances from a seed, so that a machine can jitter and stay a function of its inputs (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn chance(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000));
        let delays: Vec<_> = (0..6).map(|_| backoff.failed(1.0)).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000].map(ms));
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5), ms(50));
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn dice_are_fair_enough() {
        let mut dice = Dice::new(7);
        let throws: Vec<f64> = (0..1000).map(|_| dice.chance()).collect();
        assert!(throws.iter().all(|t| (0.0..1.0).contains(t)));
        let mean = throws.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for _ in 0..100 {
            assert!(backoff.failed(2.0) <= Duration::from_secs(10));
        }
    }
}
