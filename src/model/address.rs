//! Chooses the address of this host that is announced, and explains the choice. Pure.

mod recheck;
mod spec;

use std::fmt;
use std::net::IpAddr;

pub use self::recheck::Chosen;
pub use self::spec::{InvalidSpec, Network, Spec};
use super::instance::parse_ip;

/// An interface of this host that is up, and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses, in the system's order.
    pub addrs: Vec<IpAddr>,
}

/// The addresses of a host from which one is chosen.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The interfaces that are up.
    pub interfaces: Vec<Interface>,
    /// The source address of the default route.
    pub default_route: Option<IpAddr>,
    /// The source address used to reach the store; the same as that of the default route if the store is a directory.
    pub towards_store: Option<IpAddr>,
}

/// Why an address was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Other hosts cannot connect to it.
    Unusable(String),
    /// It is on the loopback interface.
    Loopback,
    /// It is on a bridge of Docker's, which other hosts do not reach.
    DockerBridge(String),
    /// It is not in the configured network.
    Outside,
    /// There is no such interface, or it is down or without addresses.
    NoInterface,
    /// There is no route.
    NoRoute,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(why) => f.write_str(why),
            Self::Loopback => f.write_str("loopback: only this host reaches it; iface:lo or the address itself asks for it by name"),
            Self::DockerBridge(name) => write!(f, "on docker's bridge {name}: other hosts do not reach it; iface:{name} asks for it by name"),
            Self::Outside => f.write_str("not in that network"),
            Self::NoInterface => f.write_str("there is no such interface that is up and has an address"),
            Self::NoRoute => f.write_str("there is no route"),
        }
    }
}

/// A choice: the candidates in the order in which they were tried, and the result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// The address, if there is one.
    pub ip: Option<IpAddr>,
    /// The candidates; the last one is the chosen one, if there is one.
    pub tried: Vec<Tried>,
}

/// One candidate for the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The spec that led to it.
    pub spec: Spec,
    /// The address and its interface, where there are any.
    pub found: Option<(IpAddr, Option<String>)>,
    /// Why it was not chosen; `None` for the chosen one.
    pub refused: Option<Refusal>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.spec)?;
        if let Some((ip, interface)) = &self.found {
            write!(f, " {ip}")?;
            if let Some(name) = interface {
                write!(f, " of {name}")?;
            }
        }
        match &self.refused {
            Some(why) if self.found.is_some() => write!(f, ", refused: {why}"),
            Some(why) => write!(f, " {why}"),
            None => f.write_str(", chosen"),
        }
    }
}

/// One line for each candidate, for `sidekick ip`.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tried
            .iter()
            .try_for_each(|tried| writeln!(f, "{tried}"))
    }
}

/// The first address that one of `specs` leads to.
#[must_use]
pub fn choose(specs: &[Spec], host: &Host) -> Choice {
    let mut choice = Choice::default();
    for spec in specs {
        for (found, refused) in candidates(spec, host) {
            let taken = refused.is_none().then_some(found.as_ref()).flatten();
            choice.ip = taken.map(|(ip, _)| *ip);
            choice.tried.push(Tried {
                spec: spec.clone(),
                found,
                refused,
            });
            if choice.ip.is_some() {
                return choice;
            }
        }
    }
    choice
}

type Candidate = (Option<(IpAddr, Option<String>)>, Option<Refusal>);

fn candidates(spec: &Spec, host: &Host) -> Vec<Candidate> {
    match spec {
        Spec::Given(ip) => vec![(Some((*ip, None)), None)],
        Spec::DefaultRoute => vec![routed(host.default_route, host)],
        Spec::TowardsStore => vec![routed(host.towards_store, host)],
        Spec::Interface(name) => of_interface(name, host),
        Spec::Network(network) => in_network(network, host),
    }
}

fn routed(ip: Option<IpAddr>, host: &Host) -> Candidate {
    let Some(ip) = ip else {
        return (None, Some(Refusal::NoRoute));
    };
    let interface = host
        .interfaces
        .iter()
        .find(|interface| interface.addrs.contains(&ip));
    let name = interface.map(|interface| interface.name.clone());
    let refused = unasked(ip, name.as_deref());
    (Some((ip, name)), refused)
}

fn of_interface(name: &str, host: &Host) -> Vec<Candidate> {
    let named = host
        .interfaces
        .iter()
        .filter(|interface| interface.name == name);
    let addrs: Vec<IpAddr> = named
        .flat_map(|interface| interface.addrs.clone())
        .collect();
    if addrs.is_empty() {
        return vec![(None, Some(Refusal::NoInterface))];
    }
    let v4_first = addrs
        .iter()
        .filter(|ip| ip.is_ipv4())
        .chain(addrs.iter().filter(|ip| ip.is_ipv6()));
    // The operator has named the interface, so loopback and bridges are fine; an address nobody can connect to is not.
    v4_first
        .map(|ip| (Some((*ip, Some(name.to_owned()))), unusable(*ip)))
        .collect()
}

fn in_network(network: &Network, host: &Host) -> Vec<Candidate> {
    let every = host.interfaces.iter();
    let every =
        every.flat_map(|interface| interface.addrs.iter().map(move |ip| (*ip, &interface.name)));
    every
        .map(|(ip, name)| {
            let outside = (!network.contains(ip)).then_some(Refusal::Outside);
            (
                Some((ip, Some(name.clone()))),
                outside.or_else(|| unasked(ip, Some(name))),
            )
        })
        .collect()
}

fn unusable(ip: IpAddr) -> Option<Refusal> {
    parse_ip(&ip.to_string())
        .err()
        .map(|error| Refusal::Unusable(error.to_string()))
}

/// Why an interface is passed over unless the operator has named it.
fn unasked(ip: IpAddr, interface: Option<&str>) -> Option<Refusal> {
    if ip.is_loopback() {
        return Some(Refusal::Loopback);
    }
    match interface {
        // What docker calls its own bridge, and those that it makes for networks.
        Some(name) if name == "docker0" || name.starts_with("br-") || name == "docker_gwbridge" => {
            Some(Refusal::DockerBridge(name.to_owned()))
        }
        Some(_) | None => unusable(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        let interface = |name: &str, addrs: &[&str]| Interface {
            name: name.to_owned(),
            addrs: addrs.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        Host {
            interfaces: vec![
                interface("lo", &["127.0.0.1", "::1"]),
                interface("docker0", &["172.17.0.1"]),
                interface("eth0", &["fe80::1", "2001:db8::5", "10.1.2.3"]),
                interface("eth1", &["192.168.7.1", "10.9.9.9", "fd00::9"]),
                interface("br-5f", &["10.200.0.1"]),
                interface("wlan.1", &["fe80::2"]),
            ],
            default_route: Some("192.168.7.1".parse().unwrap()),
            towards_store: Some("127.0.0.1".parse().unwrap()),
        }
    }

    fn chosen(specs: &str) -> String {
        let specs: Vec<Spec> = specs.split(',').map(|spec| spec.parse().unwrap()).collect();
        let choice = choose(&specs, &host());
        match choice.ip {
            Some(ip) => ip.to_string(),
            None => format!(
                "none: {}",
                choice.tried.last().unwrap().refused.as_ref().unwrap()
            ),
        }
    }

    #[test]
    fn each_way_leads_to_an_address_or_says_why_not() {
        for (specs, want) in [
            ("10.0.0.1", "10.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("iface:eth0", "10.1.2.3"),
            ("iface:eth1", "192.168.7.1"),
            ("iface:lo", "127.0.0.1"),
            ("iface:docker0", "172.17.0.1"),
            (
                "iface:none",
                "none: there is no such interface that is up and has an address",
            ),
            ("cidr:10.0.0.0/8", "10.1.2.3"),
            ("cidr:10.9.0.0/16", "10.9.9.9"),
            ("cidr:2001:db8::/32", "2001:db8::5"),
            ("cidr:fd00::/8", "fd00::9"),
            ("cidr:0.0.0.0/0", "10.1.2.3"),
            ("cidr:::/0", "2001:db8::5"),
            ("cidr:10.9.9.9/32", "10.9.9.9"),
            ("default", "192.168.7.1"),
            ("store,default", "192.168.7.1"),
            ("iface:none,cidr:11.0.0.0/8,iface:eth0", "10.1.2.3"),
        ] {
            assert_eq!(chosen(specs), want, "{specs}");
        }
    }

    #[test]
    fn what_others_do_not_reach_is_refused_unless_asked_for_by_name() {
        for (specs, word) in [
            ("store", "loopback"),
            ("cidr:127.0.0.0/8", "not in that network"),
            ("cidr:172.17.0.0/16", "not in that network"),
            ("iface:wlan.1", "link-local"),
        ] {
            let specs: Vec<Spec> = specs.split(',').map(|spec| spec.parse().unwrap()).collect();
            let choice = choose(&specs, &host());
            assert_eq!(choice.ip, None);
            let said: Vec<String> = choice
                .tried
                .iter()
                .filter_map(|tried| Some(tried.refused.as_ref()?.to_string()))
                .collect();
            assert!(said.iter().any(|text| text.contains(word)), "{said:?}");
        }
        let bridge = choose(&["cidr:172.17.0.0/16".parse().unwrap()], &host());
        assert!(
            bridge
                .tried
                .iter()
                .any(|tried| matches!(tried.refused, Some(Refusal::DockerBridge(_))))
        );
    }
}
