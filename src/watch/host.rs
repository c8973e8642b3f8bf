//! Answers what templates ask about this host (DNS, addresses, files, the time), each answer within a bound. Shell.

use super::render::Host;
use crate::system::clock::since_1970;
use crate::system::{address, dns, file};

/// The answers of this host; tests have others.
pub(super) const THIS_HOST: Host = Host {
    addresses: dns::addresses,
    services: dns::services,
    file_exists: file::exists,
    now: since_1970,
    hostname,
    interface_addresses: address::of_interface,
};

/// The host's name; empty if the kernel does not give one.
fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
