//! Where announcements contradict each other, so that not all of them get what they ask for. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::routes::{self, Claim, attr, claim};
use super::view::Seen;
use crate::model::instance::Instance;

/// Longer lists of names say less.
const NAMES: usize = 5;
/// What the shipped templates route.
const ROUTED: [&str; 2] = ["http", "uwsgi"];

/// Every contradiction among the instances that a target sees, as a sentence for the operator, sorted.
/// `named` is the service that the operator has made the default.
pub(super) fn disputes(services: &BTreeMap<&str, Seen<'_>>, named: &str) -> Vec<String> {
    let mut found = claimed_twice(services, named);
    for (service, instances) in services {
        found.extend(differing_protocols(service, instances));
        found.extend(differing_checks(service, instances));
    }
    found.sort();
    found
}

/// The services that claim each route.
fn claimed_twice(services: &BTreeMap<&str, Seen<'_>>, named: &str) -> Vec<String> {
    let mut by_claim: BTreeMap<Claim, Vec<&str>> = BTreeMap::new();
    for (service, instances) in services {
        let Some(protocol) = routes::protocol(instances, &ROUTED) else {
            continue;
        };
        let speaking = instances.iter().filter(|one| routes::speaks(one, protocol));
        for claim in speaking.filter_map(|one| claim(one)) {
            let claimants = by_claim.entry(claim).or_default();
            if claimants.last() != Some(service) {
                claimants.push(service);
            }
        }
    }
    let mut found = Vec::new();
    for (claim, claimants) in by_claim {
        let [winner, losers @ ..] = claimants.as_slice() else {
            continue;
        };
        if losers.is_empty() || (claim.is_default() && !named.is_empty()) {
            continue;
        }
        let what = if claim.is_default() {
            "the default route (path=/)".to_owned()
        } else {
            format!("the route {}{}", claim.vhost, claim.path)
        };
        found.push(format!(
            "the services {} and {winner} all claim {what}: {winner} has it, since its name comes first; announce another vhost \
             or path",
            names(losers),
        ));
    }
    found
}

fn differing_protocols(service: &str, instances: &[&Arc<Instance>]) -> Option<String> {
    let differing = differing(instances, "protocol")?;
    Some(format!(
        "the instances of {service} announce different protocols ({differing}): a file has those of them that speak what most of \
         them speak"
    ))
}

fn differing_checks(service: &str, instances: &[&Arc<Instance>]) -> Option<String> {
    let protocol = routes::protocol(instances, &["http"])?;
    let speaking = instances.iter().filter(|one| routes::speaks(one, protocol));
    let speaking: Vec<&Arc<Instance>> = speaking.copied().collect();
    let differing = differing(&speaking, "check")?;
    Some(format!(
        "the instances of {service} announce different check paths ({differing}): none of the paths is asked for until all \
         announce the same"
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
        disputes(&services, named)
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
                ("web", "a", &[("protocol", "my\"sql")]),
                ("web", "b", &[]),
            ],
            "",
        );
        let [checks, protocols] = disputed.as_slice() else {
            panic!("{disputed:?}")
        };
        assert!(
            checks.contains(
                "of shop announce different check paths (nothing: old; \"/healthz\": new)"
            )
        );
        assert!(
            protocols
                .contains("of web announce different protocols (nothing: b; \"my\\\"sql\": a)")
        );
    }
}
