//! From what was configured to what is announced: what only the system knows (address, host name) is filled in. Shell.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::config::{IdSpec, Ownership, Registration};
use crate::model::address::{Choice, Spec, choose};
use crate::model::check::Checks;
use crate::model::instance::{HostName, Instance, InstanceId, InvalidField, State};
use crate::model::keyspace;
use crate::model::location::Location;
use crate::model::update::{Claim, LeaseId, Prefix, Publication};
use crate::system::address;

/// What is to be announced, and for whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The keys of the instance.
    pub publication: Publication,
    /// The lease that all owners of a shared id keep alive together.
    pub shared: Option<LeaseId>,
    /// How long the keys outlive us if nobody can take them back.
    pub ttl: Duration,
    /// The program and its arguments; without one we are a sidecar.
    pub program: Option<(OsString, Vec<OsString>)>,
    /// What the instance has to pass before it is announced.
    pub checks: Option<Checks>,
    /// Where it says it is; the checks go there unless they say otherwise.
    pub announced: SocketAddr,
    /// How long the program may take to end before it is killed.
    pub stop_grace: Duration,
}

/// Why nothing can be announced.
#[derive(Debug, Error)]
pub enum PlanError {
    /// No way leads to an address.
    #[error("there is no address to announce")]
    Address(#[source] NoAddress),
    /// This host's name cannot be part of an id.
    #[error("the id cannot be made from this host's name")]
    Id(#[source] InvalidField),
}

/// What was looked at in vain.
#[derive(Debug, Error)]
#[error("{}", said(.0))]
pub struct NoAddress(Choice);

fn said(choice: &Choice) -> String {
    let tried: Vec<String> = choice.tried.iter().map(ToString::to_string).collect();
    tried.join("; ")
}

/// Fills in what only the system knows.
pub fn plan(
    registration: Registration,
    location: &Location,
    prefix: &Prefix,
) -> Result<Plan, PlanError> {
    let hostname = address::hostname().unwrap_or_default();
    let choice = address(&registration.ip, location);
    let ip = choice.ip.ok_or(PlanError::Address(NoAddress(choice)))?;
    // A name that is no RFC 1123 name is not announced; the address stands for it.
    let host = registration
        .host
        .or_else(|| hostname.parse::<HostName>().ok());
    let id = match registration.id {
        IdSpec::Given(id) => id,
        IdSpec::Random => id_from(&uuid::Uuid::now_v7().to_string())?,
        IdSpec::HostAndPort => {
            id_from(&format!("{hostname}-{}", registration.ports.default_port()))?
        }
    };
    let announced = SocketAddr::new(ip, registration.ports.default_port());
    let instance = Instance {
        service: registration.service,
        id,
        ip,
        ports: registration.ports,
        host,
        weight: registration.weight,
        state: State::Up,
        attrs: registration.attrs,
    };
    let mut publication = keyspace::encode(prefix, &instance);
    publication.claim = match (registration.ownership, publication.claim) {
        (Ownership::Shared, _) => Claim::Whole,
        (Ownership::TakeOver, Claim::Restart(fields)) => Claim::TakeOver(fields),
        (Ownership::TakeOver | Ownership::Sole, claim) => claim,
    };
    let is_shared = registration.ownership == Ownership::Shared;
    Ok(Plan {
        shared: is_shared.then(|| lease_of(&publication.dir)),
        publication,
        ttl: registration.ttl,
        program: registration.program,
        checks: registration.checks,
        announced,
        stop_grace: registration.stop_grace,
    })
}

/// The same lease on every host that announces this instance (FNV-1a; ids of leases are positive).
fn lease_of(dir: &Prefix) -> LeaseId {
    let hash = dir
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    LeaseId(i64::try_from(hash >> 1).unwrap_or(i64::MAX).max(1))
}

fn id_from(text: &str) -> Result<InstanceId, PlanError> {
    text.parse().map_err(PlanError::Id)
}

/// The address to announce, and how it was found.
#[must_use]
pub fn address(specs: &[Spec], location: &Location) -> Choice {
    let endpoints = match location {
        Location::Directory(_) => &[][..],
        Location::Etcd(etcd) => &etcd.endpoints,
    };
    // An etcd on this very host is reached by loopback, which says nothing to others; then the default route does.
    let unsaid = [Spec::TowardsStore, Spec::DefaultRoute];
    let specs = if specs.is_empty() { &unsaid } else { specs };
    choose(specs, &address::host(endpoints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_on_this_host_does_not_make_loopback_the_address() {
        let store = Location::Etcd(crate::model::location::EtcdOptions {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            ..Default::default()
        });
        assert!(address(&[], &store).ip.is_none_or(|ip| !ip.is_loopback()));
        let refused = address(&[Spec::TowardsStore], &store);
        assert_eq!(refused.ip, None);
        let said = NoAddress(refused).to_string();
        assert!(
            said.contains("store: 127.0.0.1 of lo, refused: loopback"),
            "{said}"
        );
    }
}
