//! Reports readiness and liveness to a service manager by its notification socket (`sd_notify`). Adapter.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing happens.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// The variable that names the socket. Children do not inherit it, or they could report in our name.
pub(super) const SOCKET: &str = "NOTIFY_SOCKET";

/// Reports that the service is up.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Sets the status line of the service.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// Reports that the service begins to stop.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Reports that the service begins to reload its configuration; [`ready`] reports that it has.
pub fn reloading(status: &str) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, NotifyState::Status(status)]),
        Err(error) => tracing::warn!(%error, "cannot notify the service manager: {error}"),
    }
}

/// The service manager's watchdog: it restarts a service that sends no sign of life for `WATCHDOG_USEC` microseconds.
///
/// The very loop that does the work sends the sign, once per turn at most, so that a loop that is stuck is silent.
#[derive(Debug)]
pub struct Watchdog {
    /// The time between two signs, half of what the service manager allows, and when the next one is due; `None` without a
    /// watchdog.
    next_ping: Option<(Duration, Instant)>,
}

impl Watchdog {
    /// The watchdog that the environment asks for.
    #[must_use]
    pub fn from_env() -> Self {
        Self::every(sd_notify::watchdog_enabled().map(|limit| limit / 2))
    }

    fn every(distance: Option<Duration>) -> Self {
        Self {
            next_ping: distance.map(|distance| (distance, Instant::now())),
        }
    }

    /// Waits until a sign of life is due, and sends it. Never returns without a watchdog. The future can be dropped while it
    /// waits.
    pub async fn ping(&mut self) {
        let Some((distance, due)) = &mut self.next_ping else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(*due).await;
        *due = Instant::now() + *distance;
        send(&[NotifyState::Watchdog]);
    }
}

fn send_to_abstract(name: &[u8], states: &[NotifyState]) -> io::Result<()> {
    let lines: Vec<String> = states.iter().map(|state| format!("{state}\n")).collect();
    let address = SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(lines.concat().as_bytes(), &address)?;
    Ok(())
}

fn send(states: &[NotifyState]) {
    let socket = std::env::var_os(SOCKET).unwrap_or_default();
    let sent = match socket.as_encoded_bytes() {
        // A name that is not in the file system, which the crate knows nothing of.
        [b'@', name @ ..] => send_to_abstract(name, states),
        _ => sd_notify::notify(states),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot notify the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_the_loop_at_its_distance_also_when_other_things_happen() {
        let start = Instant::now();
        let mut watchdog = Watchdog::every(Some(Duration::from_secs(5)));
        let mut beats = Vec::new();
        while beats.len() < 3 {
            tokio::select! {
                () = watchdog.ping() => beats.push(start.elapsed().as_secs()),
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
        assert_eq!(beats, [0, 5, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_watches() {
        let mut watchdog = Watchdog::every(None);
        let long = Duration::from_secs(60 * 60);
        assert!(tokio::time::timeout(long, watchdog.ping()).await.is_err());
    }
}
