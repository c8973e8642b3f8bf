//! The tree of keys: the only file that knows `/services/<service>/<id>/{host,ip,port,…}`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::date::Date;
use super::instance::{
    AttrName, AttrValue, Instance, InstanceId, InvalidField, PortName, Ports, ServiceName, State,
    parse_ip, parse_port, parse_weight,
};
use super::prefix::Prefix;
use super::publication::{Claim, Publication};
use super::times::{ANNOUNCED_AT, STATE_SINCE, StateSince, Times};

/// The path below which instances live unless it is configured otherwise.
pub const DEFAULT_PREFIX: &str = "/services";

const PORT_SUFFIX: &str = "-port";

/// The directory of an instance.
#[must_use]
pub fn dir(prefix: &Prefix, service: &str, id: &str) -> Prefix {
    prefix.join(&[service, "/", id].concat())
}

/// The service and the id of the instance that is announced at `dir`.
#[must_use]
pub fn service_and_id(dir: &Prefix) -> (&str, &str) {
    let mut parts = dir.as_str().rsplit('/');
    let id = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), id)
}

/// The keys that announce `instance` under `prefix`.
#[must_use]
pub fn encode(prefix: &Prefix, instance: &Instance) -> Publication {
    let mut fields = BTreeMap::new();
    let mut put = |name: String, value: String| fields.insert(name, value.into_bytes());
    put("host".to_owned(), instance.host());
    put("ip".to_owned(), instance.ip.to_string());
    if let Some(port) = instance.ports.main() {
        put("port".to_owned(), port.to_string());
    }
    for (name, port) in instance.ports.named() {
        put(format!("{name}{PORT_SUFFIX}"), port.to_string());
    }
    if let Some(weight) = instance.weight {
        put("weight".to_owned(), weight.to_string());
    }
    match instance.state {
        State::Up => {}
        state @ (State::Drain | State::Maint) => {
            put("state".to_owned(), state.as_str().to_owned());
            if let Some(since) = instance.times.state_since {
                put(STATE_SINCE.to_owned(), since.to_string());
            }
        }
    }
    if let Some(at) = instance.times.announced_at {
        put(ANNOUNCED_AT.to_owned(), Date::from_unix(at).to_string());
    }
    for (name, value) in &instance.attrs {
        put(name.as_str().to_owned(), value.as_str().to_owned());
    }
    Publication {
        dir: dir(prefix, instance.service.as_str(), instance.id.as_str()),
        state: None,
        claim: Claim::Restart(endpoint(&fields).into()),
        predecessors: std::collections::BTreeSet::new(),
        fields: fields.into(),
    }
}

/// The fields that say where an instance listens: the same there is the same instance.
fn endpoint(fields: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let names = fields.keys();
    let says = |name: &str| name == "ip" || name == "port" || name.ends_with(PORT_SUFFIX);
    names.filter(|name| says(name)).cloned().collect()
}

/// The place of a key in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The path segment of the service, not yet validated.
    pub service: &'a str,
    /// The path segment of the instance, not yet validated.
    pub id: &'a str,
    /// The path below the instance: `ip`, `settings/distribution`.
    pub field: &'a str,
}

/// Finds the place of `key`; `None` for a key that belongs to no instance.
#[must_use]
pub fn locate<'a>(prefix: &Prefix, key: &'a str) -> Option<Place<'a>> {
    let below = key.strip_prefix(prefix.as_str())?.strip_prefix('/')?;
    let (service, rest) = below.split_once('/')?;
    let (id, field) = rest.split_once('/')?;
    Some(Place { service, id, field })
}

/// Reads an instance from its fields.
///
/// `Ok(None)` is an instance that is not complete (yet): it has no `ip`, or no port.
pub fn decode<'a, F: AsRef<str>>(
    service: &str,
    id: &str,
    fields: impl Iterator<Item = (F, &'a [u8])>,
) -> Result<Option<Instance>, InvalidField> {
    decode_named(service.parse()?, id.parse()?, fields)
}

/// Reads an instance whose names are known to be valid from its fields.
pub fn decode_named<'a, F: AsRef<str>>(
    service: ServiceName,
    id: InstanceId,
    fields: impl Iterator<Item = (F, &'a [u8])>,
) -> Result<Option<Instance>, InvalidField> {
    let (mut ip, mut host, mut weight, mut main) = (None, None, None, None);
    let (mut state, mut named, mut attrs) = (State::Up, BTreeMap::new(), BTreeMap::new());
    let mut times = Times::default();
    for (field, bytes) in fields {
        let field = field.as_ref();
        // Some tools write a key of their own for a directory.
        if field.is_empty() || field.ends_with('/') {
            continue;
        }
        let text = text(field, bytes)?;
        match field {
            "ip" => ip = Some(parse_ip(text)?),
            "host" => host = Some(text),
            "port" => main = Some(parse_port(text)?),
            "weight" => weight = Some(parse_weight(text)?),
            "state" => state = text.parse()?,
            // What cannot be read says nothing; an instance is not left out for it.
            STATE_SINCE => times.state_since = StateSince::parse(text),
            ANNOUNCED_AT => times.announced_at = Date::parse(text),
            _ => match field
                .strip_suffix(PORT_SUFFIX)
                .filter(|name| !name.contains('/'))
            {
                Some(name) => drop(named.insert(name.parse::<PortName>()?, parse_port(text)?)),
                None => {
                    drop(attrs.insert(field.parse::<AttrName>()?, AttrValue::parse(field, text)?));
                }
            },
        }
    }
    let (Some(ip), Some(ports)) = (ip, Ports::new(main, named)) else {
        return Ok(None);
    };
    // What an announcement without a host writes there is the address itself.
    let host = match host {
        Some(text) if text != ip.to_string() => Some(text.parse()?),
        Some(_) | None => None,
    };
    if state == State::Up {
        times.state_since = None;
    }
    Ok(Some(Instance {
        service,
        id,
        ip,
        ports,
        host,
        weight,
        state,
        attrs: attrs.into(),
        times,
    }))
}

fn text<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, InvalidField> {
    std::str::from_utf8(bytes).map_err(|_| InvalidField::Value {
        field: field.escape_debug().to_string(),
        text: String::from_utf8_lossy(bytes).into_owned(),
        reason: "is not UTF-8",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::instance::HostName;
    use crate::model::times::StateBy;

    fn read(fields: &[(&str, &str)]) -> Result<Option<Instance>, InvalidField> {
        decode("web", "a", fields.iter().map(|(f, v)| (*f, v.as_bytes())))
    }

    #[test]
    fn complete_means_an_ip_and_a_port() {
        for (fields, complete) in [
            (vec![("ip", "10.0.0.1"), ("port", "80")], true),
            (vec![("ip", "10.0.0.1"), ("http-port", "80")], true),
            (vec![("ip", "10.0.0.1")], false),
            (vec![("port", "80"), ("host", "a")], false),
            (
                vec![("ip", "10.0.0.1"), ("port", "80"), ("settings/", "")],
                true,
            ),
        ] {
            assert_eq!(read(&fields).unwrap().is_some(), complete, "{fields:?}");
        }
    }

    #[test]
    fn what_breaks_a_rule_breaks_the_instance() {
        let good = [("ip", "10.0.0.1"), ("port", "80")];
        for bad in [
            ("port", "80; server evil"),
            ("ip", "10.0.0.1 redir http://evil"),
            ("host", "a\nb"),
            ("weight", "1000"),
            ("state", "up"),
            ("x-port", "0"),
            ("note", "a\nb"),
            (".hidden", "x"),
        ] {
            let fields: Vec<_> = good
                .into_iter()
                .filter(|(f, _)| *f != bad.0)
                .chain([bad])
                .collect();
            assert!(read(&fields).is_err(), "{bad:?}");
        }
        let late = [
            ("state", "drain"),
            ("state_since", "x"),
            ("announced_at", "long ago"),
        ];
        let fields: Vec<_> = good.into_iter().chain(late).collect();
        assert_eq!(read(&fields).unwrap().unwrap().times, Times::default());
        assert!(decode("web", "a b", [("ip", b"10.0.0.1".as_slice())].into_iter()).is_err());
        assert!(decode("web", "a", [("ip", b"\xff".as_slice())].into_iter()).is_err());
    }

    #[test]
    fn keys_have_a_place() {
        let prefix = Prefix::parse("/services").unwrap();
        let place = |key| locate(&prefix, key).map(|p| (p.service, p.id, p.field));
        assert_eq!(place("/services/web/a/ip"), Some(("web", "a", "ip")));
        assert_eq!(place("/services/web/a/b/c"), Some(("web", "a", "b/c")));
        for other in [
            "/services/web/a",
            "/services/web",
            "/services",
            "/servicesx/web/a/ip",
            "/other/web/a/ip",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    prop_compose! {
        fn instances()(
            service in "[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,20}",
            id in "[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,62}",
            ip in prop_oneof![any::<[u8; 4]>().prop_map(std::net::IpAddr::from), any::<[u8; 16]>().prop_map(std::net::IpAddr::from)],
            main in proptest::option::of(1..=u16::MAX),
            named in proptest::collection::btree_map("[a-z]{1,8}", 1..=u16::MAX, 1..3),
            host in proptest::option::of("[a-z][a-z0-9]{0,9}(\\.[a-z]{1,5}){0,2}"),
            weight in proptest::option::of(0u16..=256),
            state in prop_oneof![Just(State::Up), Just(State::Drain), Just(State::Maint)],
            announced_at in proptest::option::of(0_u64..4_102_444_800),
            since in proptest::option::of((0_u64..4_102_444_800, prop_oneof![Just(StateBy::Stop), Just(StateBy::Operator)])),
            attrs in proptest::collection::btree_map("[a-z]{2,8}/[a-z]{1,4}", "[^\\p{Cc}]{0,40}", 0..4),
        ) -> Instance {
            let named = named.into_iter().map(|(n, p)| (n.parse().unwrap(), p)).collect();
            let attrs = attrs.iter().map(|(n, v)| (n.parse().unwrap(), AttrValue::parse(n, v).unwrap())).collect();
            Instance {
                service: service.parse().unwrap(),
                id: id.parse().unwrap(),
                ip,
                ports: Ports::new(main, named).unwrap(),
                host: host.map(|h| h.parse::<HostName>().unwrap()),
                weight,
                state,
                attrs,
                times: Times {
                    announced_at,
                    state_since: since
                        .filter(|_| state != State::Up)
                        .map(|(at, by)| StateSince { at, by }),
                },
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(instance in instances()) {
            prop_assume!(parse_ip(&instance.ip.to_string()).is_ok());
            let publication = encode(&Prefix::parse("/x/y").unwrap(), &instance);
            let fields = publication.fields.iter().map(|(f, v)| (f.as_str(), v.as_slice()));
            let read = decode(instance.service.as_str(), instance.id.as_str(), fields).unwrap();
            prop_assert_eq!(read, Some(instance));
        }

        #[test]
        fn decoding_never_panics(fields in proptest::collection::vec(("[ -~]{0,12}", any::<Vec<u8>>()), 0..6)) {
            let _ = decode("web", "a", fields.iter().map(|(f, v)| (f.as_str(), v.as_slice())));
        }
    }
}
