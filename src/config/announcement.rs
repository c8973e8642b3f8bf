//! An instance to announce: its settings from flags or a file are checked and parsed here.

use std::collections::BTreeMap;

use super::check::parse_checks;
use super::input::{Problems, RawInstance, Setting};
use crate::model::address::Spec;
use crate::model::check::Checks;
use crate::model::instance::{
    AttrName, AttrValue, HostName, Instance, InstanceId, InvalidField, PortName, Ports,
    ServiceName, parse_port, parse_weight,
};
use crate::model::prefix::Prefix;

/// The most attributes that fit into one transaction of etcd beside the other keys of an instance.
pub(super) const MAX_ATTRS: usize = 100;

/// An instance to announce, as configured; nothing is taken from the host yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The service.
    pub service: ServiceName,
    /// Its own path in the store, if it has one; otherwise that of the process.
    pub prefix: Option<Prefix>,
    /// Its ports.
    pub ports: Ports,
    /// The ways to find its address, in the order in which they are tried; empty if none was given.
    pub ip: Vec<Spec>,
    /// Its host name; this host's own if none was given.
    pub host: Option<HostName>,
    /// Its id.
    pub id: IdSpec,
    /// What happens if another owner has the same id.
    pub ownership: Ownership,
    /// Its share of the load, 0 to 256.
    pub weight: Option<u16>,
    /// Its further keys.
    pub attrs: BTreeMap<AttrName, AttrValue>,
    /// The checks that it has to pass; without checks it is healthy while its program runs.
    pub checks: Option<Checks>,
}

/// What happens if another living owner has announced the same id at another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// `register` waits for the other to go for one TTL, and then gives up.
    Sole,
    /// `register` takes the other's place.
    TakeOver,
    /// Both announce the id, on one lease.
    Shared,
}

/// Where the id comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSpec {
    /// From the configuration.
    Given(InstanceId),
    /// A random UUID.
    Random,
    /// From the host's name and the port.
    HostAndPort,
}

/// Parses the settings of one instance. `None` if a required one is missing or wrong; problems are reported to `found`.
pub(super) fn parse_announcement(
    raw: &RawInstance,
    found: &mut Problems<'_, '_>,
) -> Option<Announcement> {
    let service = raw.name.as_ref();
    let service = service.and_then(|name| name.parse(found, str::parse::<ServiceName>));
    let prefix = parse_optional(raw.prefix.as_ref(), found, Prefix::parse);
    let ports = parse_ports(&raw.ports, found);
    let ip = raw.ip.as_ref().map(|said| parse_address_specs(said, found));
    let host = parse_optional(raw.host.as_ref(), found, str::parse::<HostName>);
    let id = parse_id(raw, found);
    let weight = parse_optional(raw.weight.as_ref(), found, parse_weight);
    let attrs = parse_attrs(&raw.attrs, found);
    let checks = parse_checks(&raw.checks, found);
    let ownership = parse_ownership(raw, found);
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

/// The setting is wrong, and the problem is reported.
struct Reported;

/// Parses a setting that may be absent.
fn parse_optional<T, E: std::fmt::Display>(
    said: Option<&Setting>,
    found: &mut Problems<'_, '_>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Reported> {
    match said {
        None => Ok(None),
        Some(said) => said.parse(found, parse).map(Some).ok_or(Reported),
    }
}

fn parse_id(raw: &RawInstance, found: &mut Problems<'_, '_>) -> Option<IdSpec> {
    match &raw.id {
        None => Some(IdSpec::HostAndPort),
        Some(said) if said.text == "uuid" => Some(IdSpec::Random),
        Some(said) => said.parse(found, str::parse).map(IdSpec::Given),
    }
}

fn parse_ownership(raw: &RawInstance, found: &mut Problems<'_, '_>) -> Ownership {
    match (&raw.shared, &raw.take_over) {
        (Some(shared), take_over) => {
            if take_over.is_some() {
                found.report(shared, "an instance cannot be shared and take over");
            }
            if raw.id.as_ref().is_none_or(|id| id.text == "uuid") {
                found.report(
                    shared,
                    "a shared instance needs an id, the same in all processes",
                );
            }
            Ownership::Shared
        }
        (None, Some(_)) => Ownership::TakeOver,
        (None, None) => Ownership::Sole,
    }
}

/// Parses the ways to find an address, separated by commas.
pub(super) fn parse_address_specs(said: &Setting, found: &mut Problems<'_, '_>) -> Vec<Spec> {
    let specs = said.text.split(',');
    let specs = specs.filter_map(|spec| said.parse(found, |_| spec.trim().parse()));
    let mut specs: Vec<Spec> = specs.collect();
    // A list that has grown has room for four, and ten thousand instances have one each.
    specs.shrink_to_fit();
    specs
}

fn parse_ports(all: &[(Option<Setting>, Setting)], found: &mut Problems<'_, '_>) -> Option<Ports> {
    let (mut main, mut named) = (None, BTreeMap::new());
    for (name, said) in all {
        let port = said.parse(found, parse_port);
        match name {
            None => {
                if main.is_some() {
                    found.report(
                        said,
                        "there is one port without a name already; write NAME=PORT",
                    );
                }
                main = port.or(main);
            }
            Some(name) => {
                let key = name.parse(found, parse_port_name);
                if let (Some(key), Some(port)) = (key, port)
                    && let Some(other) = named.insert(key.clone(), port)
                {
                    found.report(name, format!("{key} is given twice, {other} and {port}"));
                }
            }
        }
    }
    Ports::new(main, named)
}

/// Parses the name of a port. Its key in the store, `<name>-port`, has to be valid, too.
fn parse_port_name(name: &str) -> Result<PortName, InvalidField> {
    format!("{name}-port").parse::<PortName>()?;
    name.parse()
}

fn parse_attrs(
    all: &[(Setting, Option<Setting>)],
    found: &mut Problems<'_, '_>,
) -> BTreeMap<AttrName, AttrValue> {
    let mut attrs = BTreeMap::new();
    for (name, value) in all {
        let Some(value) = value else {
            found.report(name, format!("{:?} is not KEY=VALUE", name.text));
            continue;
        };
        let key = name.parse(found, str::parse::<AttrName>);
        let value = value.parse(found, |text| AttrValue::parse(&name.text, text));
        if let (Some(key), Some(value)) = (key, value)
            && attrs.insert(key, value).is_some()
        {
            found.report(name, format!("{} is given twice", name.text));
        }
    }
    if let Some((last, _)) = all.last() {
        last.parse(found, |_| Instance::check_attrs(&attrs));
        if attrs.len() > MAX_ATTRS {
            let what = "etcd writes no more than 128 keys in one transaction";
            found.report(
                last,
                format!(
                    "{} attributes are more than {MAX_ATTRS}; {what}",
                    attrs.len()
                ),
            );
        }
    }
    attrs
}
