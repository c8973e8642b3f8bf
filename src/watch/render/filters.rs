//! Filters and tests of the template language: the quoting of free text, and the questions that let a template pass over
//! what would fail. Pure.
//!
//! | name | kind | |
//! | --- | --- | --- |
//! | `haproxy_quote` `nginx_quote` `php_quote` `shell_quote` | filter | one word, or an error; see [`super::quote`] |
//! | `json_encode` | filter | JSON; over several lines with `pretty=true` |
//! | `nginx_name` | filter | the name of a service, as an nginx upstream can have it |
//! | `url_host` | filter | an address or host name, as it stands before a port: IPv6 in brackets |
//! | `group_by` | filter | Tera's, with the groups in the order in which they appear |
//! | `hostname` `ip` `url_path` | test | can stand in a configuration as it is |
//! | `haproxy_quotable` `nginx_quotable` | test | the filter of that name takes it |
//!
//! A test says no to what is not there; a filter says that it is not there.

use std::net::IpAddr;

use tera::{Kwargs, Map, State, Tera, TeraResult, Value, value::Key};

use super::error::with_hint;
use super::quote::{self, Unquotable};
use crate::model::instance::{HostName, parse_ip};

type IsIt = fn(&str) -> bool;
type Quote = fn(&str) -> Result<String, Unquotable>;

const QUOTES: [(&str, Quote); 4] = [
    ("haproxy_quote", quote::haproxy),
    ("nginx_quote", quote::nginx),
    ("php_quote", quote::php),
    ("shell_quote", quote::shell),
];

const TESTS: [(&str, IsIt); 5] = [
    ("hostname", |text| text.parse::<HostName>().is_ok()),
    ("ip", |text| parse_ip(text).is_ok()),
    ("url_path", quote::is_url_path),
    ("haproxy_quotable", |text| quote::haproxy(text).is_ok()),
    ("nginx_quotable", |text| quote::nginx(text).is_ok()),
];

/// Registers all of them.
pub(super) fn register(engine: &mut Tera) {
    for (name, quote) in QUOTES {
        engine.register_filter(name, move |value: Value, _: Kwargs, _: &State| {
            quoted(quote, &value)
        });
    }
    for (name, is_it) in TESTS {
        engine.register_test(name, move |value: Value, _: Kwargs, _: &State| {
            value.as_str().is_some_and(is_it)
        });
    }
    engine.register_filter("json_encode", |value: Value, args: Kwargs, _: &State| {
        json_encode(&value, &args)
    });
    engine.register_filter("nginx_name", |name: String, _: Kwargs, _: &State| {
        quote::nginx_name(&name)
    });
    engine.register_filter("url_host", |host: &str, _: Kwargs, _: &State| {
        url_host(host)
    });
    engine.register_filter("group_by", |list: Vec<Value>, args: Kwargs, _: &State| {
        group_by(list, &args)
    });
}

fn quoted(quote: Quote, value: &Value) -> TeraResult<String> {
    let text = if value.is_string() || value.is_number() || value.is_bool() {
        value.to_string()
    } else {
        let kind = value.name();
        return Err(tera::Error::message(format!(
            "only text can be quoted, and this is {kind}"
        )));
    };
    quote(&text).map_err(|error| {
        with_hint(error, "a template can ask first: `is hostname`, `is url_path`, `is haproxy_quotable`, `is nginx_quotable`")
    })
}

fn json_encode(value: &Value, args: &Kwargs) -> TeraResult<String> {
    if value.is_undefined() {
        return Err(tera::Error::message(
            "there is nothing to encode: the value is undefined",
        ));
    }
    let encoded = if args.get::<bool>("pretty")?.unwrap_or(false) {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    let encoded = encoded.map_err(|error| tera::Error::message(format!("no JSON: {error}")))?;
    Ok(quote::json(&encoded))
}

fn url_host(host: &str) -> TeraResult<String> {
    match parse_ip(host) {
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) => Ok(ip.to_string()),
        Err(_) if host.parse::<HostName>().is_ok() => Ok(host.to_owned()),
        Err(error) => Err(with_hint(
            error,
            "a template can ask first: `is ip`, `is hostname`",
        )),
    }
}

/// Tera's own goes through a hash map with a random seed: the groups come in another order at each render.
fn group_by(list: Vec<Value>, args: &Kwargs) -> TeraResult<Value> {
    let attribute: &str = args.must_get("attribute")?;
    let mut places: Map = Map::new();
    let mut groups: Vec<Vec<Value>> = Vec::new();
    for one in list {
        let Some(value) = one.get_from_path(attribute) else {
            return Err(tera::Error::message(format!(
                "not everything in the list has `{attribute}`"
            )));
        };
        if value.is_none() {
            continue;
        }
        let place = places
            .entry(key(value)?)
            .or_insert_with(|| Value::from(groups.len()));
        match place.as_u64().and_then(|at| usize::try_from(at).ok()) {
            Some(at) if at < groups.len() => groups[at].push(one),
            Some(_) | None => groups.push(vec![one]),
        }
    }
    let keys = places.into_keys();
    let map: Map = keys.zip(groups.into_iter().map(Value::from)).collect();
    Ok(map.into())
}

fn key(value: &Value) -> TeraResult<Key<'static>> {
    let number = value.as_i128().map(Key::from);
    let text = value.as_str().map(|text| Key::from(text.to_owned()));
    text.or(number)
        .or_else(|| value.as_bool().map(Key::Bool))
        .ok_or_else(|| tera::Error::message(format!("cannot group by {}", value.name())))
}
