//! How fast a target follows what changes. Pure.

use std::time::Duration;

/// The pace of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first change after a quiet spell is published at once; what follows is gathered until it has been quiet
    /// for this long.
    pub settle: Duration,
    /// Gathering ends after this long, quiet or not.
    pub max_wait: Duration,
    /// The least time between two reloads.
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
