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
    /// What the service speaks: the attribute `protocol` of its first instance, `http` if there is none.
    pub protocol: String,
}

/// The routes that the attributes `vhost` and `path` of instances ask for.
///
/// The most specific come first: those with a host before those without, longer paths before shorter ones. Two services
/// that ask for the same get it in the order of their names, and the second one gets nothing. An attribute that is no
/// host name or no path takes its instance out of the question, since half of what was asked for may be too much.
#[must_use]
pub fn routes<'a>(
    services: impl IntoIterator<Item = (&'a str, &'a [&'a Arc<Instance>])>,
) -> Vec<Route> {
    let mut found: BTreeMap<_, Route> = BTreeMap::new();
    for (service, instances) in services {
        for (vhost, path) in instances.iter().filter_map(|instance| asked(instance)) {
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
                protocol: protocol(instances).to_owned(),
            });
        }
    }
    found.into_values().collect()
}

/// The service for requests that no route takes: the one that is `named`, else the first that has instances and asks for
/// no host and no path. One that speaks none of `protocols`, or that was named and is not there, is none at all: an error
/// that can be seen is better than another service.
#[must_use]
pub fn default_service<'a>(
    services: impl IntoIterator<Item = (&'a str, &'a [&'a Arc<Instance>])>,
    named: &str,
    protocols: &[&str],
) -> Option<&'a str> {
    let mut speaking = services
        .into_iter()
        .filter(|(_, instances)| protocols.contains(&protocol(instances)));
    let chosen = if named.is_empty() {
        speaking.find(|(_, all)| !all.is_empty() && !all.iter().any(|one| asks(one)))
    } else {
        speaking.find(|(name, _)| *name == named)
    };
    chosen.map(|(name, _)| name)
}

/// Whether it asks for anything, be it valid or not.
fn asks(instance: &Instance) -> bool {
    attr(instance, "vhost").is_some() || attr(instance, "path").is_some_and(|path| path != "/")
}

fn protocol<'a>(instances: &'a [&'a Arc<Instance>]) -> &'a str {
    let first = instances.first().and_then(|first| attr(first, "protocol"));
    first.unwrap_or("http")
}

fn asked(instance: &Instance) -> Option<(String, String)> {
    let vhost = match attr(instance, "vhost") {
        Some(text) => text.parse::<HostName>().ok()?.as_str().to_ascii_lowercase(),
        None => String::new(),
    };
    let path = match attr(instance, "path") {
        Some(text) if is_url_path(text) => text.trim_end_matches('/').to_owned(),
        Some(_) => return None,
        None => String::new(),
    };
    (!vhost.is_empty() || !path.is_empty()).then_some((vhost, path))
}

fn attr<'a>(instance: &'a Instance, name: &str) -> Option<&'a str> {
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
    fn the_default_is_the_one_that_is_named_or_the_first_that_asks_for_nothing() {
        let instances = [
            instance("asks", "1", &[("path", "/x")]),
            instance("asks", "2", &[]),
            instance("bad", "1", &[("vhost", "no host")]),
            instance("db", "1", &[("protocol", "mysql")]),
            instance("root", "1", &[("path", "/")]),
            instance("uwsgi", "1", &[("protocol", "uwsgi")]),
            instance("web", "1", &[]),
        ];
        let mut services = by_service(&instances);
        services.insert("absent", Vec::new());
        let table: [(&str, &[&str], Option<&str>); 8] = [
            ("", &["http"], Some("root")),
            ("", &["uwsgi"], Some("uwsgi")),
            ("", &["tcp"], None),
            ("web", &["http"], Some("web")),
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
    }

    fn found(instances: &[Arc<Instance>]) -> Vec<(String, String, String, String)> {
        let services = by_service(instances);
        let services = services.iter().map(|(name, list)| (*name, list.as_slice()));
        let routes = routes(services).into_iter();
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
