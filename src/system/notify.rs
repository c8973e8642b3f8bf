//! Readiness, told to a service manager by its notification socket (`sd_notify`). Adapter.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing happens.

use sd_notify::NotifyState;

/// The variable that names the socket; a child is not to inherit it, or it could answer in our name.
pub(super) const SOCKET: &str = "NOTIFY_SOCKET";

/// Says that the service is up.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says what is going on.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Says that the service is about to stop.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Says that the service takes over a new configuration; [`ready`] says that it has.
pub fn reloading(status: &str) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status(status)]),
        Err(error) => tracing::warn!("the service manager could not be told: {error}"),
    }
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager could not be told: {error}");
    }
}
