//! What `sidekick register` is to announce.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::check::checks;
use super::raw::{Found, Raw, RawChecks, Said};
use super::services::announcements;
use super::{Problem, parse_duration};
use crate::cli;
use crate::model::address::Spec;
use crate::model::check::Checks;
use crate::model::instance::{
    AttrName, AttrValue, HostName, Instance, InstanceId, InvalidField, PortName, Ports,
    ServiceName, parse_port, parse_weight,
};
use crate::model::update::Prefix;

/// As many attributes as fit into one transaction beside the other keys of an instance.
const MOST_ATTRS: usize = 100;
/// The shortest TTL: etcd's own minimum.
const SHORTEST_TTL: Duration = Duration::from_secs(2);

/// What one process announces, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The instances: one from the command line, or those of a configuration.
    pub announcements: Vec<Announcement>,
    /// The file or directory they come from, to be read again at SIGHUP.
    pub config: Option<PathBuf>,
    /// How long their keys outlive us.
    pub ttl: Duration,
    /// How long a stop waits for those who watch.
    pub drain: Duration,
    /// How long the program may take to stop.
    pub stop_grace: Duration,
    /// The program and its arguments.
    pub program: Option<(OsString, Vec<OsString>)>,
}

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

/// What the flags of `sidekick register` mean, and the configuration that they name.
pub fn registration(args: &cli::Register) -> Result<Registration, Vec<Problem>> {
    let mut found = Found::default();
    let ttl = Said::flag("--ttl", &args.ttl).parse(&mut found, ttl);
    let grace = Said::flag("--stop-grace", &args.stop_grace);
    let stop_grace = grace.parse(&mut found, parse_duration);
    let drain = Said::flag("--drain", &args.drain).parse(&mut found, parse_duration);
    let announced = if let Some(path) = &args.config {
        // What is wrong with the prefix is told by those who look for the store.
        let prefix = Prefix::parse(&args.store.prefix).map_err(|_| Vec::new());
        prefix.and_then(|prefix| announcements(path, &prefix))
    } else {
        let one = announcement(&flags(args), &mut found);
        Ok(one.into_iter().collect())
    };
    let mut problems = found.problems;
    let announcements = announced.unwrap_or_else(|more| {
        problems.extend(more);
        Vec::new()
    });
    let command = args.command.split_first();
    match (ttl, drain, stop_grace) {
        (Some(ttl), Some(drain), Some(stop_grace)) if problems.is_empty() => Ok(Registration {
            announcements,
            config: args.config.clone(),
            ttl,
            drain,
            stop_grace,
            program: command.map(|(program, args)| (program.clone(), args.to_vec())),
        }),
        (Some(_) | None, Some(_) | None, Some(_) | None) => Err(problems),
    }
}

/// What was said on the command line.
fn flags(args: &cli::Register) -> Raw {
    let said = |flag: &str, text: &Option<String>| text.as_ref().map(|t| Said::flag(flag, t));
    let is_set = |flag: &str, is_set: bool| is_set.then(|| Said::flag(flag, ""));
    let port = |text: &String| match text.split_once('=') {
        None => (None, Said::flag("--port", text)),
        Some((name, port)) => (Some(Said::flag("--port", name)), Said::flag("--port", port)),
    };
    let attr = |text: &String| {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&**text, None),
        };
        let value = value.map(|value| Said::flag("--attr", value));
        (Said::flag("--attr", name), value)
    };
    Raw {
        name: said("--name", &args.name),
        prefix: None,
        ports: args.port.iter().map(port).collect(),
        ip: said("--ip", &args.ip),
        host: said("--host", &args.host),
        id: said("--id", &args.id),
        weight: said("--weight", &args.weight),
        attrs: args.attr.iter().map(attr).collect(),
        take_over: is_set("--take-over", args.take_over),
        shared: is_set("--shared", args.shared),
        checks: check_flags(&args.checks),
    }
}

fn check_flags(args: &cli::CheckArgs) -> RawChecks {
    let of = |flag: &str, text: &String| Said::flag(flag, text);
    // The others have defaults, which say nothing.
    let given = |flag, text| (!args.check.is_empty()).then(|| of(flag, text));
    let each = |flag, texts: &[String]| texts.iter().map(|text| of(flag, text)).collect();
    RawChecks {
        list: each("--check", &args.check),
        interval: given("--check-interval", &args.check_interval),
        timeout: given("--check-timeout", &args.check_timeout),
        rise: given("--rise", &args.rise),
        fall: given("--fall", &args.fall),
        status: given("--check-status", &args.check_status)
            .filter(|said| said.text != cli::CHECK_STATUS),
        headers: each("--check-header", &args.check_header),
        body: args
            .check_body
            .as_ref()
            .map(|text| of("--check-body", text)),
    }
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

/// What the arguments of `sidekick drain` and `undrain` mean: the instance, and how long to wait.
pub fn mark(args: &cli::Mark) -> Result<(ServiceName, InstanceId, Option<Duration>), Vec<Problem>> {
    let mut found = Found::default();
    let service = Said::flag("SERVICE", &args.service).parse(&mut found, str::parse);
    let id = Said::flag("ID", &args.id).parse(&mut found, str::parse);
    let wait = Said::flag("--wait", &args.wait).parse(&mut found, parse_duration);
    match (service, id, wait) {
        (Some(service), Some(id), Some(wait)) => Ok((service, id, (!args.no_wait).then_some(wait))),
        (Some(_) | None, Some(_) | None, Some(_) | None) => Err(found.problems),
    }
}

/// What the argument of `sidekick status` means.
pub fn service(text: &str) -> Result<ServiceName, Vec<Problem>> {
    let mut found = Found::default();
    let service = Said::flag("SERVICE", text).parse(&mut found, str::parse);
    service.ok_or(found.problems)
}

/// What the argument of `sidekick ip` means.
pub fn addresses(text: Option<&str>) -> Result<Vec<Spec>, Vec<Problem>> {
    let mut found = Found::default();
    let said = text.map(|text| Said::flag("--ip", text));
    let specs = said.map(|said| specs(&said, &mut found));
    if found.problems.is_empty() {
        Ok(specs.unwrap_or_default())
    } else {
        Err(found.problems)
    }
}

/// It is a list: the first spec that leads to an address wins.
fn specs(said: &Said, found: &mut Found<'_, '_>) -> Vec<Spec> {
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

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text)?;
    if ttl < SHORTEST_TTL {
        return Err(format!(
            "{text} is shorter than 2s, the shortest that etcd can do"
        ));
    }
    if ttl.subsec_nanos() > 0 {
        return Err(format!(
            "{text} is not a whole number of seconds, which is all that etcd can do"
        ));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn one(flags: &str) -> Announcement {
        let mut all = parse(flags).unwrap().announcements;
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn parse(flags: &str) -> Result<Registration, Vec<String>> {
        let line = ["sidekick", "register"]
            .into_iter()
            .chain(flags.split_whitespace());
        let Command::Register(args) = Cli::try_parse_from(line).unwrap().command else {
            unreachable!("register was typed");
        };
        registration(&args).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_least() {
        let least = one("--name web --port 80");
        assert_eq!((least.ip, least.id), (vec![], IdSpec::HostAndPort));
        assert_eq!((least.prefix, least.ports.default_port()), (None, 80));
        let whole = parse("--name web --port 80").unwrap();
        assert_eq!((whole.ttl.as_secs(), whole.program), (15, None));
    }

    #[test]
    fn the_most() {
        let flags = "--name web --port 80 --port http=81 --ip 2001:db8::1 --host a.b --id i --ttl 5s --attr a/b=c=d \
             --weight 0 -- echo --port";
        let most = one(flags);
        assert_eq!(most.ip, [Spec::Given("2001:db8::1".parse().unwrap())]);
        assert_eq!(most.attrs.values().next().unwrap().as_str(), "c=d");
        assert_eq!((most.weight, most.ports.named().len()), (Some(0), 1));
        let program = parse(flags).unwrap().program;
        assert_eq!(program, Some(("echo".into(), vec!["--port".into()])));
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for flags in [
            "--name a/b --port 80",
            "--name web --port 0",
            "--name web --port 80 --port 81",
            "--name web --port a=1 --port a=2",
            "--name web --port 80 --ip 0.0.0.0",
            "--name web --port 80 --ip 169.254.1.1",
            "--name web --port 80 --ip eth0",
            "--name web --port 80 --host a_b",
            "--name web --port 80 --id .a",
            "--name web --port 80 --ttl 1s",
            "--name web --port 80 --ttl 2500ms",
            "--name web --port 80 --ttl 15",
            "--name web --port 80 --attr a",
            "--name web --port 80 --attr ip=1",
            "--name web --port 80 --attr a=1 --attr a=2",
            "--name web --port 80 --attr a=1 --attr a/b=2",
            "--name web --port 80 --weight 257",
            "--name web --port 80 --shared --id uuid",
            "--name web --port 80 --stop-grace x",
        ] {
            assert_eq!(parse(flags).unwrap_err().len(), 1, "{flags}");
        }
    }

    #[test]
    fn as_many_attributes_as_one_transaction_takes() {
        let flags = |count: usize| {
            let attrs: Vec<String> = (0..count).map(|n| format!(" --attr a{n}=v")).collect();
            format!("--name web --port 80{}", attrs.concat())
        };
        assert!(parse(&flags(MOST_ATTRS)).is_ok());
        let problems = parse(&flags(MOST_ATTRS + 1)).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].contains("128"),
            "{problems:?}"
        );
    }

    #[test]
    fn all_problems_at_once() {
        let problems = parse("--name a/b --port x --ip y --ttl z").unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
