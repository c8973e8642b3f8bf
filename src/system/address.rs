//! The address and name by which others reach this host. Adapter.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::model::address::{Host, Interface};

/// Addresses nobody owns (RFC 5737 and RFC 3849): the route to them is the default route.
const ANYWHERE: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// What this host has to choose an address from; `endpoints` (`host:port`) are those of the store, if it has any.
#[must_use]
pub fn host(endpoints: &[String]) -> Host {
    let default_route = ANYWHERE
        .iter()
        .filter_map(|far| far.parse().ok())
        .find_map(source_for);
    let towards = endpoints
        .iter()
        .filter_map(|endpoint| endpoint.to_socket_addrs().ok());
    let towards_store = if endpoints.is_empty() {
        default_route
    } else {
        towards.flatten().find_map(source_for)
    };
    Host {
        interfaces: interfaces(),
        default_route,
        towards_store,
    }
}

/// The interfaces that are up; a host that cannot tell has none.
fn interfaces() -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    let up = getifaddrs()
        .into_iter()
        .flatten()
        .filter(|one| one.flags.contains(InterfaceFlags::IFF_UP));
    for one in up {
        let Some(address) = one.address else { continue };
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        let Some(ip) = ip else { continue };
        match found
            .iter_mut()
            .find(|interface| interface.name == one.interface_name)
        {
            Some(interface) => interface.addrs.push(ip),
            None => found.push(Interface {
                name: one.interface_name,
                addrs: vec![ip],
            }),
        }
    }
    found
}

/// The addresses of the interface of that name, if it is up.
#[must_use]
pub fn of_interface(name: &str) -> Vec<IpAddr> {
    let found = interfaces().into_iter().find(|one| one.name == name);
    found.map_or_else(Vec::new, |interface| interface.addrs)
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
pub fn hostname() -> OsString {
    nix::unistd::gethostname().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_is_reached_from_itself() {
        let host = host(&["nowhere.invalid:1".to_owned(), "127.0.0.1:2379".to_owned()]);
        assert!(host.towards_store.is_some_and(|ip| ip.is_loopback()));
        let lo = host
            .interfaces
            .iter()
            .find(|interface| interface.name == "lo");
        assert!(lo.is_some_and(|lo| lo.addrs.contains(&IpAddr::from([127, 0, 0, 1]))));
    }
}
