//! How long a reload waits for old workers. Pure.
//!
//! An old worker of HAProxy serves one more request on each kept-alive connection (`option idle-close-on-response`), and may
//! send it to a server that is not in the new file. Busy clients have sent that request within a second.

use std::time::{Duration, Instant};

/// How long a reload waits for old workers to end, from the first time it sees that they serve.
const LEAVING: Duration = Duration::from_secs(1);

/// The wait of one reload for its old workers.
#[derive(Debug, Default)]
pub struct OldWorkerWait {
    until: Option<Instant>,
}

impl OldWorkerWait {
    /// Whether the reload may go on waiting at `now`, and not beyond its own `deadline`. The first call starts the wait.
    pub fn may_go_on(&mut self, now: Instant, deadline: Instant) -> bool {
        now < deadline.min(*self.until.get_or_insert(now + LEAVING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_takes_a_second_from_the_first_call_and_ends_at_the_deadline() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut wait = OldWorkerWait::default();
        let far = start + ms(60_000);
        assert!(wait.may_go_on(start, far));
        assert!(wait.may_go_on(start + ms(999), far));
        assert!(!wait.may_go_on(start + ms(1000), far));
        let mut short = OldWorkerWait::default();
        assert!(short.may_go_on(start, start + ms(10)));
        assert!(!short.may_go_on(start + ms(10), start + ms(10)));
    }
}
