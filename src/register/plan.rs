//! From what was configured to what is announced: what only the system knows (address, host name) is filled in. Shell.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;

use crate::config::{IdSpec, IpSpec, Registration};
use crate::model::check::Checks;
use crate::model::instance::{HostName, Instance, InstanceId, InvalidField, State};
use crate::model::keyspace;
use crate::model::location::Location;
use crate::model::update::{Prefix, Publication};
use crate::system::address::{self, AddressError};

/// What is to be announced, and for whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The keys of the instance.
    pub publication: Publication,
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
    /// The address cannot be told.
    #[error("there is no address to announce")]
    Address(#[source] AddressError),
    /// The address is one that no other host can connect to.
    #[error("{0} is a loopback address, which no other host can connect to")]
    Loopback(IpAddr),
    /// This host's name cannot be part of an id.
    #[error("the id cannot be made from this host's name")]
    Id(#[source] InvalidField),
}

/// Fills in what only the system knows.
pub fn plan(
    registration: Registration,
    location: &Location,
    prefix: &Prefix,
) -> Result<Plan, PlanError> {
    let hostname = address::hostname().unwrap_or_default();
    let ip = ip(registration.ip, location)?;
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
    Ok(Plan {
        publication: keyspace::encode(prefix, &instance),
        ttl: registration.ttl,
        program: registration.program,
        checks: registration.checks,
        announced,
        stop_grace: registration.stop_grace,
    })
}

fn id_from(text: &str) -> Result<InstanceId, PlanError> {
    text.parse().map_err(PlanError::Id)
}

fn ip(spec: IpSpec, location: &Location) -> Result<IpAddr, PlanError> {
    let route = || address::default_route().map_err(PlanError::Address);
    let towards_store = || match location {
        Location::Directory(_) => route(),
        Location::Etcd(etcd) => address::towards(&etcd.endpoints).map_err(PlanError::Address),
    };
    let found = match spec {
        IpSpec::Given(ip) => return Ok(ip),
        IpSpec::DefaultRoute => route()?,
        IpSpec::TowardsStore => towards_store()?,
        // An etcd on this very host is reached by loopback, which says nothing to others.
        IpSpec::Unsaid => match towards_store() {
            Ok(ip) if !ip.is_loopback() => ip,
            Ok(_) | Err(_) => route()?,
        },
    };
    if found.is_loopback() {
        return Err(PlanError::Loopback(found));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_announced_only_when_it_was_given() {
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let store = Location::Etcd(crate::model::location::EtcdOptions {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            ..Default::default()
        });
        assert_eq!(ip(IpSpec::Given(near), &store).unwrap(), near);
        let refused = ip(IpSpec::TowardsStore, &store);
        assert!(
            matches!(refused, Err(PlanError::Loopback(_))),
            "{refused:?}"
        );
        assert!(ip(IpSpec::Unsaid, &store).map_or(true, |ip| !ip.is_loopback()));
    }
}
