//! The labels of a container: which services it announces, and where they are reached.
//!
//! `sidekick.name`, `sidekick.port` and so on tell of one service, `sidekick.KEY.name` and so on of a further one for each
//! KEY. Whoever starts a container has written them, so they may say less than a file of the host's operator: neither where
//! in the store the service lives, nor whose place it takes, nor what is run or asked on this host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Problem;
use super::announcement::{Announcement, IdSpec, parse_announcement};
use super::docker::ContainerWays;
use super::input::{Problems, RawInstance, Setting};
use crate::model::address::Spec;
use crate::model::container::{Binding, Container, LABEL_PREFIX};
use crate::model::instance::{InstanceId, Ports, parse_ip};
use crate::model::suggestion::did_you_mean;

/// The labels of a service. The last two have a name behind them.
const FIELDS: [&str; 7] = ["name", "port", "host", "id", "weight", "ports", "attrs"];
/// The label of a container.
const NETWORK: &str = "network";
/// As many services may one container announce.
const MOST_SERVICES: usize = 16;

/// What a container announces, either all of it or nothing.
pub fn read_labels(
    container: &Container,
    ways: &ContainerWays,
) -> Result<Vec<Announcement>, Vec<Problem>> {
    let mut found = Problems::default();
    let labels = Labels::read(container, &mut found);
    let mut all: Vec<Announcement> = Vec::new();
    for (key, raw) in &labels.services {
        let Some(one) = parse_service(key, raw, container, &mut found) else {
            continue;
        };
        match set_address(
            one,
            container,
            labels.network.or(ways.network.as_deref()),
            ways,
        ) {
            Ok(one) => all.push(one),
            Err(what) => found.problems.push(Problem::with(what)),
        }
    }
    if labels.services.is_empty() && found.problems.is_empty() {
        let what = format!("{LABEL_PREFIX}name is missing");
        found.problems.push(Problem::with(what));
    }
    if labels.services.len() > MOST_SERVICES {
        let what = format!("more than {MOST_SERVICES} services in one container");
        found.problems.push(Problem::with(what));
    }
    // Every service without an address says the same.
    found.problems.dedup();
    if found.problems.is_empty() {
        Ok(all)
    } else {
        Err(found.problems)
    }
}

/// What the labels say, by the key of the service; the one without a key has an empty one.
#[derive(Default)]
struct Labels<'a> {
    services: BTreeMap<&'a str, RawInstance>,
    network: Option<&'a str>,
}

impl<'a> Labels<'a> {
    fn read(container: &'a Container, found: &mut Problems<'_, '_>) -> Self {
        let mut labels = Self::default();
        for (label, value) in &container.labels {
            let Some(rest) = label.strip_prefix(LABEL_PREFIX) else {
                continue;
            };
            if rest == NETWORK {
                labels.network = Some(value);
            } else if let Err(hint) = labels.field(rest, label, value) {
                let mut problem = Problem::with(format!("{} is not known", shown(label)));
                problem.hint = hint;
                found.problems.push(problem);
            }
        }
        labels
    }

    /// Takes in a label of a service; what it was meant to be, if it is none.
    fn field(&mut self, rest: &'a str, label: &str, value: &str) -> Result<(), Option<String>> {
        let (first, behind) = split(rest);
        let (key, field, name) = if FIELDS.contains(&first) {
            ("", first, behind)
        } else {
            let (field, name) = split(behind.ok_or_else(|| hint(first))?);
            (first, field, name)
        };
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !key.bytes().all(is_key) || (key.is_empty() && first.is_empty()) {
            return Err(None);
        }
        if !FIELDS.contains(&field) || name.is_some() != ["ports", "attrs"].contains(&field) {
            return Err(hint(field));
        }
        let raw = self.services.entry(key).or_default();
        let setting = |text| Setting::flag(&shown(label), text);
        match (field, name) {
            ("name", _) => raw.name = Some(setting(value)),
            ("host", _) => raw.host = Some(setting(value)),
            ("id", _) => raw.id = Some(setting(value)),
            ("weight", _) => raw.weight = Some(setting(value)),
            ("attrs", Some(name)) => raw.attrs.push((setting(name), Some(setting(value)))),
            // `port`, or `ports` with a name behind it.
            (_, name) => raw.ports.push((name.map(setting), setting(value))),
        }
        Ok(())
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('.') {
        Some((first, behind)) => (first, Some(behind)),
        None => (text, None),
    }
}

fn hint(field: &str) -> Option<String> {
    did_you_mean(field, FIELDS.into_iter().chain([NETWORK]))
}

/// A label, short and on one line whatever is in it.
fn shown(label: &str) -> String {
    let head: String = label.chars().take(80).collect();
    let dots = if head.len() < label.len() { "…" } else { "" };
    format!("{}{dots}", head.escape_debug())
}

fn parse_service(
    key: &str,
    raw: &RawInstance,
    container: &Container,
    found: &mut Problems<'_, '_>,
) -> Option<Announcement> {
    let before = found.problems.len();
    let dot = if key.is_empty() { "" } else { "." };
    if raw.name.is_none() {
        let what = format!("{LABEL_PREFIX}{key}{dot}name is missing");
        found.problems.push(Problem::with(what));
    }
    if raw.ports.is_empty() {
        let what = format!("{LABEL_PREFIX}{key}{dot}port is missing");
        found.problems.push(Problem::with(what));
    }
    if let Some(id) = raw.id.as_ref().filter(|id| id.text == "uuid") {
        found.report(
            id,
            "a container has no random ids; without this label its own counts",
        );
    }
    let mut one = parse_announcement(raw, found)?;
    if one.host.is_none() && !container.is_on_host_network {
        one.host = container.hostname.parse().ok();
    }
    (found.problems.len() == before).then_some(one)
}

/// Where a service of a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// At this address.
    At(IpAddr),
    /// At the address of the host.
    OnHost,
}

/// The announcement with its address, and with the ports that lead there.
fn set_address(
    mut one: Announcement,
    container: &Container,
    network: Option<&str>,
    ways: &ContainerWays,
) -> Result<Announcement, String> {
    // The id is made from the container's own port: a published one is another after each start.
    if one.id == IdSpec::HostAndPort {
        let host = container.id.short().as_bytes();
        one.id = IdSpec::Given(InstanceId::of_host(host, one.ports.default_port()));
    }
    let reached = if container.is_on_host_network {
        Reached::OnHost
    } else if ways.published {
        let (ports, reached) = publish(&one.ports, container)?;
        one.ports = ports;
        // The name of the container means nothing to those outside of its host.
        one.host = one.host.filter(|host| host.as_str() != container.hostname);
        reached
    } else {
        Reached::At(address_in(network, container)?)
    };
    one.ip = match reached {
        Reached::At(ip) => {
            let ip = parse_ip(&ip.to_string()).map_err(|error| error.to_string())?;
            vec![Spec::Given(ip)]
        }
        Reached::OnHost => ways.host.clone(),
    };
    Ok(one)
}

fn address_in(network: Option<&str>, container: &Container) -> Result<IpAddr, String> {
    let networks = &container.networks;
    let names = || {
        let names = networks.keys().map(|name| shown(name));
        names.collect::<Vec<_>>().join(", ")
    };
    let hint = "name one with the label sidekick.network or with --docker-network";
    match (network, networks.iter().next()) {
        (_, None) => Err(
            "it has no address in any network; --docker-address published announces the host's"
                .to_owned(),
        ),
        (Some(name), Some(_)) => networks.get(name).copied().ok_or_else(|| {
            format!(
                "it has no address in the network {}, only in {}",
                shown(name),
                names()
            )
        }),
        (None, Some((_, ip))) if networks.len() == 1 => Ok(*ip),
        (None, Some(_)) => Err(format!("it is in several networks ({}); {hint}", names())),
    }
}

/// The published ports in place of the container's own.
fn publish(ports: &Ports, container: &Container) -> Result<(Ports, Reached), String> {
    let mut places = BTreeSet::new();
    let mut lookup = |port: u16| {
        let binding = binding(port, container)?;
        places.insert(binding.ip);
        Ok::<u16, String>(binding.port)
    };
    let main = ports.main().map(&mut lookup).transpose()?;
    let named = ports.named().iter();
    let named: Result<BTreeMap<_, _>, String> = named
        .map(|(name, port)| Ok((name.clone(), lookup(*port)?)))
        .collect();
    let published = Ports::new(main, named?).ok_or("it has no port")?;
    let mut places = places.into_iter();
    match (places.next(), places.next()) {
        (Some(ip), None) if ip.is_unspecified() => Ok((published, Reached::OnHost)),
        (Some(ip), None) => Ok((published, Reached::At(ip))),
        (_, _) => Err("its ports are published at different addresses".to_owned()),
    }
}

fn binding(port: u16, container: &Container) -> Result<Binding, String> {
    let bindings = container.published.get(&port).ok_or_else(|| {
        format!("port {port} is not published; docker run -p does that, and --docker-address internal needs it not")
    })?;
    // Of 0.0.0.0 and ::, the first one counts, whose port may be another than that of the second.
    let others = bindings.iter().find(|one| !one.ip.is_loopback());
    others.copied().ok_or_else(|| {
        format!("port {port} is published on a loopback address only, which no other host reaches")
    })
}

#[cfg(test)]
mod tests;
