//! The world as templates may ask of it: the system's answers, each within a bound. Shell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::render::World;
use crate::system::{address, dns, file};

/// The real one.
pub(super) const WORLD: World = World {
    addresses: dns::addresses,
    services: dns::services,
    file_exists: file::exists,
    now: since_1970,
    hostname,
    interface_addresses: address::of_interface,
};

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
