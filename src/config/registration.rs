//! What `sidekick register` is to announce.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::announcement::{Announcement, announcement};
use super::input::{Found, Raw, RawChecks, Said};
use super::services::announcements;
use super::{Problem, parse_duration, stop};
use crate::cli;
use crate::model::prefix::Prefix;
use crate::model::stop::Stop;

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
    /// How the program is asked to end.
    pub stop: Stop,
    /// The program and its arguments.
    pub program: Option<(OsString, Vec<OsString>)>,
}

/// What the flags of `sidekick register` mean, and the configuration that they name; `prefix` is where instances live, if
/// that is known. Whoever looks for the store reports why it is not.
pub fn registration(
    args: &cli::Register,
    prefix: Option<&Prefix>,
) -> Result<Registration, Vec<Problem>> {
    let mut found = Found::default();
    let ttl = Said::flag("--ttl", &args.ttl).parse(&mut found, ttl);
    let stop = stop::stop(&args.stop).map_err(|more| found.problems.extend(more));
    let drain = Said::flag("--drain", &args.drain).parse(&mut found, parse_duration);
    let announced = if let Some(path) = &args.config {
        prefix.map_or(Err(Vec::new()), |prefix| announcements(path, prefix))
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
    match (ttl, drain, stop) {
        (Some(ttl), Some(drain), Ok(stop)) if problems.is_empty() => Ok(Registration {
            announcements,
            config: args.config.clone(),
            ttl,
            drain,
            stop,
            program: command.map(|(program, args)| (program.clone(), args.to_vec())),
        }),
        (Some(_) | None, Some(_) | None, Ok(_) | Err(())) => Err(problems),
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::IdSpec;
    use crate::config::announcement::MOST_ATTRS;
    use crate::model::address::Spec;

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
        registration(&args, None)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
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
