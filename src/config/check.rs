//! What the flags of a check mean: `tcp`, `http://:8080/healthz`, `exec:COMMAND`, and what goes with them.

use std::fmt;
use std::ops::RangeInclusive;

use super::input::{Found, RawChecks, Said};
use super::parse_duration;
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
mod tests;
