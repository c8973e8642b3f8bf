//! Answers what templates ask about this host (DNS, addresses, files, the time), each answer within a bound. Shell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::render::World;
use crate::system::{address, dns, file};

/// The answers of the real host; tests have others.
pub(super) const WORLD: World = World {
    addresses: dns::addresses,
    services: dns::services,
    file_exists: file::exists,
    now: since_1970,
    hostname,
    interface_addresses: address::of_interface,
};

/// The wall clock as the time since 1970, for templates and for people; nothing is decided by it.
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The host's name; empty if the kernel does not tell it.
fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The wall clock in whole seconds since 1970, for people.
#[must_use]
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}
