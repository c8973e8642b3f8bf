//! One way to choose an address, as operators write it. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::model::instance::{InvalidField, parse_ip};

/// One way to choose an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// This very address.
    Given(IpAddr),
    /// An address of this interface: the first IPv4 one, else the first IPv6 one.
    Interface(String),
    /// An address in this network, on any interface but loopback and docker's bridges.
    Network(Network),
    /// The source address of the default route.
    DefaultRoute,
    /// The source address used to reach the store.
    TowardsStore,
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no such way.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSpec {
    /// The text has none of the known forms.
    #[error(
        "{0:?} is neither an address nor one of iface:NAME, cidr:NETWORK/BITS, default and store"
    )]
    Unknown(String),
    /// It is an address that no other host can connect to.
    #[error(transparent)]
    Address(#[from] InvalidField),
    /// It looks like a network and is none.
    #[error("{0:?} is not a network such as 10.0.0.0/8 or fd00::/8")]
    Network(String),
}

impl FromStr for Spec {
    type Err = InvalidSpec;
    fn from_str(text: &str) -> Result<Self, InvalidSpec> {
        match text {
            "default" => return Ok(Self::DefaultRoute),
            "store" => return Ok(Self::TowardsStore),
            _ => {}
        }
        if let Some(name) = text.strip_prefix("iface:").filter(|name| !name.is_empty()) {
            return Ok(Self::Interface(name.to_owned()));
        }
        if let Some(network) = text.strip_prefix("cidr:") {
            return Ok(Self::Network(network.parse()?));
        }
        if text.parse::<IpAddr>().is_err() {
            return Err(InvalidSpec::Unknown(text.to_owned()));
        }
        Ok(Self::Given(parse_ip(text)?))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(ip) => write!(f, "{ip}"),
            Self::Interface(name) => write!(f, "iface:{name}"),
            Self::Network(Network { base, bits }) => write!(f, "cidr:{base}/{bits}"),
            Self::DefaultRoute => f.write_str("default"),
            Self::TowardsStore => f.write_str("store"),
        }
    }
}

impl FromStr for Network {
    type Err = InvalidSpec;
    fn from_str(text: &str) -> Result<Self, InvalidSpec> {
        let parse = || {
            let (base, bits) = text.split_once('/')?;
            let base: IpAddr = base.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(base))?;
            Some(Self { base, bits })
        };
        parse().ok_or_else(|| InvalidSpec::Network(text.to_owned()))
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address's bits, on the left of a 128-bit number.
fn left(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    /// Whether an address lies in the network.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let differing = left(self.base) ^ left(ip);
        ip.is_ipv4() == self.base.is_ipv4() && differing.leading_zeros() >= u32::from(self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_way() {
        for text in [
            "",
            "eth0",
            "iface:",
            "cidr:",
            "cidr:10.0.0.0",
            "cidr:10.0.0.0/33",
            "cidr:fe80::/129",
            "0.0.0.0",
            "fe80::1",
            "10.0.0.256",
        ] {
            assert!(text.parse::<Spec>().is_err(), "{text}");
        }
        for text in ["default", "store", "iface:eth0", "cidr:10.0.0.0/8", "::1"] {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
    }
}
