//! The beat of a loop, as another thread sees it. Adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The distance between two beats of a loop that has nothing else to do.
const EVERY: Duration = Duration::from_secs(1);
/// A loop that has not beaten for so long is stuck.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// When the loop has beaten last.
#[derive(Debug)]
pub(super) struct Beat {
    origin: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// One that was marked so long ago.
    #[cfg(test)]
    pub(super) fn of_age(age: Duration) -> Self {
        let origin = Instant::now().checked_sub(age);
        Self {
            origin: origin.expect("the machine has run for so long"),
            last: AtomicU64::new(0),
        }
    }

    fn mark(&self) {
        let elapsed = self.origin.elapsed().as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// How long ago that was.
    pub(super) fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.origin.elapsed().saturating_sub(last)
    }
}

/// The side of the loop: it beats once a second, from its own turns, so that a loop that is stuck does not.
#[derive(Debug)]
pub struct LoopBeat {
    /// None if nobody looks.
    beat: Option<Arc<Beat>>,
    due: tokio::time::Instant,
}

impl LoopBeat {
    pub(super) fn new(beat: Option<Arc<Beat>>) -> Self {
        Self {
            beat,
            due: tokio::time::Instant::now(),
        }
    }

    /// Waits until a beat is due, and beats. Never returns where nobody looks. Can be dropped while it waits.
    pub async fn next(&mut self) {
        let Some(beat) = &self.beat else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.due).await;
        self.due = tokio::time::Instant::now() + EVERY;
        beat.mark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_beats_once_a_second_whatever_else_happens() {
        let beat = Arc::new(Beat::new());
        let mut loop_beat = LoopBeat::new(Some(Arc::clone(&beat)));
        let start = tokio::time::Instant::now();
        let mut beats = Vec::new();
        while beats.len() < 3 {
            tokio::select! {
                () = loop_beat.next() => beats.push(start.elapsed().as_secs()),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
        }
        assert_eq!(beats, [0, 1, 2]);
    }

    #[test]
    fn a_loop_that_does_not_beat_grows_old() {
        let beat = Beat::of_age(Duration::from_secs(40));
        assert!(beat.age() >= Duration::from_secs(40) && beat.age() > STUCK);
        beat.mark();
        assert!(beat.age() < STUCK);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_looks() {
        let mut loop_beat = LoopBeat::new(None);
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, loop_beat.next()).await.is_err());
    }
}
