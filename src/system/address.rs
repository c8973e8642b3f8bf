//! The address and name by which others reach this host. Adapter.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use thiserror::Error;

/// An address nobody owns (RFC 5737 and RFC 3849): the route to it is the default route.
const ANYWHERE: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// Why there is no address.
#[derive(Debug, Error)]
pub enum AddressError {
    /// No route leads anywhere.
    #[error(
        "this host has no default route, so the address by which others reach it cannot be told"
    )]
    NoRoute,
    /// The store cannot be reached, or its name not resolved.
    #[error("no route to the store at {0}")]
    NoRouteTo(String),
}

/// The source address of the default route.
pub fn default_route() -> Result<IpAddr, AddressError> {
    ANYWHERE
        .iter()
        .filter_map(|far| far.parse().ok())
        .find_map(source_for)
        .ok_or(AddressError::NoRoute)
}

/// The source address used to reach one of `endpoints` (`host:port`).
pub fn towards(endpoints: &[String]) -> Result<IpAddr, AddressError> {
    use std::net::ToSocketAddrs;
    endpoints
        .iter()
        .filter_map(|endpoint| endpoint.to_socket_addrs().ok())
        .flatten()
        .find_map(source_for)
        .ok_or_else(|| AddressError::NoRouteTo(endpoints.join(", ")))
}

/// Asks the kernel for a route; connecting a UDP socket sends nothing.
fn source_for(far: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match far {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    let ip = socket.local_addr().ok()?.ip().to_canonical();
    (!ip.is_unspecified()).then_some(ip)
}

/// The name the kernel has for this host.
#[must_use]
pub fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let near = towards(&["127.0.0.1:2379".to_owned()]).unwrap();
        assert!(near.is_loopback());
    }

    #[test]
    fn a_name_that_does_not_resolve_is_named() {
        let error = towards(&["nowhere.invalid:2379".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("nowhere.invalid:2379"));
    }
}
