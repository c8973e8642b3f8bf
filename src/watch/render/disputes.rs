//! Where announcements contradict each other, so that not all of them get what they ask for. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::routes::{self, Claim, attr, claim};
use super::view::Seen;
use crate::model::instance::Instance;

/// Longer lists of names say less.
const NAMES: usize = 5;

/// Every contradiction among the instances that a target sees, as a sentence for the operator, sorted. `protocols` are those
/// that the proxy speaks, `named` is the service that the operator has made the default.
pub(super) fn disputes(
    services: &BTreeMap<&str, Seen<'_>>,
    named: &str,
    protocols: &[String],
) -> Vec<String> {
    let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
    let mut by_claim: BTreeMap<Claim, Vec<&str>> = BTreeMap::new();
    let mut found = Vec::new();
    for (service, instances) in services {
        let Some(protocol) = routes::protocol(instances, &protocols) else {
            continue;
        };
        found.extend(left_out(service, instances, protocol));
        let speaking = instances.iter().copied();
        let speaking = speaking.filter(|one| routes::speaks(one, protocol));
        let speaking: Vec<&Arc<Instance>> = speaking.collect();
        found.extend(differing_checks(service, &speaking));
        for claim in speaking.iter().filter_map(|one| claim(one)) {
            let claimants = by_claim.entry(claim).or_default();
            if claimants.last() != Some(service) {
                claimants.push(service);
            }
        }
    }
    let is_decided = |claim: &Claim| claim.is_default() && !named.is_empty();
    let claims = by_claim.iter().filter(|(claim, _)| !is_decided(claim));
    found.extend(claims.filter_map(|(claim, claimants)| claimed_twice(claim, claimants)));
    found.sort();
    found
}

/// Several services claim one route.
fn claimed_twice(claim: &Claim, claimants: &[&str]) -> Option<String> {
    let [winner, losers @ ..] = claimants else {
        return None;
    };
    if losers.is_empty() {
        return None;
    }
    let what = if claim.is_default() {
        "the default route (path=/)".to_owned()
    } else {
        format!("the route {}{}", claim.vhost, claim.path)
    };
    let all = names(losers);
    Some(format!(
        "the services {all} and {winner} all claim {what}: {winner} has it, since its name comes first; announce another vhost \
         or path"
    ))
}

/// Instances of one service speak different protocols.
fn left_out(service: &str, instances: &[&Arc<Instance>], protocol: &str) -> Option<String> {
    let differing = differing(instances, "protocol")?;
    // An instance without the attribute speaks the default protocol, so naming the default makes no difference.
    instances
        .iter()
        .find(|one| !routes::speaks(one, protocol))?;
    Some(format!(
        "the instances of {service} announce different protocols ({differing}): only those that speak {protocol} are in the file"
    ))
}

/// Instances of one service are to be asked by different paths, or for different hosts.
fn differing_checks(service: &str, instances: &[&Arc<Instance>]) -> Option<String> {
    if let Some(differing) = differing(instances, "check") {
        return Some(format!(
            "the instances of {service} announce different check paths ({differing}): none of the paths is asked for until all \
             announce the same"
        ));
    }
    let is_asked = instances.iter().any(|one| attr(one, "check").is_some());
    let differing = differing(instances, "vhost").filter(|_| is_asked)?;
    Some(format!(
        "the instances of {service} announce one check path and different vhosts ({differing}): the check asks for the host \
         localhost"
    ))
}

/// The values of an attribute, each with those who announce it, if there are several.
fn differing(instances: &[&Arc<Instance>], attribute: &str) -> Option<String> {
    let mut by_value: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for instance in instances {
        let value = attr(instance, attribute);
        by_value
            .entry(value)
            .or_default()
            .push(instance.id.as_str());
    }
    if by_value.len() < 2 {
        return None;
    }
    let mut text = String::new();
    for (value, ids) in by_value {
        let separator = if text.is_empty() { "" } else { "; " };
        let value = value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{value}: {}", names(&ids));
    }
    Some(text)
}

fn names(all: &[&str]) -> String {
    let shown = all[..all.len().min(NAMES)].join(", ");
    match all.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keyspace;

    /// A service, an id and attributes.
    type Announced<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn disputed(instances: &[Announced<'_>], named: &str) -> Vec<String> {
        let decode = |(service, id, attrs): &Announced<'_>| {
            let fields = [("ip", "10.0.0.1"), ("port", "80")];
            let fields = fields.iter().chain(*attrs).map(|(f, v)| (*f, v.as_bytes()));
            Arc::new(keyspace::decode(service, id, fields).unwrap().unwrap())
        };
        let instances: Vec<Arc<Instance>> = instances.iter().map(decode).collect();
        let mut services: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
        for instance in &instances {
            let service = services.entry(instance.service.as_str()).or_default();
            service.push(instance);
        }
        disputes(&services, named, &["http".to_owned()])
    }

    #[test]
    fn who_agrees_is_not_named() {
        let agreed = disputed(
            &[
                ("api", "1", &[("path", "/api"), ("check", "/ok")]),
                ("api", "2", &[("path", "/api/"), ("check", "/ok")]),
                ("db", "1", &[("protocol", "mysql"), ("path", "/")]),
                ("web", "1", &[("path", "/")]),
                ("web", "2", &[]),
                ("www", "1", &[("vhost", "a.example.org")]),
            ],
            "",
        );
        assert_eq!(agreed, [""; 0]);
    }

    /// What the proxy does not speak claims nothing, and the other way round.
    #[test]
    fn only_what_the_proxy_speaks_is_compared() {
        let instances: &[Announced<'_>] = &[
            ("a", "1", &[("protocol", "uwsgi"), ("path", "/x")]),
            ("b", "1", &[("path", "/x")]),
            ("c", "1", &[("protocol", "uwsgi"), ("path", "/u")]),
            ("c", "2", &[("protocol", "uwsgi"), ("path", "/u")]),
            ("c", "3", &[("path", "/y"), ("protocol", "http")]),
            ("d", "1", &[("path", "/y")]),
            ("e", "1", &[("protocol", "http")]),
            ("e", "2", &[]),
        ];
        let disputed = disputed(instances, "");
        let [protocols, route] = disputed.as_slice() else {
            panic!("{disputed:?}")
        };
        assert!(protocols.contains("of c announce different protocols"));
        assert!(route.starts_with("the services d and c all claim the route /y: c has it"));
    }

    #[test]
    fn services_that_claim_the_same_are_named() {
        let instances: &[Announced<'_>] = &[
            ("b", "1", &[("vhost", "A.example.org"), ("path", "/x/")]),
            ("a", "1", &[("vhost", "a.example.org"), ("path", "/x")]),
            ("web", "1", &[("path", "/")]),
            ("wee", "1", &[("path", "/")]),
        ];
        let host = "the services b and a all claim the route a.example.org/x: a has it, since its name comes first; announce \
                    another vhost or path";
        let default = "the services wee and web all claim the default route (path=/): web has it, since its name comes first; \
                       announce another vhost or path";
        assert_eq!(disputed(instances, ""), [host, default]);
        assert_eq!(disputed(instances, "web"), [host]);
    }

    #[test]
    fn instances_that_differ_are_named_and_hostile_values_are_quoted() {
        let disputed = disputed(
            &[
                ("shop", "new", &[("check", "/healthz")]),
                ("shop", "old", &[]),
                ("zoo", "1", &[("check", "/"), ("vhost", "a.example.org")]),
                ("zoo", "2", &[("check", "/"), ("vhost", "b.example.org")]),
                ("web", "a", &[("protocol", "my\"sql")]),
                ("web", "b", &[]),
            ],
            "",
        );
        let [checks, protocols, vhosts] = disputed.as_slice() else {
            panic!("{disputed:?}")
        };
        assert!(
            checks.contains(
                "of shop announce different check paths (nothing: old; \"/healthz\": new)"
            )
        );
        assert!(vhosts.contains(
            "one check path and different vhosts (\"a.example.org\": 1; \"b.example.org\": 2)"
        ));
        assert!(protocols.ends_with("only those that speak http are in the file"));
        assert!(
            protocols
                .contains("of web announce different protocols (nothing: b; \"my\\\"sql\": a)")
        );
    }
}
