//! The questions that a template may ask the host: names, files, the time. Pure: the caller passes in who answers.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::os::Srv;

/// The functions that answer. Each of them returns within a bound, and returns nothing where it finds no answer, as with
/// confd.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// The addresses of a host.
    pub addresses: fn(host: &str) -> Vec<IpAddr>,
    /// The SRV records of a name such as `_http._tcp.example.org`.
    pub services: fn(name: &str) -> Vec<Srv>,
    /// Whether there is a file at a path.
    pub file_exists: fn(path: &str) -> bool,
    /// The time since 1970.
    pub now: fn() -> Duration,
    /// The name of this host.
    pub hostname: fn() -> String,
    /// The addresses of a network interface of this host.
    pub interface_addresses: fn(name: &str) -> Vec<IpAddr>,
}

impl Host {
    /// A host that answers nothing: for a render that must not ask, and for tests.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            addresses: |_| Vec::new(),
            services: |_| Vec::new(),
            file_exists: |_| false,
            now: || Duration::ZERO,
            hostname: String::new,
            interface_addresses: |_| Vec::new(),
        }
    }

    /// The addresses of a host as sorted text, each of them once.
    pub(super) fn sorted_addresses(&self, host: &str, family: Family) -> Vec<String> {
        let addresses = (self.addresses)(host)
            .into_iter()
            .map(|ip| ip.to_canonical());
        let mut found: Vec<String> = addresses
            .filter(|ip| match family {
                Family::Any => true,
                Family::V4 => ip.is_ipv4(),
                Family::V6 => ip.is_ipv6(),
            })
            .map(|ip| ip.to_string())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The first address of a network interface of one family.
    pub(super) fn interface_address(&self, name: &str, family: Family) -> Option<String> {
        let mut addresses = (self.interface_addresses)(name).into_iter();
        let found = addresses.find(|ip| ip.is_ipv4() == (family == Family::V4));
        found.map(|ip| ip.to_string())
    }

    /// The SRV records of a service, sorted as confd sorts them: by their fields written one after the other.
    pub(super) fn sorted_services(&self, service: &str, protocol: &str, name: &str) -> Vec<Srv> {
        let name = if service.is_empty() && protocol.is_empty() {
            name.to_owned()
        } else {
            format!("_{service}._{protocol}.{name}")
        };
        let mut found = (self.services)(&name);
        found.sort_by_key(|srv| {
            let Srv {
                target,
                port,
                priority,
                weight,
            } = srv;
            format!("{target}{port}{priority}{weight}")
        });
        found
    }
}

/// The family of the addresses that a template asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// All.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}
