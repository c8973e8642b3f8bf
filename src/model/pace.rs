//! How fast a target follows what changes. Pure.

use std::time::Duration;

/// The pace of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// `watch` publishes the first change after a quiet time at once, and coalesces those that follow until none has come
    /// for this long. 20 ms unless configured.
    pub settle: Duration,
    /// `watch` coalesces changes for this long at most. 500 ms unless configured.
    pub max_wait: Duration,
    /// The least time between two reloads of the target's program. 2 s unless configured.
    pub min_interval: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(20),
            max_wait: Duration::from_millis(500),
            min_interval: Duration::from_secs(2),
        }
    }
}
