//! An instance to announce: what was said of it, with flags or in a file, as far as it means anything.

use std::collections::BTreeMap;

use super::check::checks;
use super::input::{Found, Raw, Said};
use crate::model::address::Spec;
use crate::model::check::Checks;
use crate::model::instance::{
    AttrName, AttrValue, HostName, Instance, InstanceId, InvalidField, PortName, Ports,
    ServiceName, parse_port, parse_weight,
};
use crate::model::prefix::Prefix;

/// As many attributes as fit into one transaction beside the other keys of an instance.
pub(super) const MOST_ATTRS: usize = 100;

/// An instance to announce, as far as it can be told without asking the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The service.
    pub service: ServiceName,
    /// Where it lives in the store, if not where all others do.
    pub prefix: Option<Prefix>,
    /// Its ports.
    pub ports: Ports,
    /// The ways to its address, in the order in which they are tried; nobody said if there are none.
    pub ip: Vec<Spec>,
    /// Its host name; this host's own if none was given.
    pub host: Option<HostName>,
    /// Its id.
    pub id: IdSpec,
    /// What to do about another owner of the same id.
    pub ownership: Ownership,
    /// Its share of the load.
    pub weight: Option<u16>,
    /// Its further keys.
    pub attrs: BTreeMap<AttrName, AttrValue>,
    /// What it has to pass before it is announced; without checks it is healthy while its program runs.
    pub checks: Option<Checks>,
}

/// What to do about another owner of the same id, alive, at another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Wait for it to go for a TTL, then give up.
    Sole,
    /// Take its place.
    TakeOver,
    /// Announce together.
    Shared,
}

/// Where the id comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSpec {
    /// It was given.
    Given(InstanceId),
    /// A random one.
    Random,
    /// The host's name and the port.
    HostAndPort,
}

/// What was said of one instance means this, unless problems were noted.
pub(super) fn announcement(raw: &Raw, found: &mut Found<'_, '_>) -> Option<Announcement> {
    let service = raw.name.as_ref();
    let service = service.and_then(|name| name.parse(found, str::parse::<ServiceName>));
    let prefix = optional(raw.prefix.as_ref(), found, Prefix::parse);
    let ports = ports(&raw.ports, found);
    let ip = raw.ip.as_ref().map(|said| specs(said, found));
    let host = optional(raw.host.as_ref(), found, str::parse::<HostName>);
    let id = id(raw, found);
    let weight = optional(raw.weight.as_ref(), found, parse_weight);
    let attrs = attrs(&raw.attrs, found);
    let checks = checks(&raw.checks, found);
    let ownership = ownership(raw, found);
    Some(Announcement {
        service: service?,
        prefix: prefix.ok()?,
        ports: ports?,
        ip: ip.unwrap_or_default(),
        host: host.ok()?,
        id: id?,
        ownership,
        weight: weight.ok()?,
        attrs,
        checks,
    })
}

/// The problem was noted.
struct Noted;

/// `None` if it was not said.
fn optional<T, E: std::fmt::Display>(
    said: Option<&Said>,
    found: &mut Found<'_, '_>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Noted> {
    match said {
        None => Ok(None),
        Some(said) => said.parse(found, parse).map(Some).ok_or(Noted),
    }
}

fn id(raw: &Raw, found: &mut Found<'_, '_>) -> Option<IdSpec> {
    match &raw.id {
        None => Some(IdSpec::HostAndPort),
        Some(said) if said.text == "uuid" => Some(IdSpec::Random),
        Some(said) => said.parse(found, str::parse).map(IdSpec::Given),
    }
}

fn ownership(raw: &Raw, found: &mut Found<'_, '_>) -> Ownership {
    match (&raw.shared, &raw.take_over) {
        (Some(shared), take_over) => {
            if take_over.is_some() {
                found.say(shared, "it and taking over exclude each other");
            }
            if raw.id.as_ref().is_none_or(|id| id.text == "uuid") {
                found.say(shared, "it needs an id, which is the same everywhere");
            }
            Ownership::Shared
        }
        (None, Some(_)) => Ownership::TakeOver,
        (None, None) => Ownership::Sole,
    }
}

/// It is a list: the first spec that leads to an address wins.
pub(super) fn specs(said: &Said, found: &mut Found<'_, '_>) -> Vec<Spec> {
    let specs = said.text.split(',');
    specs
        .filter_map(|spec| said.parse(found, |_| spec.trim().parse()))
        .collect()
}

fn ports(all: &[(Option<Said>, Said)], found: &mut Found<'_, '_>) -> Option<Ports> {
    let (mut main, mut named) = (None, BTreeMap::new());
    for (name, said) in all {
        let port = said.parse(found, parse_port);
        match name {
            None => {
                if main.is_some() {
                    found.say(
                        said,
                        "there is one port without a name already; write NAME=PORT",
                    );
                }
                main = port.or(main);
            }
            Some(name) => {
                let key = name.parse(found, port_name);
                if let (Some(key), Some(port)) = (key, port)
                    && let Some(other) = named.insert(key.clone(), port)
                {
                    found.say(name, format!("{key} is given twice, {other} and {port}"));
                }
            }
        }
    }
    Ports::new(main, named)
}

/// The key of a named port, `<name>-port`, has to be a segment too.
fn port_name(name: &str) -> Result<PortName, InvalidField> {
    format!("{name}-port").parse::<PortName>()?;
    name.parse()
}

fn attrs(all: &[(Said, Option<Said>)], found: &mut Found<'_, '_>) -> BTreeMap<AttrName, AttrValue> {
    let mut attrs = BTreeMap::new();
    for (name, value) in all {
        let Some(value) = value else {
            found.say(name, format!("{:?} is not KEY=VALUE", name.text));
            continue;
        };
        let key = name.parse(found, str::parse::<AttrName>);
        let value = value.parse(found, |text| AttrValue::parse(&name.text, text));
        if let (Some(key), Some(value)) = (key, value)
            && attrs.insert(key, value).is_some()
        {
            found.say(name, format!("{} is given twice", name.text));
        }
    }
    if let Some((last, _)) = all.last() {
        last.parse(found, |_| Instance::check_attrs(&attrs));
        if attrs.len() > MOST_ATTRS {
            let what = "etcd writes no more than 128 keys in one transaction";
            found.say(
                last,
                format!(
                    "{} attributes are more than {MOST_ATTRS}; {what}",
                    attrs.len()
                ),
            );
        }
    }
    attrs
}
