//! What is announced: names, ids, endpoints and instances, parsed once and valid for ever. Pure.
//!
//! The rules stand in `docs/keys.md` and hold on both sides: `register` refuses what breaks them,
//! `watch` skips it. Whatever carries one of these types can be printed into a proxy's configuration without escaping,
//! attributes excepted: those are free text and reach a template only through a quoting filter.

mod invalid;
mod name;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

pub use self::invalid::InvalidField;
pub use self::name::{
    AttrName, HostName, InstanceId, MAX_SEGMENT, PortName, ServiceName, host_segment,
};

use super::sparse_map::SparseMap;
use super::times::Times;

/// The longest value of an attribute, in bytes.
pub const MAX_VALUE: usize = 4096;
/// The largest weight; HAProxy's own range is 0–256.
pub const MAX_WEIGHT: u16 = 256;

/// Parses an address that others can connect to: not unspecified, multicast or link-local.
pub fn parse_ip(text: &str) -> Result<IpAddr, InvalidField> {
    let refuse = |reason| {
        Err(InvalidField::Ip {
            text: text.to_owned(),
            reason,
        })
    };
    let Ok(ip) = text.parse::<IpAddr>() else {
        return refuse("it is neither an IPv4 nor an IPv6 address (without brackets)");
    };
    // An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is judged as IPv4.
    match ip.to_canonical() {
        ip if ip.is_unspecified() => {
            refuse("it is the unspecified address; nobody can connect to it")
        }
        ip if ip.is_multicast() => refuse("it is a multicast address"),
        IpAddr::V4(v4) if v4.is_link_local() => {
            refuse("it is a link-local address (169.254.0.0/16)")
        }
        IpAddr::V4(v4) if v4.is_broadcast() => refuse("it is the broadcast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            refuse("it is a link-local address (fe80::/10)")
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(ip),
    }
}

/// Parses a port: 1–65535, decimal digits only.
pub fn parse_port(text: &str) -> Result<u16, InvalidField> {
    match number(text) {
        Some(port) if port > 0 => Ok(port),
        Some(_) | None => Err(InvalidField::Port(text.to_owned())),
    }
}

/// Parses a weight: 0–256, decimal digits only.
pub fn parse_weight(text: &str) -> Result<u16, InvalidField> {
    match number(text) {
        Some(weight) if weight <= MAX_WEIGHT => Ok(weight),
        Some(_) | None => Err(InvalidField::Weight(text.to_owned())),
    }
}

/// Decimal digits only: `+80`, which `u16::from_str` takes, is not what anyone else would read.
fn number(text: &str) -> Option<u16> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Whether new requests may be sent to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// In service; there is no `state` key.
    #[default]
    Up,
    /// Finishes what it has and gets nothing new.
    Drain,
    /// Taken out of service by a person.
    Maint,
}

impl State {
    /// The name templates and people see: `up`, `drain` or `maint`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

impl FromStr for State {
    type Err = InvalidField;
    fn from_str(text: &str) -> Result<Self, InvalidField> {
        match text {
            "drain" => Ok(Self::Drain),
            "maint" => Ok(Self::Maint),
            _ => Err(InvalidField::State(text.to_owned())),
        }
    }
}

/// Free text as the value of an attribute: UTF-8 without control characters, 4 KiB at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttrValue(String);

impl AttrValue {
    /// Checks the value of the attribute `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, InvalidField> {
        let reason = if text.len() > MAX_VALUE {
            "is longer than 4096 bytes"
        } else if text.chars().any(char::is_control) {
            "holds control characters"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(InvalidField::Value {
            field: field.to_owned(),
            text: text.to_owned(),
            reason,
        })
    }

    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ports of an instance: there is always at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    main: Option<u16>,
    named: SparseMap<PortName, u16>,
}

impl Ports {
    /// Ports from the `port` key and the `<name>-port` keys; `None` if there is none at all.
    #[must_use]
    pub fn new(main: Option<u16>, named: BTreeMap<PortName, u16>) -> Option<Self> {
        (main.is_some() || !named.is_empty()).then(|| Self {
            main,
            named: named.into(),
        })
    }

    /// The port to connect to if nobody asks for a name: `port`, else the first named one in alphabetical order.
    #[must_use]
    pub fn default_port(&self) -> u16 {
        let first = || self.named.values().next().copied();
        // `new` lets no empty set through.
        self.main.or_else(first).unwrap_or_default()
    }

    /// The `port` key, if it is there.
    #[must_use]
    pub fn main(&self) -> Option<u16> {
        self.main
    }

    /// The further ports by name.
    #[must_use]
    pub fn named(&self) -> &BTreeMap<PortName, u16> {
        &self.named
    }
}

/// One announced endpoint of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Its name among the service's instances.
    pub id: InstanceId,
    /// Where it listens.
    pub ip: IpAddr,
    /// The ports it listens on.
    pub ports: Ports,
    /// Its host name, if one was announced.
    pub host: Option<HostName>,
    /// Its share of the load, 0–256, if one was announced.
    pub weight: Option<u16>,
    /// Whether it takes new requests.
    pub state: State,
    /// Everything else that was announced.
    pub attrs: SparseMap<AttrName, AttrValue>,
    /// When it was announced, and since when it has its state; for people only.
    pub times: Times,
}

impl Instance {
    /// The host name, or the address where none was announced.
    #[must_use]
    pub fn host(&self) -> String {
        self.host
            .as_ref()
            .map_or_else(|| self.ip.to_string(), |host| host.as_str().to_owned())
    }

    /// Address and default port; printed, an IPv6 address stands in brackets.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.ports.default_port())
    }

    /// Whether nothing but its times differs from another one.
    #[must_use]
    pub fn differs_in_times_only(&self, other: &Self) -> bool {
        self.times != other.times
            && *other
                == Self {
                    times: other.times,
                    ..self.clone()
                }
    }

    /// Refuses attributes of which one would have to be a value and a directory at once.
    pub fn check_attrs(attrs: &BTreeMap<AttrName, AttrValue>) -> Result<(), InvalidField> {
        for name in attrs.keys() {
            let below = format!("{}/", name.as_str());
            let is_below = |other: &&AttrName| other.as_str().starts_with(&below);
            if let Some(other) = attrs.keys().find(is_below) {
                let (name, other) = (name.as_str().to_owned(), other.as_str().to_owned());
                return Err(InvalidField::Nested(name, other));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["10.0.0.1", "127.0.0.1", "2001:db8::1", "::1"] {
            assert!(parse_ip(good).is_ok(), "{good}");
        }
        let bad = [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "169.254.1.1",
            "fe80::1",
            "255.255.255.255",
            "::ffff:169.254.1.1",
            "::ffff:0.0.0.0",
            "[::1]",
            "10.0.0.1:80",
            "010.0.0.1",
            "localhost",
            "",
            "fe80::1%eth0",
        ];
        for bad in bad {
            assert!(parse_ip(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_port("65535"), Ok(65535));
        for bad in ["0", "65536", "+80", "-1", " 80", "80 ", "", "0x50", "８０"] {
            assert!(parse_port(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_weight("0"), Ok(0));
        assert_eq!(parse_weight("256"), Ok(256));
        assert!(parse_weight("257").is_err());
    }

    #[test]
    fn attributes() {
        assert!("settings/distribution".parse::<AttrName>().is_ok());
        for bad in ["ip", "state", "http-port", "a//b", "/a", "a/", ".a", "a/.b"] {
            assert!(bad.parse::<AttrName>().is_err(), "{bad}");
        }
        assert!(AttrValue::parse("a", "x\ny").is_err());
        assert!(
            AttrValue::parse("a", "x\u{85}y").is_err(),
            "C1 controls too"
        );
        assert!(AttrValue::parse("a", &"é".repeat(2048)).is_ok());
        assert!(AttrValue::parse("a", &"é".repeat(2049)).is_err());
        let attrs = ["a", "a/b"].map(|n| (n.parse().unwrap(), AttrValue::parse(n, "v").unwrap()));
        assert!(matches!(
            Instance::check_attrs(&attrs.into()),
            Err(InvalidField::Nested(..))
        ));
    }

    #[test]
    fn the_default_port_is_port_or_the_first_named_one() {
        let named = |names: &[(&str, u16)]| {
            names
                .iter()
                .map(|(n, p)| (n.parse().unwrap(), *p))
                .collect()
        };
        let of = |main, names| Ports::new(main, named(names)).map(|p| p.default_port());
        assert_eq!(of(Some(80), &[("a", 1)]), Some(80));
        assert_eq!(of(None, &[("transport", 9300), ("http", 9200)]), Some(9200));
        assert_eq!(of(None, &[]), None);
    }
}
