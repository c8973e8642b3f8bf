//! The beat of a loop, by which another thread sees whether the loop is stuck. Adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time between two beats.
const EVERY: Duration = Duration::from_secs(1);
/// A loop without a beat for this long is stuck.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// The time of the last beat, shared between the loop and the server.
#[derive(Debug)]
pub(super) struct Beat {
    origin: Instant,
    /// The last beat, in milliseconds since `origin`.
    last: AtomicU64,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// A beat of this age.
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

    /// The time since the last beat.
    pub(super) fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.origin.elapsed().saturating_sub(last)
    }
}

/// The loop's side of the beat: the loop itself waits for the next beat among its other events, so a loop that is stuck does
/// not beat.
#[derive(Debug)]
pub struct LoopBeat {
    /// `None` without an admin endpoint.
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

    /// Waits until a beat is due, and beats; without an admin endpoint it never returns. It may be dropped while it waits.
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
    async fn without_an_endpoint_there_is_no_beat() {
        let mut loop_beat = LoopBeat::new(None);
        let hour = Duration::from_secs(60 * 60);
        assert!(tokio::time::timeout(hour, loop_beat.next()).await.is_err());
    }
}
