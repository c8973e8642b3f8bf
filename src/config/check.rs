//! What the flags of a check mean: `tcp`, `http://:8080/healthz`, `exec:COMMAND`, and what goes with them.

use std::fmt;
use std::ops::RangeInclusive;

use super::parse_duration;
use super::raw::{Found, RawChecks, Said};
use crate::cli;
use crate::model::check::{At, Check, Checks, HttpCheck, Thresholds};
use crate::model::instance::parse_port;

/// The headers that only the client itself can set.
const OWN_HEADERS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// The checks, if there are any.
pub(super) fn checks(raw: &RawChecks, found: &mut Found<'_, '_>) -> Option<Checks> {
    let status = raw.status.as_ref().map(|said| said.parse(found, statuses));
    let headers = raw.headers.iter();
    let headers: Vec<(String, String)> = headers
        .filter_map(|said| said.parse(found, header))
        .collect();
    if let Some(body) = raw.body.as_ref().filter(|said| said.text.is_empty()) {
        found.say(body, "every body holds the empty text");
    }
    let mut list: Vec<Check> = Vec::new();
    for said in &raw.list {
        match check(&said.text) {
            Ok(check) => list.push(check),
            Err(Wrong { what, hint }) => {
                found.note(said, format!("{:?}: {what}", said.text), hint);
            }
        }
    }
    for check in &mut list {
        if let Check::Http(http) = check {
            http.status = status.clone().flatten().unwrap_or(http.status.clone());
            http.headers.clone_from(&headers);
            http.body = raw.body.as_ref().map(|said| said.text.clone());
        }
    }
    require_checks(raw, found);
    let interval = or(raw.interval.as_ref(), cli::CHECK_INTERVAL).parse(found, time);
    let timeout = or(raw.timeout.as_ref(), cli::CHECK_TIMEOUT).parse(found, time);
    let rise = or(raw.rise.as_ref(), cli::RISE).parse(found, threshold);
    let fall = or(raw.fall.as_ref(), cli::FALL).parse(found, threshold);
    if list.is_empty() {
        return None;
    }
    Some(Checks {
        list,
        timeout: timeout?,
        thresholds: Thresholds {
            interval: interval?,
            rise: rise?,
            fall: fall?,
        },
    })
}

/// What was said, or the default.
fn or(said: Option<&Said>, default: &str) -> Said {
    said.map_or_else(|| Said::flag("the default", default), Clone::clone)
}

/// What is said of checks needs one, and what is said of answers needs one that has an answer.
fn require_checks(raw: &RawChecks, found: &mut Found<'_, '_>) {
    let has_http = raw.list.iter().any(|said| said.text.starts_with("http"));
    let of_http = [&raw.status, &raw.body].into_iter().flatten();
    for said in of_http.chain(raw.headers.first()).filter(|_| !has_http) {
        found.say(said, "it has a meaning with an http check only");
    }
    let of_all = [&raw.interval, &raw.timeout, &raw.rise, &raw.fall];
    let has_any = !raw.list.is_empty();
    for said in of_all.into_iter().flatten().filter(|_| !has_any) {
        found.say(said, "it has a meaning with a check only");
    }
}

fn time(text: &str) -> Result<std::time::Duration, String> {
    match parse_duration(text)? {
        std::time::Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

fn threshold(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 1..=1000) => Ok(number),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number from 1 to 1000")),
    }
}

/// Why a text is no check, and what to do about it.
struct Wrong {
    what: String,
    hint: Option<&'static str>,
}

impl<T: fmt::Display> From<T> for Wrong {
    fn from(what: T) -> Self {
        Self {
            what: what.to_string(),
            hint: None,
        }
    }
}

fn check(text: &str) -> Result<Check, Wrong> {
    let hint = |what: &str, hint| {
        Err(Wrong {
            what: what.to_owned(),
            hint: Some(hint),
        })
    };
    match text.split_once(':') {
        None if text == "tcp" => Ok(Check::Tcp(At::default())),
        Some(("tcp", at)) => Ok(Check::Tcp(at_port(at)?)),
        Some(("exec", command)) if command.trim().is_empty() => Err("there is no command".into()),
        Some(("exec", command)) if command.contains('\0') => Err("it holds a NUL".into()),
        Some(("exec", command)) => Ok(Check::Exec(command.to_owned())),
        Some(("http", rest)) => Ok(Check::Http(http(rest)?)),
        Some(("https", _)) => hint(
            "https is not spoken here",
            "let a program speak it: 'exec:curl -fsS -o /dev/null https://...'",
        ),
        None | Some(_) => hint(
            "it is no check",
            "write tcp, tcp:PORT, tcp:HOST:PORT, http://:PORT/PATH or exec:COMMAND",
        ),
    }
}

/// `PORT` or `HOST:PORT`.
fn at_port(text: &str) -> Result<At, String> {
    let (host, port) = match text.rsplit_once(':') {
        None => (None, text),
        Some((host, port)) => (Some(self::host(host)?), port),
    };
    let port = Some(parse_port(port).map_err(|error| error.to_string())?);
    Ok(At { host, port })
}

/// A name, an address, or a v6 address in brackets; the brackets go.
fn host(text: &str) -> Result<String, String> {
    if let Some(v6) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let parsed = v6.parse::<std::net::Ipv6Addr>();
        return parsed
            .map(|v6| v6.to_string())
            .map_err(|_| format!("{v6:?} is no IPv6 address"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() || !text.chars().all(is_name) {
        return Err(format!(
            "{text:?} is no host; a v6 address stands in brackets"
        ));
    }
    Ok(text.to_owned())
}

/// A page: `http://HOST:PORT/PATH`.
pub(super) fn page(text: &str) -> Result<HttpCheck, String> {
    let rest = text.strip_prefix("http:");
    let page = http(rest.ok_or("write http://HOST:PORT/PATH")?)?;
    match page.at.host {
        Some(_) => Ok(page),
        None => Err("the host is missing: write http://127.0.0.1:PORT/PATH".to_owned()),
    }
}

/// What follows `http:`.
fn http(rest: &str) -> Result<HttpCheck, String> {
    let rest = rest.strip_prefix("//").ok_or("write http://:PORT/PATH")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    if place.contains('@') {
        return Err("a check has no user; give it a header 'Authorization: ...'".to_owned());
    }
    if path.contains('#') || !path.chars().all(|c| c.is_ascii_graphic()) {
        return Err("a path is of visible ASCII characters, without #".to_owned());
    }
    let at = match place {
        "" => At::default(),
        // A port without a host is one of the instance.
        _ if place.starts_with(':') => at_port(&place[1..])?,
        _ if place.ends_with(']') || !place.contains(':') => At {
            host: Some(host(place)?),
            port: Some(80),
        },
        _ => at_port(place)?,
    };
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok(HttpCheck {
        at,
        path,
        headers: Vec::new(),
        status: 200..=399,
        body: None,
    })
}

/// `200` or `200-399`.
fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| match text.parse() {
        Ok(status @ 100..=599) if text.len() == 3 => Some(status),
        Ok(_) | Err(_) => None,
    };
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(_) | None, Some(_) | None) => {
            Err(format!("{text:?} is not a status such as 200, or 200-399"))
        }
    }
}

/// `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let bad = || format!("{text:?} is not a header such as 'Host: www.example.org'");
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    let value = value.trim_matches([' ', '\t']);
    let in_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let in_value = |c: char| c.is_ascii_graphic() || c == ' ' || c == '\t';
    if name.is_empty() || !name.chars().all(in_name) {
        return Err(bad());
    }
    // It may be a secret, so it is not repeated.
    if !value.chars().all(in_value) {
        return Err(format!(
            "the value of {name} is not of visible ASCII characters"
        ));
    }
    if OWN_HEADERS.contains(&&*name.to_ascii_lowercase()) {
        return Err(format!(
            "{name} cannot be set; each check has a connection of its own"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::registration;

    fn parse(flags: &[&str]) -> Result<Option<Checks>, Vec<String>> {
        let least = ["sidekick", "register", "--name", "web", "--port", "80"];
        let line = least.iter().chain(flags);
        let Command::Register(args) = Cli::try_parse_from(line).unwrap().command else {
            unreachable!("register was typed");
        };
        let registration = registration(&args).map(|mut all| all.announcements.remove(0).checks);
        registration.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn at(host: &str, port: u16) -> At {
        At {
            host: Some(host).filter(|host| !host.is_empty()).map(Into::into),
            port: Some(port).filter(|port| *port > 0),
        }
    }

    #[test]
    fn places() {
        for (text, want) in [
            ("tcp", at("", 0)),
            ("tcp:81", at("", 81)),
            ("tcp:db-1.example:81", at("db-1.example", 81)),
            ("tcp:[2001:db8::1]:81", at("2001:db8::1", 81)),
        ] {
            let want = Check::Tcp(want);
            assert_eq!(parse(&["--check", text]).unwrap().unwrap().list, [want]);
        }
        for (text, want, path) in [
            ("http://:81/healthz", at("", 81), "/healthz"),
            ("http:///healthz", at("", 0), "/healthz"),
            ("http://:81", at("", 81), "/"),
            ("http://:81?a=b", at("", 81), "/?a=b"),
            ("http://a/x?y=http://z", at("a", 80), "/x?y=http://z"),
            ("http://a:81/", at("a", 81), "/"),
            ("http://[::1]/", at("::1", 80), "/"),
            ("http://[::1]:81/", at("::1", 81), "/"),
        ] {
            let checks = parse(&["--check", text]).unwrap().unwrap();
            let [Check::Http(http)] = &checks.list[..] else {
                panic!("{text}: {checks:?}");
            };
            assert_eq!((&http.at, &*http.path), (&want, path), "{text}");
        }
        let exec = parse(&["--check", "exec:test -e /a:b"]).unwrap().unwrap();
        assert_eq!(exec.list, [Check::Exec("test -e /a:b".to_owned())]);
    }

    #[test]
    fn the_least_and_the_most() {
        assert_eq!(parse(&[]), Ok(None));
        let least = parse(&["--check", "tcp"]).unwrap().unwrap();
        let thresholds = Thresholds {
            interval: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        };
        assert_eq!(least.thresholds, thresholds);
        assert_eq!(least.timeout, Duration::from_secs(1));
        let most = [
            "--check=http://:1/",
            "--check=tcp",
            "--check-interval=5s",
            "--check-timeout=3s",
            "--rise=1",
            "--fall=9",
            "--check-status=204",
            "--check-header=Host: a",
            "--check-header=X-A:\tb c ",
            "--check-body=all well",
        ];
        let most = parse(&most).unwrap().unwrap();
        assert_eq!((most.thresholds.rise, most.thresholds.fall), (1, 9));
        let [Check::Http(http), Check::Tcp(_)] = &most.list[..] else {
            panic!("{most:?}");
        };
        assert_eq!(
            (&http.status, http.body.as_deref()),
            (&(204..=204), Some("all well"))
        );
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(http.headers, [header("Host", "a"), header("X-A", "b c")]);
    }

    #[test]
    fn what_is_no_check_is_refused() {
        for text in [
            "",
            "udp",
            "tcp:",
            "tcp:0",
            "tcp:a",
            "tcp:a:",
            "tcp::80",
            "tcp:::1:80",
            "tcp:a b:80",
            "tcp://a:80",
            "exec:",
            "exec: ",
            "http",
            "http:",
            "http:/x",
            "http::80/",
            "http://:x/",
            "http://:0/",
            "http://u@a/",
            "http://a b/",
            "http://:80/ü",
            "http://:80/#a",
            "http://:80/a b",
            "https://:443/",
            "HTTP://:80/",
        ] {
            let problems = parse(&["--check", text]).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        }
    }

    #[test]
    fn what_goes_with_a_check_is_refused_if_it_is_wrong() {
        let http = "--check=http://:80/";
        for flags in [
            [http, "--check-interval=0s"],
            [http, "--check-timeout=1"],
            [http, "--rise=0"],
            [http, "--fall=x"],
            [http, "--fall=1001"],
            [http, "--check-status=99"],
            [http, "--check-status=399-200"],
            [http, "--check-status=0200"],
            [http, "--check-status=2xx"],
            [http, "--check-header=Host"],
            [http, "--check-header=: a"],
            [http, "--check-header=A b: c"],
            [http, "--check-header=A: b\r\nC: d"],
            [http, "--check-header=Connection: keep-alive"],
            [http, "--check-body="],
            ["--check=tcp", "--check-status=204"],
            ["--check=tcp", "--check-header=A: b"],
            ["--check=exec:true", "--check-body=a"],
        ] {
            let problems = parse(&flags).unwrap_err();
            assert_eq!(problems.len(), 1, "{flags:?}: {problems:?}");
        }
    }

    #[test]
    fn what_goes_with_a_check_needs_one() {
        for flag in [
            "--check-interval=1s",
            "--check-timeout=1s",
            "--rise=1",
            "--fall=1",
            "--check-status=200",
        ] {
            let line = [
                "sidekick", "register", "--name", "web", "--port", "80", flag,
            ];
            assert!(Cli::try_parse_from(line).is_err(), "{flag}");
        }
    }
}
