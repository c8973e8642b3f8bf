//! The settings of health checks: `tcp`, `http://:8080/healthz`, `exec:COMMAND`, their times, and what an answer has to be.

use std::fmt;
use std::ops::RangeInclusive;

use super::duration::parse_positive_duration;
use super::input::{Problems, RawChecks, Setting};
use crate::cli;
use crate::model::check::{At, Check, Checks, HttpCheck, Thresholds};
use crate::model::instance::parse_port;

/// The headers that the HTTP client sets itself.
const OWN_HEADERS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// Parses the checks of an instance; `None` if it has none.
pub(super) fn parse_checks(raw: &RawChecks, found: &mut Problems<'_, '_>) -> Option<Checks> {
    let status = raw
        .status
        .as_ref()
        .map(|said| said.parse(found, parse_statuses));
    let headers = raw.headers.iter();
    let headers: Vec<(String, String)> = headers
        .filter_map(|said| said.parse(found, parse_header))
        .collect();
    if let Some(body) = raw.body.as_ref().filter(|said| said.text.is_empty()) {
        found.report(body, "every body contains the empty text");
    }
    let mut list: Vec<Check> = Vec::new();
    for said in &raw.list {
        match parse_check(&said.text) {
            Ok(check) => list.push(check),
            Err(BadCheck { what, hint }) => {
                found.report_with_hint(said, format!("{:?}: {what}", said.text), hint);
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
    let interval = or_default(raw.interval.as_ref(), cli::CHECK_INTERVAL)
        .parse(found, parse_positive_duration);
    let timeout =
        or_default(raw.timeout.as_ref(), cli::CHECK_TIMEOUT).parse(found, parse_positive_duration);
    let rise = or_default(raw.rise.as_ref(), cli::RISE).parse(found, parse_threshold);
    let fall = or_default(raw.fall.as_ref(), cli::FALL).parse(found, parse_threshold);
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

/// The setting, or the default.
fn or_default(said: Option<&Setting>, default: &str) -> Setting {
    said.map_or_else(|| Setting::flag("the default", default), Clone::clone)
}

/// Reports settings of checks if there is no check, and settings of answers if there is no HTTP check.
fn require_checks(raw: &RawChecks, found: &mut Problems<'_, '_>) {
    let has_http = raw.list.iter().any(|said| said.text.starts_with("http"));
    let of_http = [&raw.status, &raw.body].into_iter().flatten();
    for said in of_http.chain(raw.headers.first()).filter(|_| !has_http) {
        found.report(said, "it has an effect with an http check only");
    }
    let of_all = [&raw.interval, &raw.timeout, &raw.rise, &raw.fall];
    let has_any = !raw.list.is_empty();
    for said in of_all.into_iter().flatten().filter(|_| !has_any) {
        found.report(said, "it has an effect with a check only");
    }
}

fn parse_threshold(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 1..=1000) => Ok(number),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number from 1 to 1000")),
    }
}

/// Why a text is not a check, and what to do about it.
struct BadCheck {
    what: String,
    hint: Option<&'static str>,
}

impl<T: fmt::Display> From<T> for BadCheck {
    fn from(what: T) -> Self {
        Self {
            what: what.to_string(),
            hint: None,
        }
    }
}

fn parse_check(text: &str) -> Result<Check, BadCheck> {
    let hint = |what: &str, hint| {
        Err(BadCheck {
            what: what.to_owned(),
            hint: Some(hint),
        })
    };
    match text.split_once(':') {
        None if text == "tcp" => Ok(Check::Tcp(At::default())),
        Some(("tcp", at)) => Ok(Check::Tcp(parse_at(at)?)),
        Some(("exec", command)) if command.trim().is_empty() => Err("there is no command".into()),
        Some(("exec", command)) if command.contains('\0') => Err("it holds a NUL".into()),
        Some(("exec", command)) => Ok(Check::Exec(command.to_owned())),
        Some(("http", rest)) => Ok(Check::Http(parse_http(rest)?)),
        Some(("https", _)) => hint(
            "sidekick has no https check",
            "let a program check it: 'exec:curl -fsS -o /dev/null https://...'",
        ),
        None | Some(_) => hint(
            "it is not a check",
            "write tcp, tcp:PORT, tcp:HOST:PORT, http://:PORT/PATH or exec:COMMAND",
        ),
    }
}

/// Parses `PORT` or `HOST:PORT`.
fn parse_at(text: &str) -> Result<At, String> {
    let (host, port) = match text.rsplit_once(':') {
        None => (None, text),
        Some((host, port)) => (Some(parse_host(host)?), port),
    };
    let port = Some(parse_port(port).map_err(|error| error.to_string())?);
    Ok(At { host, port })
}

/// Parses a name, an IPv4 address, or an IPv6 address in brackets; the brackets are taken off.
fn parse_host(text: &str) -> Result<String, String> {
    if let Some(v6) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let parsed = v6.parse::<std::net::Ipv6Addr>();
        return parsed
            .map(|v6| v6.to_string())
            .map_err(|_| format!("{v6:?} is not an IPv6 address"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() || !text.chars().all(is_name) {
        return Err(format!(
            "{text:?} is not a host; an IPv6 address has to stand in brackets"
        ));
    }
    Ok(text.to_owned())
}

/// Parses `http://HOST:PORT/PATH`, the URL of the page that shows a generation.
pub(super) fn parse_page(text: &str) -> Result<HttpCheck, String> {
    let rest = text.strip_prefix("http:");
    let page = parse_http(rest.ok_or("write http://HOST:PORT/PATH")?)?;
    match page.at.host {
        Some(_) => Ok(page),
        None => Err("the host is missing: write http://127.0.0.1:PORT/PATH".to_owned()),
    }
}

/// Parses the text behind `http:`.
fn parse_http(rest: &str) -> Result<HttpCheck, String> {
    let rest = rest.strip_prefix("//").ok_or("write http://:PORT/PATH")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    if place.contains('@') {
        return Err(
            "a check's URL takes no user; give the check a header 'Authorization: ...'".to_owned(),
        );
    }
    if path.contains('#') || !path.chars().all(|c| c.is_ascii_graphic()) {
        return Err("a path consists of visible ASCII characters, without #".to_owned());
    }
    let at = match place {
        "" => At::default(),
        // A port without a host is a port at the instance's address.
        _ if place.starts_with(':') => parse_at(&place[1..])?,
        _ if place.ends_with(']') || !place.contains(':') => At {
            host: Some(parse_host(place)?),
            port: Some(80),
        },
        _ => parse_at(place)?,
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

/// Parses `200` or `200-399`.
fn parse_statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
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

/// Parses `Name: value`.
fn parse_header(text: &str) -> Result<(String, String), String> {
    let bad = || format!("{text:?} is not a header such as 'Host: www.example.org'");
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    let value = value.trim_matches([' ', '\t']);
    let in_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let in_value = |c: char| c.is_ascii_graphic() || c == ' ' || c == '\t';
    if name.is_empty() || !name.chars().all(in_name) {
        return Err(bad());
    }
    // The value may be a secret, so the message does not repeat it.
    if !value.chars().all(in_value) {
        return Err(format!(
            "the value of {name} has to consist of visible ASCII characters"
        ));
    }
    if OWN_HEADERS.contains(&&*name.to_ascii_lowercase()) {
        return Err(format!("{name} cannot be set: sidekick sets it itself"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
