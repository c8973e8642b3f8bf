//! Which host names and paths lead to which service, read from the attributes of instances. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::quote::is_url_path;
use crate::model::instance::{HostName, Instance};

/// Requests for this host and below this path go to this service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The service.
    pub service: String,
    /// An exact host name in small letters; empty for any host.
    pub vhost: String,
    /// A path without a slash at its end; empty for all paths.
    pub path: String,
    /// What the instances speak that are asked by it.
    pub protocol: String,
}

/// What an instance speaks that does not announce the attribute `protocol`.
const PROTOCOL: &str = "http";

/// The routes that the attributes `vhost` and `path` of instances claim, of the services that speak one of `protocols`.
///
/// The most specific come first: those with a host before those without, longer paths before shorter ones. Of two services
/// that claim the same, the one whose name comes first gets it, and the other one nothing: `disputes` names them.
/// An attribute that is no host name or no path takes its instance out of the question, since half of what was claimed may
/// be too much. Who claims all paths of any host claims to be the default: see [`default_service`].
#[must_use]
pub fn routes<'a>(
    services: impl IntoIterator<Item = (&'a str, &'a [&'a Arc<Instance>])>,
    protocols: &[&str],
) -> Vec<Route> {
    let mut found: BTreeMap<_, Route> = BTreeMap::new();
    for (service, instances) in services {
        let Some(protocol) = protocol(instances, protocols) else {
            continue;
        };
        let speaking = instances.iter().filter(|one| speaks(one, protocol));
        for claim in speaking.filter_map(|instance| claim(instance)) {
            let Claim { vhost, path } = claim;
            if vhost.is_empty() && path.is_empty() {
                continue;
            }
            let rank = (
                vhost.is_empty(),
                vhost.clone(),
                Reverse(path.len()),
                path.clone(),
            );
            found.entry(rank).or_insert_with(|| Route {
                service: service.to_owned(),
                vhost,
                path,
                protocol: protocol.to_owned(),
            });
        }
    }
    found.into_values().collect()
}

/// The service for requests that no route takes: the one that the operator has `named`, else one that claims it by
/// `path=/` without a `vhost`; of several, the one whose name comes first. One that speaks none of `protocols`, or that was
/// named and is not there, is none at all: an error that can be seen is better than another service.
#[must_use]
pub fn default_service<'a>(
    services: impl IntoIterator<Item = (&'a str, &'a [&'a Arc<Instance>])>,
    named: &str,
    protocols: &[&str],
) -> Option<&'a str> {
    let mut services = services.into_iter();
    let chosen = services.find(|(name, instances)| {
        let Some(protocol) = protocol(instances, protocols) else {
            return false;
        };
        if !named.is_empty() {
            return *name == named;
        }
        let mut speaking = instances.iter().filter(|one| speaks(one, protocol));
        speaking.any(|one| claim(one).is_some_and(|claim| claim.is_default()))
    });
    chosen.map(|(name, _)| name)
}

/// Which of `protocols`, those that a proxy speaks, a service is served by: the one that most of its instances announce, of
/// equals the one that comes first in the list; none if no instance speaks any of them. So one instance that announces something else changes nothing for the others. A service without instances
/// speaks http.
#[must_use]
pub fn protocol<'p>(instances: &[&Arc<Instance>], protocols: &[&'p str]) -> Option<&'p str> {
    if instances.is_empty() {
        return protocols.iter().find(|one| **one == PROTOCOL).copied();
    }
    let count = |protocol: &str| instances.iter().filter(|one| speaks(one, protocol)).count();
    let counted = protocols.iter().map(|one| (count(one), *one));
    let most = counted.rev().max_by_key(|(count, _)| *count);
    most.filter(|(count, _)| *count > 0).map(|(_, one)| one)
}

/// Whether an instance speaks this.
#[must_use]
pub fn speaks(instance: &Instance, protocol: &str) -> bool {
    attr(instance, "protocol").unwrap_or(PROTOCOL) == protocol
}

/// What an instance asks for by its attributes `vhost` and `path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// A host name in small letters; empty for any host.
    pub(super) vhost: String,
    /// A path without a slash at its end; empty for all paths.
    pub(super) path: String,
}

impl Claim {
    pub(super) fn is_default(&self) -> bool {
        self.vhost.is_empty() && self.path.is_empty()
    }
}

/// The claim of an instance; none if it makes none, or one that is no host name or no path.
pub(super) fn claim(instance: &Instance) -> Option<Claim> {
    let (vhost, path) = (attr(instance, "vhost"), attr(instance, "path"));
    if vhost.is_none() && path.is_none() {
        return None;
    }
    let vhost = match vhost {
        Some(text) => text.parse::<HostName>().ok()?.as_str().to_ascii_lowercase(),
        None => String::new(),
    };
    let path = match path {
        Some(text) if is_url_path(text) => text.trim_end_matches('/').to_owned(),
        Some(_) => return None,
        None => String::new(),
    };
    Some(Claim { vhost, path })
}

/// The value of an attribute.
pub(super) fn attr<'a>(instance: &'a Instance, name: &str) -> Option<&'a str> {
    let mut attrs = instance.attrs.iter();
    let (_, value) = attrs.find(|(own, _)| own.as_str() == name)?;
    Some(value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keyspace;

    fn instance(service: &str, id: &str, attrs: &[(&str, &str)]) -> Arc<Instance> {
        let fields = [("ip", "10.0.0.1"), ("port", "80")];
        let fields = fields.iter().chain(attrs).map(|(f, v)| (*f, v.as_bytes()));
        Arc::new(keyspace::decode(service, id, fields).unwrap().unwrap())
    }

    fn by_service(instances: &[Arc<Instance>]) -> BTreeMap<&str, Vec<&Arc<Instance>>> {
        let mut services: BTreeMap<&str, Vec<&Arc<Instance>>> = BTreeMap::new();
        for instance in instances {
            let name = instance.service.as_str();
            services.entry(name).or_default().push(instance);
        }
        services
    }

    #[test]
    fn the_default_is_the_one_that_is_named_or_that_claims_it() {
        let instances = [
            instance("alpha", "1", &[]),
            instance("asks", "1", &[("path", "/x")]),
            instance("bad", "1", &[("vhost", "no host"), ("path", "/")]),
            instance("db", "1", &[("protocol", "mysql"), ("path", "/")]),
            instance("host", "1", &[("vhost", "a.example.org"), ("path", "/")]),
            instance("uwsgi", "1", &[("protocol", "uwsgi"), ("path", "/")]),
            instance("web", "1", &[]),
            instance("web", "2", &[("path", "/")]),
            instance("young", "1", &[("path", "/")]),
        ];
        let mut services = by_service(&instances);
        services.insert("absent", Vec::new());
        let table: [(&str, &[&str], Option<&str>); 8] = [
            ("", &["http"], Some("web")),
            ("", &["uwsgi"], Some("uwsgi")),
            ("", &["tcp"], None),
            ("alpha", &["http"], Some("alpha")),
            ("asks", &["http"], Some("asks")),
            ("absent", &["http"], Some("absent")),
            ("db", &["http", "uwsgi"], None),
            ("nobody", &["http"], None),
        ];
        for (named, protocols, want) in table {
            let services = services.iter().map(|(name, list)| (*name, list.as_slice()));
            let got = default_service(services, named, protocols);
            assert_eq!(got, want, "{named:?} {protocols:?}");
        }
        services.retain(|name, _| ["alpha", "asks", "host"].contains(name));
        let services = services.iter().map(|(name, list)| (*name, list.as_slice()));
        assert_eq!(default_service(services, "", &["http"]), None);
    }

    /// What instances announce, what is asked for, and what they speak.
    type Row<'a> = (&'a [Option<&'a str>], &'a [&'static str], Option<&'a str>);

    #[test]
    fn one_instance_that_speaks_something_else_changes_nothing_for_the_others() {
        let of = |protocols: &[Option<&str>]| {
            let attrs = protocols.iter().enumerate().map(|(n, protocol)| {
                let attrs: Vec<_> = protocol.iter().map(|one| ("protocol", *one)).collect();
                instance("web", &n.to_string(), &attrs)
            });
            attrs.collect::<Vec<_>>()
        };
        let both: &[&'static str] = &["http", "uwsgi"];
        let table: [Row<'_>; 9] = [
            (&[], both, Some("http")),
            (&[], &["uwsgi"], None),
            (&[Some("mysql"), None], &["http"], Some("http")),
            (&[Some("a"), Some("b"), None], &["http"], Some("http")),
            (&[Some("mysql")], both, None),
            (&[Some("uwsgi"), None], both, Some("http")),
            (&[Some("uwsgi"), None, Some("uwsgi")], both, Some("uwsgi")),
            (&[Some("http"), Some("uwsgi"), None], both, Some("http")),
            (&[Some("uwsgi"), Some("mysql")], both, Some("uwsgi")),
        ];
        for (announced, protocols, want) in table {
            let instances = of(announced);
            let instances: Vec<&Arc<Instance>> = instances.iter().collect();
            assert_eq!(protocol(&instances, protocols), want, "{announced:?}");
        }
    }

    fn found(instances: &[Arc<Instance>]) -> Vec<(String, String, String, String)> {
        let services = by_service(instances);
        let services = services.iter().map(|(name, list)| (*name, list.as_slice()));
        let routes = routes(services, &["http"]).into_iter();
        routes
            .map(|r| (r.vhost, r.path, r.service, r.protocol))
            .collect()
    }

    fn row(vhost: &str, path: &str, service: &str) -> (String, String, String, String) {
        (vhost.into(), path.into(), service.into(), "http".into())
    }

    #[test]
    fn the_most_specific_come_first_and_each_once() {
        let routes = found(&[
            instance("a", "1", &[("path", "/x/")]),
            instance("a", "2", &[("path", "/x")]),
            instance("b", "1", &[("vhost", "B.example.org")]),
            instance("c", "1", &[("vhost", "b.example.org"), ("path", "/c")]),
            instance("d", "1", &[("path", "/x/long")]),
            instance("e", "1", &[("path", "/x")]),
            instance("f", "1", &[]),
            instance("g", "1", &[("path", "/")]),
        ]);
        let want = [
            row("b.example.org", "/c", "c"),
            row("b.example.org", "", "b"),
            row("", "/x/long", "d"),
            row("", "/x", "a"),
        ];
        assert_eq!(routes, want);
    }

    #[test]
    fn what_is_no_name_and_no_path_asks_for_nothing() {
        let routes = found(&[
            instance("a", "1", &[("vhost", "a; }")]),
            instance("b", "1", &[("path", "/a b")]),
            instance("c", "1", &[("vhost", "ok.example.org"), ("path", "x")]),
            instance("d", "1", &[("vhost", "")]),
        ]);
        assert_eq!(routes, []);
    }
}
