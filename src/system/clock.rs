//! The wall clock, for what people read. Nothing is decided by it. Adapter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970 began.
#[must_use]
pub fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The same in whole seconds.
#[must_use]
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}
