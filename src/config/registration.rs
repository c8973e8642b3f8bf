//! What `sidekick register` is to announce.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use super::check::checks;
use super::{Problem, parse_duration};
use crate::cli;
use crate::model::address::Spec;
use crate::model::check::Checks;
use crate::model::instance::{
    AttrName, AttrValue, HostName, Instance, InstanceId, PortName, Ports, ServiceName, parse_port,
    parse_weight,
};

/// The shortest TTL: etcd's own minimum.
const SHORTEST_TTL: Duration = Duration::from_secs(2);

/// An instance to announce, as far as it can be told without asking the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service.
    pub service: ServiceName,
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
    /// How long its keys outlive us.
    pub ttl: Duration,
    /// Its share of the load.
    pub weight: Option<u16>,
    /// Its further keys.
    pub attrs: BTreeMap<AttrName, AttrValue>,
    /// What it has to pass before it is announced; without checks it is healthy while its program runs.
    pub checks: Option<Checks>,
    /// How long the program may take to stop.
    pub stop_grace: Duration,
    /// The program and its arguments.
    pub program: Option<(OsString, Vec<OsString>)>,
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

/// What the flags of `sidekick register` mean.
pub fn registration(args: &cli::Register) -> Result<Registration, Vec<Problem>> {
    let mut found = Found(Vec::new());
    let service = found.take("--name", args.name.parse::<ServiceName>());
    let ports = ports(&args.port, &mut found);
    let ip = specs(args.ip.as_deref(), &mut found);
    let host = args
        .host
        .as_ref()
        .map(|text| found.take("--host", text.parse::<HostName>()));
    let id = match args.id.as_deref() {
        None => Some(IdSpec::HostAndPort),
        Some("uuid") => Some(IdSpec::Random),
        Some(text) => found.take("--id", text.parse()).map(IdSpec::Given),
    };
    let weight = args
        .weight
        .as_ref()
        .map(|text| found.take("--weight", parse_weight(text)));
    let attrs = attrs(&args.attr, &mut found);
    let ttl = ttl(&args.ttl, &mut found);
    let checks = checks(&args.checks, &mut found);
    let stop_grace = found.take("--stop-grace", parse_duration(&args.stop_grace));
    let program = args
        .command
        .split_first()
        .map(|(program, args)| (program.clone(), args.to_vec()));
    let ownership = match (args.take_over, args.shared) {
        (_, true) => Ownership::Shared,
        (true, false) => Ownership::TakeOver,
        (false, false) => Ownership::Sole,
    };
    let whole = (|| {
        Some(Registration {
            service: service?,
            ports: ports?,
            ip,
            host: host.flatten(),
            id: id?,
            ownership,
            ttl: ttl?,
            weight: weight.flatten(),
            attrs,
            checks,
            stop_grace: stop_grace?,
            program,
        })
    })();
    match whole {
        Some(registration) if found.0.is_empty() => Ok(registration),
        Some(_) | None => Err(found.0),
    }
}

/// What the argument of `sidekick ip` means.
pub fn addresses(text: Option<&str>) -> Result<Vec<Spec>, Vec<Problem>> {
    let mut found = Found(Vec::new());
    let specs = specs(text, &mut found);
    if found.0.is_empty() {
        Ok(specs)
    } else {
        Err(found.0)
    }
}

/// The problems found so far.
pub(super) struct Found(Vec<Problem>);

impl Found {
    /// The value, or a problem noted.
    pub(super) fn take<T, E: std::fmt::Display>(
        &mut self,
        flag: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        self.note(result.map_err(|error| Problem::with(format!("{flag}: {error}"))))
    }

    /// The value, or the problem noted.
    pub(super) fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }

    pub(super) fn say(&mut self, what: impl std::fmt::Display) {
        self.0.push(Problem::with(what));
    }
}

/// `--ip` is a list: the first spec that leads to an address wins.
fn specs(text: Option<&str>, found: &mut Found) -> Vec<Spec> {
    let specs = text.into_iter().flat_map(|text| text.split(','));
    specs
        .filter_map(|spec| found.take("--ip", spec.trim().parse()))
        .collect()
}

fn ports(texts: &[String], found: &mut Found) -> Option<Ports> {
    let (mut main, mut named) = (None, BTreeMap::new());
    for text in texts {
        match text.split_once('=') {
            None => {
                let port = found.take("--port", parse_port(text));
                if main.is_some() {
                    found.say(
                        "--port: there is one port without a name already; write NAME=PORT"
                            .to_owned(),
                    );
                }
                main = port.or(main);
            }
            Some((name, port)) => {
                let name = found.take("--port", port_name(name));
                let port = found.take("--port", parse_port(port));
                if let (Some(name), Some(port)) = (name, port)
                    && let Some(other) = named.insert(name.clone(), port)
                {
                    found.say(format!("--port: {name} is given twice, {other} and {port}"));
                }
            }
        }
    }
    Ports::new(main, named)
}

/// The key of a named port, `<name>-port`, has to be a segment too.
fn port_name(name: &str) -> Result<PortName, crate::model::instance::InvalidField> {
    format!("{name}-port").parse::<PortName>()?;
    name.parse()
}

fn attrs(texts: &[String], found: &mut Found) -> BTreeMap<AttrName, AttrValue> {
    let mut attrs = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            found.say(format!("--attr: {text:?} is not KEY=VALUE"));
            continue;
        };
        let value = found.take("--attr", AttrValue::parse(name, value));
        let name = found.take("--attr", name.parse::<AttrName>());
        if let (Some(name), Some(value)) = (name, value)
            && attrs.insert(name.clone(), value).is_some()
        {
            found.say(format!("--attr: {} is given twice", name.as_str()));
        }
    }
    found.take("--attr", Instance::check_attrs(&attrs));
    attrs
}

fn ttl(text: &str, found: &mut Found) -> Option<Duration> {
    let ttl = found.take("--ttl", parse_duration(text))?;
    if ttl < SHORTEST_TTL {
        found.say(format!(
            "--ttl: {text} is shorter than 2s, the shortest that etcd can do"
        ));
        return None;
    }
    if ttl.subsec_nanos() > 0 {
        found.say(format!(
            "--ttl: {text} is not a whole number of seconds, which is all that etcd can do"
        ));
        return None;
    }
    Some(ttl)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

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
        let least = parse("--name web --port 80").unwrap();
        assert_eq!(
            (least.ip, least.id, least.program),
            (vec![], IdSpec::HostAndPort, None)
        );
        assert_eq!((least.ttl.as_secs(), least.ports.default_port()), (15, 80));
    }

    #[test]
    fn the_most() {
        let most = parse(
            "--name web --port 80 --port http=81 --ip 2001:db8::1 --host a.b --id i --ttl 5s --attr a/b=c=d \
             --weight 0 -- echo --port",
        )
        .unwrap();
        assert_eq!(most.ip, [Spec::Given("2001:db8::1".parse().unwrap())]);
        assert_eq!(most.attrs.values().next().unwrap().as_str(), "c=d");
        assert_eq!(most.program, Some(("echo".into(), vec!["--port".into()])));
        assert_eq!((most.weight, most.ports.named().len()), (Some(0), 1));
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
            "--name web --port 80 --stop-grace x",
        ] {
            assert_eq!(parse(flags).unwrap_err().len(), 1, "{flags}");
        }
    }

    #[test]
    fn all_problems_at_once() {
        let problems = parse("--name a/b --port x --ip y --ttl z").unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
