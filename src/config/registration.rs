//! The configuration of `sidekick register`: what it announces, and how.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::announcement::{Announcement, parse_address_specs, parse_announcement};
use super::docker::{Docker, parse_docker};
use super::input::{Problems, RawChecks, RawInstance, Setting};
use super::services::read_announcements;
use super::{Problem, parse_duration, stop};
use crate::cli;
use crate::model::prefix::Prefix;
use crate::model::stop::Stop;

/// The shortest TTL that etcd grants.
const SHORTEST_TTL: Duration = Duration::from_secs(2);

/// What one process announces, and the program that it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The instances: one from the command line, or those of the files.
    pub announcements: Vec<Announcement>,
    /// The file or directory that they come from, if it is not the command line. It is read again at SIGHUP.
    pub config: Option<PathBuf>,
    /// The engine whose containers are announced too.
    pub docker: Option<Docker>,
    /// The TTL of the leases: how long the keys stay after the process is gone.
    pub ttl: Duration,
    /// How long a stop waits for the watchers to apply the drain.
    pub drain: Duration,
    /// How the program is stopped.
    pub stop: Stop,
    /// The program and its arguments, if there is one.
    pub program: Option<(OsString, Vec<OsString>)>,
}

/// Reads the flags of `sidekick register`, and the files that they name. `prefix` is the path of the instances in the
/// store; it is `None` if it is wrong, which the caller has reported already.
pub fn read_registration(
    args: &cli::Register,
    prefix: Option<&Prefix>,
) -> Result<Registration, Vec<Problem>> {
    let mut found = Problems::default();
    let ttl = Setting::flag("--ttl", &args.ttl).parse(&mut found, parse_ttl);
    let stop = stop::parse_stop(&args.stop).map_err(|more| found.problems.extend(more));
    let drain = Setting::flag("--drain", &args.drain).parse(&mut found, parse_duration);
    let docker = args.docker.docker.is_some().then(|| {
        let ip = args.ip.as_ref().map(|text| Setting::flag("--ip", text));
        let host = ip
            .map(|ip| parse_address_specs(&ip, &mut found))
            .unwrap_or_default();
        parse_docker(&args.docker, host, &mut found)
    });
    let announced = if let Some(path) = &args.config {
        prefix.map_or(Err(Vec::new()), |prefix| read_announcements(path, prefix))
    } else if args.name.is_none() && docker.is_some() {
        Ok(Vec::new())
    } else {
        let one = parse_announcement(&settings_of_flags(args), &mut found);
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
            docker: docker.flatten(),
            ttl,
            drain,
            stop,
            program: command.map(|(program, args)| (program.clone(), args.to_vec())),
        }),
        (Some(_) | None, Some(_) | None, Ok(_) | Err(())) => Err(problems),
    }
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text)?;
    if ttl < SHORTEST_TTL {
        return Err(format!(
            "{text} is shorter than 2s, the shortest TTL of etcd"
        ));
    }
    if ttl.subsec_nanos() > 0 {
        return Err(format!(
            "{text} is not a whole number of seconds, as etcd requires"
        ));
    }
    Ok(ttl)
}

/// The settings on the command line.
fn settings_of_flags(args: &cli::Register) -> RawInstance {
    let setting = |flag: &str, text: &Option<String>| text.as_ref().map(|t| Setting::flag(flag, t));
    let is_set = |flag: &str, is_set: bool| is_set.then(|| Setting::flag(flag, ""));
    let port = |text: &String| match text.split_once('=') {
        None => (None, Setting::flag("--port", text)),
        Some((name, port)) => (
            Some(Setting::flag("--port", name)),
            Setting::flag("--port", port),
        ),
    };
    let attr = |text: &String| {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&**text, None),
        };
        let value = value.map(|value| Setting::flag("--attr", value));
        (Setting::flag("--attr", name), value)
    };
    RawInstance {
        name: setting("--name", &args.name),
        prefix: None,
        ports: args.port.iter().map(port).collect(),
        ip: setting("--ip", &args.ip),
        host: setting("--host", &args.host),
        id: setting("--id", &args.id),
        weight: setting("--weight", &args.weight),
        attrs: args.attr.iter().map(attr).collect(),
        take_over: is_set("--take-over", args.take_over),
        shared: is_set("--shared", args.shared),
        checks: settings_of_check_flags(&args.checks),
    }
}

fn settings_of_check_flags(args: &cli::CheckArgs) -> RawChecks {
    let of = |flag: &str, text: &String| Setting::flag(flag, text);
    // These flags have defaults, so they count only together with a check.
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
    use crate::config::announcement::MAX_ATTRS;
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
        read_registration(&args, None)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_and_a_port_are_enough() {
        let least = one("--name web --port 80");
        assert_eq!((least.ip, least.id), (vec![], IdSpec::HostAndPort));
        assert_eq!((least.prefix, least.ports.default_port()), (None, 80));
        let whole = parse("--name web --port 80").unwrap();
        assert_eq!((whole.ttl.as_secs(), whole.program), (15, None));
    }

    #[test]
    fn all_flags_are_read() {
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
    fn a_wrong_flag_is_one_problem() {
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
    fn more_attributes_than_one_transaction_takes_are_a_problem() {
        let flags = |count: usize| {
            let attrs: Vec<String> = (0..count).map(|n| format!(" --attr a{n}=v")).collect();
            format!("--name web --port 80{}", attrs.concat())
        };
        assert!(parse(&flags(MAX_ATTRS)).is_ok());
        let problems = parse(&flags(MAX_ATTRS + 1)).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].contains("128"),
            "{problems:?}"
        );
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let problems = parse("--name a/b --port x --ip y --ttl z").unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn containers_need_no_service_of_their_own() {
        let alone = parse("--docker").unwrap();
        assert_eq!(alone.announcements, []);
        let docker = alone.docker.unwrap();
        assert_eq!(docker.engine.to_string(), "unix:/var/run/docker.sock");
        assert_eq!((docker.grace.as_secs(), docker.ways.published), (60, false));
        let both = "--docker /a/b --docker-address published --ip 10.0.0.1 --name web --port 80";
        let both = parse(both).unwrap();
        assert_eq!(both.announcements.len(), 1);
        let docker = both.docker.unwrap();
        assert_eq!((docker.ways.host.len(), docker.ways.published), (1, true));
        assert_eq!(parse("--name web --port 80").unwrap().docker, None);
        let told = parse("--docker tcp://a:1 --docker-grace x").unwrap_err();
        assert!(told[0].starts_with("--docker: ") && told[1].starts_with("--docker-grace: "));
        for bad in [
            "--docker --name web",
            "--docker --port 80",
            "--docker-network a",
        ] {
            let line = format!("sidekick register {bad}");
            assert!(
                Cli::try_parse_from(line.split_whitespace()).is_err(),
                "{bad}"
            );
        }
    }
}
